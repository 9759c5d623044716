"""Makes releases as they are on the hub, with names and layouts written out here.

Nothing is taken from the code under test: names are those of `transformers`' modules.
"""

import json
import pathlib
import struct

import msgpack
import numpy as np

CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
T5 = {
    "model_type": "t5",
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_heads": 3,
    "num_layers": 3,
    "num_decoder_layers": 1,
    "vocab_size": 192,
    "dropout_rate": 0.1,
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-06,
    "tie_word_embeddings": True,
}
SWITCH = {
    **T5,
    "model_type": "switch_transformers",
    "num_layers": 4,
    "num_decoder_layers": 2,
    "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 1,
    "num_experts": 3,
    "expert_capacity": 5,
    "router_bias": False,
    "router_dtype": "float32",
    "router_jitter_noise": 0.01,
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Returns the tensors of a tied model of a config, in PyTorch's layout."""
    width, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    gated = config["feed_forward_proj"].startswith("gated")
    is_switch = config["model_type"] == "switch_transformers"
    made = {"shared.weight": (config["vocab_size"], width)}
    for stack, layers in (
        ("encoder", config["num_layers"]),
        ("decoder", config["num_decoder_layers"]),
    ):
        made[f"{stack}.final_layer_norm.weight"] = (width,)
        attentions = ["SelfAttention"] + ["EncDecAttention"] * (stack == "decoder")
        made[
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ] = (32, config["num_heads"])
        for block in range(layers):
            place = f"{stack}.block.{block}.layer"
            for index, name in enumerate(attentions):
                made[f"{place}.{index}.layer_norm.weight"] = (width,)
                for letter in "qkv":
                    made[f"{place}.{index}.{name}.{letter}.weight"] = (inner, width)
                made[f"{place}.{index}.{name}.o.weight"] = (width, inner)
            last = f"{place}.{len(attentions)}"
            made[f"{last}.layer_norm.weight"] = (width,)
            parts = [f"{last}.DenseReluDense."]
            if is_switch:
                parts = [f"{last}.mlp."]
            if is_switch and block % 2:
                made[f"{last}.mlp.router.classifier.weight"] = (
                    config["num_experts"],
                    width,
                )
                parts = [
                    f"{last}.mlp.experts.expert_{expert}."
                    for expert in range(config["num_experts"])
                ]
            for part in parts:
                for name in ("wi_0", "wi_1") if gated else ("wi",):
                    made[f"{part}{name}.weight"] = (config["d_ff"], width)
                made[f"{part}wo.weight"] = (width, config["d_ff"])
    return made


def draw(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws the tensors of `shapes`, float32."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes(config).items()
    }


def header(tensors: dict[str, np.ndarray]) -> tuple[dict, bytes]:
    """Returns the header of a safetensors file, and the data."""
    entries, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        entries[name] = {
            "dtype": CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    return entries, data


def packed(entries: dict | bytes, data: bytes) -> bytes:
    """Returns the bytes of a safetensors file."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def flax_array(array: np.ndarray) -> msgpack.ExtType:
    """Returns an array as Flax serialises it."""
    parts = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(1, msgpack.packb(parts, use_bin_type=True))


def flax_tree(tensors: dict[str, np.ndarray]) -> dict:
    """Returns the nested map of a Flax model, whose matrices are [in, out]."""
    tree: dict = {}
    for name, array in tensors.items():
        *parents, parent, _ = name.split(".")
        embeds = parent in ("shared", "relative_attention_bias", "embed_tokens")
        leaf = "embedding" if embeds else "kernel" if array.ndim == 2 else "weight"
        here = tree
        for key in (*parents, parent):
            here = here.setdefault(key, {})
        here[leaf] = flax_array(array.T if leaf == "kernel" else array)
    return tree


def write(
    folder: pathlib.Path,
    config: dict,
    tensors: dict[str, np.ndarray] | None,
    spiece: bytes,
) -> pathlib.Path:
    """Writes a release and returns its folder; without tensors, without weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "spiece.model").write_bytes(spiece)
    if tensors is not None:
        (folder / "model.safetensors").write_bytes(packed(*header(tensors)))
    return folder
