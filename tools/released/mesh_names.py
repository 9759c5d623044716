"""Mesh-TensorFlow's names of T5's variables, beside those of `tensor_names`.

Matrices are stored there as [in, out], like ours, and so in reverse order of PyTorch's.
Where heads share keys and values, the matrix of their one head is stored once; where
keys and values are tied, one `kv` is stored for both.

Names: mesh_tensorflow/transformer at github.com/tensorflow/mesh, and
t5x/checkpoint_importer.py at github.com/google-research/t5x.
"""

from collections.abc import Mapping
import re

import numpy as np

from clinometer.tools.released import tensor_names
from clinometer.tools.released.readers import tensor

_SLOT = re.compile(r".*_slot_\w+")  # Of the optimizer.
TABLES = {
    "shared/embedding": tensor_names.TABLE,
    "encoder/embedding": tensor_names.TABLE_COPIES[0],
    "decoder/embedding": tensor_names.TABLE_COPIES[1],
}
_HEAD = "decoder/logits/kernel"
_SIDE = "(?P<side>encoder|decoder)"
_FINAL_NORM = re.compile(_SIDE + "/(?:final_layer|rms)_norm/scale")
_PARAMETER = re.compile(
    _SIDE + r"/block_(?P<block>\d{3})/layer_(?P<layer>\d{3})/"
    "(?P<rest>(?:layer|rms)_norm/scale"
    "|(?:SelfAttention|EncDecAttention)/(?:q|k|v|o|kv|relative_attention_bias)"
    "|DenseReluDense/(?:wi|wi_0|wi_1|wo)/kernel)"
)
_THERE = re.compile(
    _SIDE + r"\.block\.(?P<block>\d+)\.layer\.(?P<layer>\d+)\.(?P<rest>.+)\.weight"
)


def to_hub(
    variables: Mapping[str, tensor.Tensor], repeats: int = 1
) -> dict[str, tensor.Tensor]:
    """Returns variables under PyTorch's names and in its orientation, without slots.

    Args:
        variables: the variables by name. One of another model keeps its name, which no
            table has.
        repeats: how many heads use each head of keys and values.
    """
    made: dict[str, tensor.Tensor] = {}
    for name, variable in variables.items():
        if _SLOT.fullmatch(name):
            continue
        targets = _targets(name)
        if not targets or any(target in made for target in targets):
            made[name] = variable
            continue
        if len(variable.shape) == 2 and name not in TABLES:
            variable = variable.transposed
        for target in targets:
            shared = repeats > 1 and _is_key_or_value(target)
            made[target] = _repeated(variable, repeats) if shared else variable
    return made


def from_hub(
    name: str,
    shape: tuple[int, ...],
    *,
    repeats: int = 1,
    shared_kv: bool = False,
) -> tuple[str, tuple[int, ...]]:
    """Returns the name and shape that a tensor has in a checkpoint.

    Args:
        name: PyTorch's name, or one that `to_hub` kept.
        shape: the shape there.
        repeats: see `to_hub`.
        shared_kv: whether keys and values are one variable.
    """
    there = {ours: theirs for theirs, ours in TABLES.items()}
    if name in there:
        return there[name], shape
    if name == tensor_names.HEAD:
        return _HEAD, shape[::-1]
    if name.endswith("final_layer_norm.weight"):
        return name.replace(".", "/").replace("/weight", "/scale"), shape
    match = _THERE.fullmatch(name)
    if match is None:
        return name, shape
    rest = match["rest"].replace(".", "/")
    if rest == "layer_norm":
        rest += "/scale"
    if rest.startswith("DenseReluDense/"):
        rest += "/kernel"
    if _is_key_or_value(name):
        if len(shape) == 2:
            shape = (shape[0] // repeats, shape[1])
        if shared_kv:
            rest = rest[:-1] + "kv"
    place = f"block_{int(match['block']):03}/layer_{int(match['layer']):03}"
    return f"{match['side']}/{place}/{rest}", shape[::-1]


def _targets(name: str) -> list[str]:
    """Returns PyTorch's names of a variable; nothing if it has none."""
    if name in TABLES:
        return [TABLES[name]]
    if name == _HEAD:
        return [tensor_names.HEAD]
    if match := _FINAL_NORM.fullmatch(name):
        return [f"{match['side']}.final_layer_norm.weight"]
    match = _PARAMETER.fullmatch(name)
    if match is None:
        return []
    rest = match["rest"].removesuffix("/kernel").removesuffix("/scale")
    rest = rest.replace("rms_norm", "layer_norm").replace("/", ".")
    place = f"{match['side']}.block.{int(match['block'])}.layer.{int(match['layer'])}"
    if rest.endswith(".kv"):
        stem = rest.removesuffix("kv")
        return [f"{place}.{stem}{letter}.weight" for letter in "kv"]
    return [f"{place}.{rest}.weight"]


def _is_key_or_value(name: str) -> bool:
    return name.endswith(("Attention.k.weight", "Attention.v.weight"))


def _repeated(variable: tensor.Tensor, times: int) -> tensor.Tensor:
    """Returns a tensor [w, d] as [times w, d]."""
    if len(variable.shape) != 2:
        return variable
    width, *rest = variable.shape
    return tensor.Tensor(
        (times * width, *rest),
        variable.dtype,
        lambda: np.tile(variable.read(), (times, 1)),
    )
