"""Hugging Face's `config.json` of T5 and Switch models, and our models' configurations.

`read` checks a `config.json` by itself, `described` names our model for it, and
`written` is the way out. What the tensors tell better than the config, such as tying,
is an argument. Old configs lack fields, whose defaults are those of `transformers`.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import math
import pathlib
from typing import Any

from clinometer import models
from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.relative_attention import buckets
from clinometer.models import limits
from clinometer.models.architectures import registry
from clinometer.models.architectures import sizes
from clinometer.models.layers import norm
from clinometer.tools.released import errors
from clinometer.tools.released import shape_names
from clinometer.tools.released.readers import json_text
from clinometer.tools.released.readers import small_file

FILE = "config.json"
T5 = "t5"
SWITCH = "switch_transformers"
_CLASSES = {
    T5: "T5ForConditionalGeneration",
    SWITCH: "SwitchTransformersForConditionalGeneration",
}
# Our architectures that are there: T5's, T5 1.1's and Switch Transformers.
VANILLA, GATED, SPARSE = "transformer", "glu", "switch"
# `feed_forward_proj` -> `ffn_activation`. Their gated-gelu is the tanh form, as ours; a
# plain "gelu" is the exact form there, which no model here has.
_ACTIVATIONS = {
    "relu": "relu",
    "gelu_new": "gelu",
    "silu": "swish",
    "swish": "swish",
    "gated-relu": "gated-relu",
    "gated-gelu": "gated-gelu",
    "gated-gelu_new": "gated-gelu",
    "gated-silu": "gated-swish",
    "gated-swish": "gated-swish",
}
_MOST_BYTES = 10_000_000
# A capacity factor whose floor is 0 tokens, so that `min_capacity` is the capacity.
_NO_FACTOR = 1e-9


@dataclasses.dataclass(frozen=True)
class Released:
    """What a `config.json` says.

    Attributes:
        contents: the whole JSON object.
        model_type: `T5` or `SWITCH`.
        numbers: the fields of `shape_names.Shape` that are numbers, by our names.
        vocab_size: rows of the embedding table.
        activation: `ffn_activation`.
        dropout_rate: the dropout rate.
        scaled: whether the logits are scaled by d_model^-1/2.
        switch: fields of the Switch Transformer's config; empty for T5.
    """

    contents: Mapping[str, Any]
    model_type: str
    numbers: Mapping[str, int]
    vocab_size: int
    activation: str
    dropout_rate: float
    scaled: bool
    switch: Mapping[str, Any]


def read(path: pathlib.Path) -> Released:
    """Reads and checks a `config.json`.

    Raises:
        ReleaseError: it is missing, damaged, or of a model that does not fit; lists all
            fields that don't.
    """
    found = small_file.read(path, _MOST_BYTES)
    try:
        contents = json_text.parse_object(found)
    except ValueError as error:
        raise errors.ReleaseError(f"{path}: {error}") from error
    return parsed(contents, str(path))


def parsed(contents: Mapping[str, Any], place: str) -> Released:
    """Checks the contents of a `config.json`.

    Args:
        contents: the JSON object.
        place: its file, for messages.

    Raises:
        ReleaseError: see `read`.
    """
    kind = contents.get("model_type")
    if kind not in _CLASSES:
        raise errors.ReleaseError(
            f"{place}: model_type is {kind!r}; accepted: {', '.join(_CLASSES)}"
        )
    fields = _Fields(contents)
    layers = fields.whole("num_layers", "num_encoder_layers")
    numbers = {
        "num_encoder_layers": layers,
        "num_decoder_layers": fields.whole("num_decoder_layers", default=layers),
        "d_model": fields.whole("d_model"),
        "d_kv": fields.whole("d_kv"),
        "num_heads": fields.whole("num_heads"),
        "d_ff": fields.whole("d_ff"),
    }
    projection = contents.get("feed_forward_proj")
    if projection is None:
        projection = contents.get("dense_act_fn", "relu") if kind == SWITCH else "relu"
    activation = fields.choice("feed_forward_proj", projection, _ACTIVATIONS)
    fields.equals("relative_attention_num_buckets", buckets.NUM_BUCKETS)
    fields.equals("relative_attention_max_distance", buckets.MAX_DISTANCE)
    fields.equals("layer_norm_epsilon", norm.EPSILON)
    fields.equals("pad_token_id", 0)
    fields.equals("eos_token_id", 1)
    fields.equals("decoder_start_token_id", 0)
    old_flag = contents.get("tie_word_embeddings")
    scaled = contents.get("scale_decoder_outputs")
    if kind == SWITCH or scaled is None:
        scaled = old_flag is not False
    released = Released(
        contents,
        kind,
        numbers,
        fields.whole("vocab_size"),
        activation,
        fields.rate("dropout_rate"),
        bool(scaled),
        _switch(fields, numbers) if kind == SWITCH else {},
    )
    if fields.problems:
        raise errors.of_problems(f"{place}: does not fit", fields.problems)
    return released


def _switch(fields: "_Fields", numbers: Mapping[str, int]) -> dict[str, Any]:
    for side in ("encoder", "decoder"):
        layers = numbers[f"num_{side}_layers"]
        sparse = fields.whole(f"num_sparse_{side}_layers", least=0)
        if layers % 2 or 2 * sparse != layers:
            fields.problems.append(
                f"num_sparse_{side}_layers is {sparse} of {layers} layers; accepted: "
                "every other layer of an even number"
            )
    fields.equals("router_bias", False)
    fields.equals("router_dtype", "float32")
    return {
        "num_experts": fields.whole("num_experts"),
        # A group is a row, and the capacity a number of tokens, whatever its length.
        "sequences_per_group": 1,
        "min_capacity": fields.whole("expert_capacity"),
        "capacity_factor": _NO_FACTOR,
        "eval_capacity_factor": _NO_FACTOR,
        "router_jitter": fields.rate("router_jitter_noise", 0.01),
    }


class _Fields:
    """Reads fields of a config; `problems` collects what is wrong with them."""

    def __init__(self, contents: Mapping[str, Any]):
        self._contents = contents
        self.problems: list[str] = []

    def whole(
        self,
        name: str,
        limited_as: str | None = None,
        *,
        default: int | None = None,
        least: int = 1,
    ) -> int:
        """Returns a whole number; 1 where there is a problem.

        Args:
            name: name of the field.
            limited_as: our field with the same limits, if it has another name.
            default: the value if the field is missing or null; None if it must not be.
            least: the least accepted value.
        """
        value = self._contents.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            self.problems.append(f"{name} is missing; accepted: a whole number")
            return 1
        try:
            if type(value) is not int or value < least:
                raise OptionError(f"got {value!r}, accepted: a whole number >= {least}")
            if value:
                limits.whole(limited_as or name).check(value)
        except OptionError as error:
            self.problems.append(f"{name}: {error}")
            return 1
        return value

    def rate(self, name: str, default: float = 0.1) -> float:
        """Returns a number in [0, 1)."""
        value = self._contents.get(name, default)
        if type(value) not in (int, float) or not 0 <= value < 1:
            self.problems.append(f"{name} is {value!r}; accepted: a number in [0, 1)")
            return default
        return float(value)

    def choice(self, name: str, value: Any, accepted: Mapping[str, str]) -> str:
        """Returns what a value stands for."""
        if not isinstance(value, str) or value not in accepted:
            self.problems.append(
                f"{name} is {value!r}; accepted: {', '.join(accepted)}"
            )
            return "relu"
        return accepted[value]

    def equals(self, name: str, wanted: Any) -> None:
        """Notes a problem unless a field is missing or has the only accepted value."""
        value = self._contents.get(name)
        same = value == wanted or (
            isinstance(wanted, float)
            and type(value) in (int, float)
            and math.isclose(value, wanted)
        )
        if value is not None and not same:
            self.problems.append(f"{name} is {value!r}; accepted: {wanted!r}")


def described(
    released: Released,
    *,
    tied: bool,
    shared_heads: bool = False,
    shared_kv: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Returns the name of our model and the other fields of its config.

    Args:
        released: the config.
        tied: whether the logits use the embedding table.
        shared_heads: whether the keys and values of all heads are equal.
        shared_kv: whether keys and values are equal.

    Raises:
        ReleaseError: there is no such model here.
    """
    numbers = dict(released.numbers)
    fields: dict[str, Any] = {
        "vocab_size": released.vocab_size,
        "dropout_rate": released.dropout_rate,
        **released.switch,
    }
    if not tied:
        fields["tie_embeddings"] = False
    if tied != released.scaled:
        fields["logits_scaling"] = "always" if released.scaled else "never"
    gated = released.activation.startswith("gated-")
    architecture = VANILLA
    if released.model_type == SWITCH:
        architecture = SPARSE
    elif gated:
        architecture = GATED
    if released.activation != ("gated-gelu" if gated else "relu"):
        fields["ffn_activation"] = released.activation

    def named(d_ff: int) -> str:
        shape = shape_names.Shape(
            **{**numbers, "d_ff": d_ff},
            shared_heads=shared_heads,
            shared_kv=shared_kv,
        )
        return shape_names.name(architecture, shape)

    name, d_ff = named(numbers["d_ff"]), numbers["d_ff"]
    if architecture == GATED:
        name, d_ff, match = _gated_name(named, d_ff)
        fields |= {"ffn_match": match} if match != "parameters" else {}
    own = registry.parse(name).config_fields()
    numbers["d_ff"] = d_ff
    fields |= {field: n for field, n in numbers.items() if own[field] != n}
    try:
        models.build(name, **fields)
    except (models.ConfigError, models.ModelNameError) as error:
        raise errors.ReleaseError(f"{FILE}: no model here has it: {error}") from error
    return name, fields


