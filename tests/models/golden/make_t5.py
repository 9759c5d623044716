"""Computes golden values of T5 with Hugging Face `transformers`.

    make setup-peer
    PYTHONPATH=tools/imports .venv-peer/bin/python tests/models/golden/make_t5.py

Writes one .npz per variant to this folder: logits, mean cross-entropy, its gradient
with respect to every parameter (under our names and in our orientation), and greedily
generated tokens. It does not import the models under test.
"""

import pathlib

import numpy as np
import torch
import transformers

from clinometer.tests.models.golden import weights

FOLDER = pathlib.Path(__file__).resolve().parent


def names(config: transformers.T5Config, tied: bool) -> dict[str, str]:
    """Maps our parameter names to those of the peer, whose matrices are transposed."""
    result = {
        "token_embedding/table": "shared.weight",
        "encoder/final_norm/scale": "encoder.final_layer_norm.weight",
        "decoder/final_norm/scale": "decoder.final_layer_norm.weight",
    }
    if not tied:
        result["logits/kernel"] = "lm_head.weight"
    sublayers = {
        "encoder": [("self_attention", "SelfAttention"), ("feed_forward", "")],
        "decoder": [
            ("self_attention", "SelfAttention"),
            ("cross_attention", "EncDecAttention"),
            ("feed_forward", ""),
        ],
    }
    kernels = ["wi_0", "wi_1", "wo"] if config.is_gated_act else ["wi", "wo"]
    for side, parts in sublayers.items():
        result[f"{side}/relative_bias/table"] = (
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        )
        for layer in range(config.num_layers):
            for i, (ours, theirs) in enumerate(parts):
                here = f"{side}/layer_{layer}/{ours}"
                there = f"{side}.block.{layer}.layer.{i}"
                result[f"{here}_norm/scale"] = f"{there}.layer_norm.weight"
                if ours == "feed_forward":
                    for kernel in kernels:
                        result[f"{here}/{kernel}"] = (
                            f"{there}.DenseReluDense.{kernel}.weight"
                        )
                    continue
                for kernel, letter in zip(
                    ("query", "key", "value", "output"), "qkvo", strict=True
                ):
                    result[f"{here}/{kernel}"] = f"{there}.{theirs}.{letter}.weight"
    return result


def oriented(name: str, array: np.ndarray) -> np.ndarray:
    """Converts an array between our orientation and the peer's, in both directions."""
    return array if name == "token_embedding/table" else array.T


def make(variant: str) -> dict[str, np.ndarray]:
    """Returns the golden values of one variant."""
    options, shape = weights.VARIANTS[variant], weights.SHAPE
    config = transformers.T5Config(
        vocab_size=shape["vocab_size"],
        d_model=shape["d_model"],
        d_kv=shape["d_kv"],
        d_ff=shape["d_ff"],
        num_layers=shape["num_encoder_layers"],
        num_decoder_layers=shape["num_decoder_layers"],
        num_heads=shape["num_heads"],
        dropout_rate=0.0,
        feed_forward_proj=options["ffn_activation"],
        tie_word_embeddings=options["tie_embeddings"],
        decoder_start_token_id=0,
        attn_implementation="eager",
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    if not options["tie_embeddings"]:
        # transformers 5 ties the two regardless of the config.
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    mapping = names(config, options["tie_embeddings"])
    parameters = dict(model.named_parameters())
    unmapped = set(mapping.values()) ^ set(parameters)
    assert not unmapped, f"not mapped: {unmapped}"
    drawn = weights.draw(
        {
            ours: oriented(ours, parameters[theirs].detach().numpy()).shape
            for ours, theirs in mapping.items()
        }
    )
    with torch.no_grad():
        for ours, theirs in mapping.items():
            parameters[theirs].copy_(torch.tensor(oriented(ours, drawn[ours])))

    batch = {name: torch.tensor(tokens) for name, tokens in weights.batch().items()}
    inputs = {"input_ids": batch["inputs"], "attention_mask": batch["inputs"] != 0}
    labels = torch.where(batch["targets"] == 0, -100, batch["targets"])
    output = model(**inputs, labels=labels)
    output.loss.backward()
    generated = model.generate(
        **inputs,
        max_new_tokens=weights.GENERATED_LENGTH,
        do_sample=False,
        num_beams=1,
        eos_token_id=weights.GENERATED_EOS,
    )
    golden = {
        f"gradient:{ours}": oriented(ours, parameters[theirs].grad.numpy())
        for ours, theirs in mapping.items()
    }
    golden["logits"] = output.logits.detach().numpy()
    golden["loss"] = output.loss.detach().numpy()
    golden["generated"] = generated.numpy()[:, 1:]
    return golden


if __name__ == "__main__":
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for name in weights.VARIANTS:
        values = make(name)
        np.savez_compressed(FOLDER / f"{name}.npz", **values)
        print(f"{name}: loss {values['loss']:.6f}, generated {values['generated']}")
