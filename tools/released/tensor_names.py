"""Hugging Face's names of T5's and Switch's tensors, beside our parameters.

One table serves both directions. Matrices are stored there as [out, in], here as [in,
out]; only the embeddings agree. An expert is a tensor of its own there, and a slice of
one parameter here. Where heads share keys and values (operator SH), their head is
stored there once for every head; where keys and values are tied (SKV), the matrix is
stored as both.

Names: transformers/models/t5/modeling_t5.py and
transformers/models/switch_transformers/modeling_switch_transformers.py at
github.com/huggingface/transformers.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import re

import numpy as np

from clinometer.kernels.relative_attention.buckets import NUM_BUCKETS
from clinometer.models import config as config_lib
from clinometer.tools.released.readers import tensor

TABLE = "shared.weight"
# Copies of the table, which a file may hold beside it or instead of it.
TABLE_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
HEAD = "lm_head.weight"
# T5's first releases have it, and no version of `transformers` reads it.
UNUSED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
_ATTENTION = (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o"))
_EXPERTS = "experts.expert_{}."
# Flax's last component -> PyTorch's, and whether the axes are in reverse order.
_FLAX_LEAVES = {
    "kernel": ("weight", True),
    "embedding": ("weight", False),
    "weight": ("weight", False),
}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One of our parameters, and the tensors that hold it there.

    Attributes:
        module: name of its module here, in canonical form.
        name: its name in the module.
        shape: its shape here.
        sources: names of the tensors there: one; the experts, which are stacked here;
            or keys and values, which are equal.
        matrix: whether its last two axes are in reverse order there.
        stacked: whether `sources` are stacked here.
        repeats: how many times each of its heads is repeated there.
        head_width: width of a head, if `repeats` is more than 1.
    """

    module: str
    name: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    matrix: bool = True
    stacked: bool = False
    repeats: int = 1
    head_width: int = 0

    @property
    def source_shape(self) -> tuple[int, ...]:
        """The shape of each of `sources`."""
        shape = self.shape[1:] if self.stacked else self.shape
        if not self.matrix:
            return shape
        return (shape[1] * self.repeats, shape[0])

    def to_ours(self, tensors: Mapping[str, tensor.Tensor]) -> np.ndarray:
        """Reads the parameter, float32.

        Args:
            tensors: tensors with at least `sources`, each of `source_shape`. Of equal
                ones the first is read.
        """

        def part(source: str) -> np.ndarray:
            read = tensors[source].read()
            if self.repeats > 1:
                heads = read.reshape(-1, self.repeats, self.head_width, read.shape[-1])
                read = heads[:, 0].reshape(-1, read.shape[-1])
            return np.ascontiguousarray(read.T if self.matrix else read, np.float32)

        if not self.stacked:
            return part(self.sources[0])
        made = np.empty(self.shape, np.float32)
        for index, source in enumerate(self.sources):
            made[index] = part(source)
        return made

    def to_theirs(self, ours: np.ndarray) -> dict[str, tensor.Tensor]:
        """Returns the tensors that hold the parameter there; inverts `to_ours`."""

        def theirs(index: int) -> np.ndarray:
            read = ours[index] if self.stacked else ours
            read = read.T if self.matrix else read
            if self.repeats > 1:
                heads = read.reshape(-1, self.head_width, read.shape[-1])
                heads = np.repeat(heads, self.repeats, axis=0)
                read = heads.reshape(-1, read.shape[-1])
            return read

        return {
            source: tensor.Tensor(
                self.source_shape, "float32", lambda index=index: theirs(index)
            )
            for index, source in enumerate(self.sources)
        }


