"""Computes golden values of the Switch Transformer with `transformers`.

    make setup-peer
    PYTHONPATH=tools/imports .venv-peer/bin/python tests/models/golden/make_switch.py

Writes one .npz per variant to this folder: logits, the loss (mean cross-entropy plus
the routers' losses), its gradient with respect to every parameter (under our names and
in our orientation), and the fraction of dropped tokens per router. It does not import
the models under test.
"""

import pathlib

import numpy as np
import torch
import transformers
from transformers.models.switch_transformers import modeling_switch_transformers as peer

from clinometer.tests.models.golden import switch_weights
from clinometer.tests.models.golden import weights

FOLDER = pathlib.Path(__file__).resolve().parent
ATTENTION = (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o"))


def names(num_layers: int) -> dict[str, str]:
    """Maps our parameter names to those of the peer, with `{}` for the expert."""
    result = {
        "token_embedding/table": "shared.weight",
        "encoder/final_norm/scale": "encoder.final_layer_norm.weight",
        "decoder/final_norm/scale": "decoder.final_layer_norm.weight",
    }
    sublayers = {
        "encoder": [("self_attention", "SelfAttention"), ("feed_forward", "")],
        "decoder": [
            ("self_attention", "SelfAttention"),
            ("cross_attention", "EncDecAttention"),
            ("feed_forward", ""),
        ],
    }
    for side, parts in sublayers.items():
        result[f"{side}/relative_bias/table"] = (
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        )
        for layer in range(num_layers):
            kind = ("dense", "sparse")[layer % 2]
            for i, (ours, theirs) in enumerate(parts):
                here = f"{side}/layer_{layer // 2}/{kind}_{ours}"
                there = f"{side}.block.{layer}.layer.{i}"
                result[f"{here}_norm/scale"] = f"{there}.layer_norm.weight"
                if theirs:
                    for kernel, letter in ATTENTION:
                        result[f"{here}/{kernel}"] = f"{there}.{theirs}.{letter}.weight"
                    continue
                expert = "experts.expert_{}." if kind == "sparse" else ""
                for kernel in ("wi", "wo"):
                    result[f"{here}/{kernel}"] = f"{there}.mlp.{expert}{kernel}.weight"
                if kind == "sparse":
                    result[f"{here}/router"] = f"{there}.mlp.router.classifier.weight"
    return result


def make(variant: str) -> dict[str, np.ndarray]:
    """Returns the golden values of one variant."""
    shape = switch_weights.SHAPE
    num_experts, num_layers = shape["num_experts"], shape["num_encoder_layers"]
    config = transformers.SwitchTransformersConfig(
        vocab_size=shape["vocab_size"],
        d_model=shape["d_model"],
        d_kv=shape["d_kv"],
        d_ff=shape["d_ff"],
        num_layers=num_layers,
        num_decoder_layers=shape["num_decoder_layers"],
        num_sparse_encoder_layers=num_layers // 2,
        num_sparse_decoder_layers=num_layers // 2,
        num_heads=shape["num_heads"],
        num_experts=num_experts,
        expert_capacity=switch_weights.CAPACITIES[variant],
        router_jitter_noise=0.0,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        attn_implementation="eager",
    )
    model = transformers.SwitchTransformersForConditionalGeneration(config).eval()
    mapping, parameters = names(num_layers), dict(model.named_parameters())

    def members(theirs: str) -> list[str]:
        count = num_experts if "{}" in theirs else 1
        return [theirs.format(expert) for expert in range(count)]

    unmapped = {name for theirs in mapping.values() for name in members(theirs)}
    unmapped ^= set(parameters)
    assert not unmapped, f"not mapped: {unmapped}"

    def oriented(ours: str, arrays: list[np.ndarray]) -> np.ndarray:
        if ours != "token_embedding/table":
            arrays = [array.T for array in arrays]
        return np.stack(arrays) if "{}" in mapping[ours] else arrays[0]

    drawn = weights.draw(
        {
            ours: oriented(
                ours, [parameters[n].detach().numpy() for n in members(theirs)]
            ).shape
            for ours, theirs in mapping.items()
        }
    )
    with torch.no_grad():
        for ours, theirs in mapping.items():
            array = drawn[ours]
            for name, part in zip(
                members(theirs), array if "{}" in theirs else [array], strict=True
            ):
                part = part if ours == "token_embedding/table" else part.T
                parameters[name].copy_(torch.tensor(part))

    # The peer computes these losses over all layers at once, the paper per layer.
    aux_loss, z_loss, dropped = [], [], []

    def listen(module: torch.nn.Module, args: object, output: tuple) -> None:
        del module, args
        kept, _, logits = output
        probabilities = torch.softmax(logits, dim=-1)
        chosen = torch.argmax(logits, dim=-1)
        aux_loss.append(peer.load_balancing_loss_func(probabilities, chosen))
        z_loss.append(peer.router_z_loss_func(logits))
        dropped.append(1 - kept.sum() / chosen.numel())

    for module in model.modules():
        if isinstance(module, peer.SwitchTransformersTop1Router):
            module.register_forward_hook(listen)
    batch = {k: torch.tensor(v) for k, v in switch_weights.batch().items()}
    output = model(input_ids=batch["inputs"], labels=batch["targets"])
    loss = output.loss + switch_weights.AUX_LOSS_WEIGHT * sum(aux_loss)
    loss = loss + switch_weights.Z_LOSS_WEIGHT * sum(z_loss)
    loss.backward()
    golden = {
        f"gradient:{ours}": oriented(
            ours, [parameters[n].grad.numpy() for n in members(theirs)]
        )
        for ours, theirs in mapping.items()
    }
    golden["logits"] = output.logits.detach().numpy()
    golden["loss"] = loss.detach().numpy()
    golden["dropped"] = np.array([float(x) for x in dropped])
    return golden


if __name__ == "__main__":
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for name in switch_weights.CAPACITIES:
        values = make(name)
        np.savez_compressed(FOLDER / f"{name}.npz", **values)
        print(f"{name}: loss {values['loss']:.6f}, dropped {values['dropped']}")
