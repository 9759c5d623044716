"""What the `operative_config.gin` of a Mesh-TensorFlow model says about it.

The values are checked, and become a `config.json` of T5, from which `hf_config` names
our model. Arguments without a value have the defaults of Mesh-TensorFlow, with which T5
was trained.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from clinometer.models.layers import norm
from clinometer.tools.released import errors
from clinometer.tools.released import hf_config

FILE = "operative_config.gin"
# Argument -> field of a `config.json`; encoder and decoder have the same.
_NUMBERS = {
    "Unitransformer.d_model": "d_model",
    "SelfAttention.key_value_size": "d_kv",
    "SelfAttention.num_heads": "num_heads",
    "DenseReluDense.hidden_size": "d_ff",
}
_NUM_LAYERS = {"encoder": "num_layers", "decoder": "num_decoder_layers"}
_LAYERS = {
    "encoder": ["SelfAttention", "DenseReluDense"],
    "decoder": ["SelfAttention", "EncDecAttention", "DenseReluDense"],
}
# What has a single value in T5.
_FIXED = {
    "Unitransformer.positional_embedding": False,
    "Unitransformer.sinusoid_positional_embedding": False,
    "Unitransformer.input_full_attention": False,
    "Unitransformer.ensemble": None,
    "SelfAttention.relative_attention_type": "bias_shared",
    "SelfAttention.fold_scaling_into_initializer": True,
    "SelfAttention.keep_query_heads_dims": False,
    "SelfAttention.combine_dims": True,
    "SelfAttention.attention_func": None,
    "DenseReluDense.use_bias": False,
    "VocabEmbedding.scale_variable_like_classifier_weights": False,
    "unit_scaling_convention.value": False,
    "run.model_type": "bitransformer",
    "MtfModel.model_type": "bitransformer",
}
_EPSILONS = (
    "LayerStack.norm_epsilon",
    "sublayer_rms_norm.epsilon",
    "sublayer_legacy_rms_norm.epsilon",
    "sublayer_legacy_final_rms_norm.epsilon",
)
# The sublayers that matter outside training, of each layer and after the last.
_SUBLAYERS = {
    "LayerStack.sublayers_per_layer": ["rms_norm", "call_layer", "residual"],
    "LayerStack.sublayers_final": ["rms_norm"],
    "LayerStack.sublayers_initial": [],
}
_WITHOUT_EFFECT = ("dropout", "mask_padding", "clip_activation_gradient")
# `DenseReluDense.activation` -> `feed_forward_proj`. Their gelu is the tanh form.
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu_new", "swish": "swish"}


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A model of Mesh-TensorFlow.

    Attributes:
        released: the model, as a `config.json` has it; `contents` are gin's values.
        repeats: how many heads use each head of keys and values.
        shared_kv: whether keys and values are one variable.
        tied: whether the logits use the embedding table.
    """

    released: hf_config.Released
    repeats: int
    shared_kv: bool
    tied: bool


def parsed(values: Mapping[str, Any], vocab_size: int, place: str) -> Mesh:
    """Checks the values of an `operative_config.gin`.

    Args:
        values: the values, as `gin_file.read` returns them.
        vocab_size: rows of the embedding table, which no value tells.
        place: the file, for messages.

    Raises:
        ReleaseError: it is of a model that does not fit; lists all values that don't.
    """
    reader = _Values(values)
    contents: dict[str, Any] = {"model_type": hf_config.T5, "vocab_size": vocab_size}
    for argument, field in _NUMBERS.items():
        contents[field] = reader.needed(argument)
    for side, field in _NUM_LAYERS.items():
        contents[field] = reader.needed("make_layer_stack.num_layers", side)
        reader.layers(side)
    contents["feed_forward_proj"] = reader.activation()
    contents["dropout_rate"] = reader.both("DenseReluDense.dropout_rate", 0.0)
    buckets = reader.both("SelfAttention.relative_attention_num_buckets")
    contents["relative_attention_num_buckets"] = buckets
    tied = reader.flag("Unitransformer.shared_embedding_and_softmax_weights", True)
    contents["tie_word_embeddings"] = tied
    shared_kv = reader.flag("SelfAttention.shared_kv", False)
    heads = contents["num_heads"]
    memory_heads = reader.both("SelfAttention.num_memory_heads") or heads
    if memory_heads not in (1, heads):
        reader.problems.append(
            f"SelfAttention.num_memory_heads is {memory_heads!r}; accepted: 0, 1 or "
            "num_heads"
        )
    reader.fixed()
    reader.cross_attention()
    if reader.problems:
        raise errors.of_problems(f"{place}: does not fit", reader.problems)
    released = hf_config.parsed(contents, place)
    return Mesh(
        dataclasses.replace(released, contents=dict(values)),
        heads // memory_heads,
        shared_kv,
        tied,
    )