def leaves(config: config_lib.TransformerConfig) -> Iterator[Leaf]:
    """Yields all parameters of a Transformer, GLU-Transformer or Switch Transformer.

    Args:
        config: the model's configuration.
    """
    width, vocabulary = config.d_model, config.vocab_size
    yield Leaf("token_embedding", "table", (vocabulary, width), (TABLE,), matrix=False)
    if not config.tie_embeddings:
        yield Leaf("logits", "kernel", (width, vocabulary), (HEAD,))
    num_experts = getattr(config, "num_experts", 0)
    for side in ("encoder", "decoder"):
        yield _scale(f"{side}/final_norm", f"{side}.final_layer_norm", width)
        yield Leaf(
            f"{side}/relative_bias",
            "table",
            (config.num_heads, NUM_BUCKETS),
            (f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
        )
        for layer in range(getattr(config, f"num_{side}_layers")):
            here, there = f"{side}/layer_{layer}/", f"{side}.block.{layer}.layer."
            if num_experts:  # Two layers are one unit of a Switch stack.
                kind = ("dense", "sparse")[layer % 2]
                here = f"{side}/layer_{layer // 2}/{kind}_"
            sublayers = ["self_attention", "cross_attention"]
            for index, ours in enumerate(sublayers[: 1 if side == "encoder" else 2]):
                yield from _attention(config, here + ours, f"{there}{index}")
            there += "1" if side == "encoder" else "2"
            sparse = num_experts if layer % 2 else 0
            block = "mlp" if num_experts else "DenseReluDense"
            yield from _feed_forward(
                config, f"{here}feed_forward", there, f"{there}.{block}", sparse
            )


def _scale(module: str, theirs: str, width: int) -> Leaf:
    return Leaf(module, "scale", (width,), (f"{theirs}.weight",), matrix=False)


def _attention(
    config: config_lib.TransformerConfig, ours: str, theirs: str
) -> Iterator[Leaf]:
    yield _scale(f"{ours}_norm", f"{theirs}.layer_norm", config.d_model)
    block = "EncDecAttention" if ours.endswith("cross_attention") else "SelfAttention"
    sources = {
        name: (f"{theirs}.{block}.{letter}.weight",) for name, letter in _ATTENTION
    }
    if config.shared_kv:
        sources["key_value"] = sources.pop("key") + sources.pop("value")
    for name, tensors in sources.items():
        is_output = name == "output"
        own = name in ("query", "output")
        heads = config.num_heads if own else config.kv_heads
        shape = (config.d_model, heads * config.d_kv)
        yield Leaf(
            ours,
            name,
            shape[::-1] if is_output else shape,
            tensors,
            repeats=config.num_heads // heads,
            head_width=config.d_kv,
        )


def _feed_forward(
    config: config_lib.TransformerConfig,
    ours: str,
    theirs: str,
    block: str,
    num_experts: int,
) -> Iterator[Leaf]:
    yield _scale(f"{ours}_norm", f"{theirs}.layer_norm", config.d_model)
    shape = (config.d_model, config.ffn_width)
    inputs = ("wi_0", "wi_1") if config.is_gated else ("wi",)
    if num_experts:
        router = (f"{block}.router.classifier.weight",)
        yield Leaf(ours, "router", (config.d_model, num_experts), router)
    for name in (*inputs, "wo"):
        part = shape if name != "wo" else shape[::-1]
        if num_experts:
            experts = tuple(
                f"{block}.{_EXPERTS.format(expert)}{name}.weight"
                for expert in range(num_experts)
            )
            yield Leaf(ours, name, (num_experts, *part), experts, stacked=True)
        else:
            yield Leaf(ours, name, part, (f"{block}.{name}.weight",))


def of_flax(tensors: Mapping[str, tensor.Tensor]) -> dict[str, tensor.Tensor]:
    """Returns the tensors of a Flax file under PyTorch's names and in its orientation.

    Args:
        tensors: the tensors by their paths, such as `lm_head/kernel`. A path of another
            form keeps its name, which no table has.
    """
    made = {}
    for path, found in tensors.items():
        parent, _, last = path.rpartition("/")
        name, reverse = _FLAX_LEAVES.get(last, (last, False))
        made[f"{parent}/{name}".replace("/", ".")] = (
            found.transposed if reverse else found
        )
    return made


def num_experts(names: Mapping[str, object]) -> int:
    """Returns the number of experts that tensors name; 0 without any."""
    found = (re.search(r"\.experts\.expert_(\d+)\.", name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)