def _gated_name(named: Any, width: int) -> tuple[str, int, str]:
    """Returns the name, d_ff and ffn_match of a gated model with hidden width `width`.

    The form with fewer operators is taken: `glu-base` is T5 1.1's base, whose width,
    2048, is 2/3 of the d_ff of the size.
    """
    found = [(named(width), width, "width")]
    for d_ff in sorted({size.d_ff for size in sizes.SIZES.values()}):
        if (2 * d_ff + 1) // 3 == width:
            found.append((named(d_ff), d_ff, "parameters"))
    return min(found, key=lambda each: len(registry.parse(each[0]).operators))


def written(model: models.EncoderDecoder, expert_capacity: int = 0) -> dict[str, Any]:
    """Returns the `config.json` of one of our models.

    Args:
        model: a vanilla, gated or Switch Transformer.
        expert_capacity: of a Switch Transformer, tokens per expert and row.
    """
    config = model.config
    kind = SWITCH if hasattr(config, "num_experts") else T5
    scaled = config.scales_logits
    contents: dict[str, Any] = {
        "architectures": [_CLASSES[kind]],
        "model_type": kind,
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "d_kv": config.d_kv,
        "d_ff": config.ffn_width,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": buckets.NUM_BUCKETS,
        "relative_attention_max_distance": buckets.MAX_DISTANCE,
        "dropout_rate": config.dropout_rate,
        "layer_norm_epsilon": norm.EPSILON,
        "initializer_factor": 1.0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        # Older versions scale if it is true, newer ones by the field below.
        "tie_word_embeddings": config.tie_embeddings,
        "torch_dtype": "float32",
    }
    activation = next(k for k, v in _ACTIVATIONS.items() if v == config.ffn_activation)
    if kind == T5:
        return contents | {
            "feed_forward_proj": activation,
            "scale_decoder_outputs": scaled,
        }
    return contents | {
        "feed_forward_proj": activation,
        "dense_act_fn": activation,
        "num_experts": config.num_experts,
        "expert_capacity": expert_capacity,
        "num_sparse_encoder_layers": config.num_encoder_layers // 2,
        "num_sparse_decoder_layers": config.num_decoder_layers // 2,
        "router_bias": False,
        "router_dtype": "float32",
        "router_jitter_noise": config.router_jitter,
    }


def activations() -> Iterable[str]:
    """Returns the values of `ffn_activation` that a `config.json` can hold."""
    return set(_ACTIVATIONS.values())