class _Values:
    """Reads values; `problems` collects what is wrong with them."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = values
        self.problems: list[str] = []

    def of(self, side: str, argument: str) -> Any:
        """Returns the value in the encoder or decoder; None without one."""
        return self._values.get(f"{side}/{argument}", self._values.get(argument))

    def both(self, argument: str, default: Any = None) -> Any:
        """Returns the value of encoder and decoder, or the default without one."""
        sides = {side: self.of(side, argument) for side in _LAYERS}
        one, other = sides.values()
        if one != other:
            self.problems.append(
                f"{argument} is {one!r} in the encoder and {other!r} in the decoder; "
                "accepted: equal values"
            )
        return default if one is None else one

    def needed(self, argument: str, side: str | None = None) -> Any:
        """Returns a value that must be there; 1 where there is a problem."""
        value = self.both(argument) if side is None else self.of(side, argument)
        if value is None:
            where = f"{side}/" if side else ""
            self.problems.append(f"{where}{argument} is missing")
            return 1
        return value

    def flag(self, argument: str, default: bool) -> bool:
        """Returns a value that is True or False."""
        value = self.both(argument, default)
        if not isinstance(value, bool):
            self.problems.append(f"{argument} is {value!r}; accepted: True or False")
        return bool(value)

    def activation(self) -> str:
        """Returns the `feed_forward_proj`."""
        value = self.both("DenseReluDense.activation", "relu")
        names = value if isinstance(value, list) else [value]
        kind = _ACTIVATIONS.get(str(names[0])) if names else None
        if kind and len(names) == 1:
            return kind
        if kind and names[1:] == ["linear"]:
            return f"gated-{kind}"
        self.problems.append(
            f"DenseReluDense.activation is {value!r}; accepted: "
            f"{', '.join(_ACTIVATIONS)}, or a list of one of them and 'linear'"
        )
        return "relu"

    def layers(self, side: str) -> None:
        """Notes a problem unless the layers and sublayers are those of T5."""
        self._named(side, "make_layer_stack.layers", _LAYERS[side])
        for argument, wanted in _SUBLAYERS.items():
            self._named(side, argument, wanted)

    def _named(self, side: str, argument: str, wanted: list[str]) -> None:
        value = self.of(side, argument)
        if value is None:
            return
        names = [str(each).rpartition(".")[2] for each in _as_list(value)]
        names = [
            name.removeprefix("sublayer_").removeprefix("legacy_") for name in names
        ]
        matter = [name for name in names if name not in _WITHOUT_EFFECT]
        if [name.removeprefix("final_") for name in matter] != wanted:
            self.problems.append(
                f"{side}/{argument} is {', '.join(names)}; accepted: "
                f"{', '.join(wanted) or 'nothing that matters outside training'}"
            )

    def fixed(self) -> None:
        """Notes a problem for each value that T5 does not have."""
        for side in _LAYERS:
            for argument, wanted in _FIXED.items():
                value = self.of(side, argument)
                if value not in (None, wanted):
                    self._note(side, argument, value, wanted)
            for argument in _EPSILONS:
                value = self.of(side, argument)
                if value is None:
                    continue
                is_number = type(value) in (int, float)
                if not is_number or not math.isclose(value, norm.EPSILON):
                    self._note(side, argument, value, norm.EPSILON)

    def cross_attention(self) -> None:
        """Notes a problem where cross-attention has another shape."""
        for name in ("key_value_size", "num_heads", "num_memory_heads", "shared_kv"):
            wanted = self.of("decoder", f"SelfAttention.{name}")
            argument = f"EncDecAttention.{name}"
            value = self.of("decoder", argument)
            if value is not None and value != wanted:
                self._note("decoder", argument, value, wanted)

    def _note(self, side: str, argument: str, value: Any, wanted: Any) -> None:
        is_scoped = f"{side}/{argument}" in self._values
        name = f"{side}/{argument}" if is_scoped else argument
        problem = f"{name} is {value!r}; accepted: {wanted!r}"
        if problem not in self.problems:
            self.problems.append(problem)


def _as_list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]
