"""Parses model names such as `transformer-NL16-SM`: architecture, operators, size.

The operators are those of Tay et al. 2021 (ARCHITECTURES.md#operators): NL, EL and DL
set layers, DM d_model, KV d_kv, NH heads, FF d_ff, SH shared heads, SKV tied keys and
values. Names are case-insensitive. The number may precede the letters (`small-32EL`).
K multiplies by 1024, and so do three trailing zeros, as in names on the Hugging Face
hub (`ff9000` is 9216). The names there are read too: `t5-efficient-small-el16-dl4` is
`transformer-EL16-DL4-SM`.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import re
from typing import Protocol

from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.options.errors import did_you_mean
from clinometer.models import limits
from clinometer.models.architectures import sizes as sizes_lib

# Maps operators to the config fields that they set. SH and SKV take no number.
OPERATORS = {
    "NL": ("num_encoder_layers", "num_decoder_layers"),
    "EL": ("num_encoder_layers",),
    "DL": ("num_decoder_layers",),
    "DM": ("d_model",),
    "KV": ("d_kv",),
    "NH": ("num_heads",),
    "FF": ("d_ff",),
    "SH": ("num_kv_heads",),
    "SKV": ("shared_kv",),
}
_SPELLINGS = {"L": "NL", "F": "FF"}
_RELEASED = (["t5", "efficient"], "transformer")  # First parts of names on the hub.
_FLAGS = {"SH": 1, "SKV": True}
_PART = re.compile(r"^(?:([A-Z]+)(\d+K?)?|(\d+K?)([A-Z]+))$")


class ModelNameError(ValueError):
    """Raised for an invalid model name; the message says which part is wrong."""


@dataclasses.dataclass(frozen=True)
class ModelName:
    """A parsed model name.

    Attributes:
        architecture: key of the registry, e.g. "transformer".
        size: key of the architecture's table of sizes, e.g. "small".
        operators: (operator, value) pairs in canonical order.
        shape: the size itself.
    """

    architecture: str
    size: str
    operators: tuple[tuple[str, int | bool], ...] = ()
    shape: sizes_lib.Size = dataclasses.field(kw_only=True, repr=False)

    @property
    def canonical(self) -> str:
        """The canonical spelling: `transformer-small`, `transformer-NL16-SM`."""
        if not self.operators:
            return f"{self.architecture}-{self.size}"
        parts = [op if op in _FLAGS else f"{op}{value}" for op, value in self.operators]
        return "-".join([self.architecture, *parts, self.shape.code])

    def config_fields(self) -> dict[str, int | bool]:
        """Returns the config fields set by the size and the operators."""
        fields: dict[str, int | bool] = {
            "num_encoder_layers": self.shape.num_layers,
            "num_decoder_layers": self.shape.num_layers,
            "d_model": self.shape.d_model,
            "d_ff": self.shape.d_ff,
            "num_heads": self.shape.num_heads,
            "d_kv": self.shape.d_kv,
        }
        for operator, value in self.operators:
            fields.update(dict.fromkeys(OPERATORS[operator], value))
        return fields


class HasSizes(Protocol):
    """An architecture.

    Attributes:
        sizes: its table of sizes, by name.
    """

    sizes: Mapping[str, sizes_lib.Size]


def parse(name: str, architectures: Mapping[str, HasSizes]) -> ModelName:
    """Parses a model name.

    Args:
        name: e.g. "transformer-NL16-SM", "transformer-small-el16-dl8".
        architectures: the accepted architectures by name.

    Returns:
        The parsed name.

    Raises:
        ModelNameError: the name is invalid; the message says which part is wrong and
            what is accepted.
    """
    if len(name) > limits.NAME_CHARACTERS:
        raise ModelNameError(
            f"model {name[:40]!r}...: {len(name):,} characters; a name has at most "
            f"{limits.NAME_CHARACTERS}"
        )
    parts = [part for part in re.split(r"[-_\s]+", name.strip()) if part]
    if [part.lower() for part in parts[:2]] == _RELEASED[0]:
        parts[:2] = [_RELEASED[1]]
    if not parts or parts[0].lower() not in architectures:
        given = parts[0] if parts else name
        raise ModelNameError(
            f"model {name!r}: unknown architecture {given!r}"
            f"{did_you_mean(given, architectures)}; a name is "
            f"ARCHITECTURE-[OPERATORS-]SIZE, e.g. transformer-NL16-SM; architectures: "
            f"{', '.join(sorted(architectures))}; to use your own, set "
            "CLINOMETER_ARCHITECTURES=FILE.py"
        )
    architecture = parts[0].lower()
    table = architectures[architecture].sizes
    names = sizes_lib.names(table)
    size, operators = None, {}
    for part in parts[1:]:
        if part.lower() in names:
            if size is not None:
                raise ModelNameError(
                    f"model {name!r}: has two sizes, {size!r} and {part!r}"
                )
            size = names[part.lower()]
            continue
        operator, value = _parse_operator(name, part, names, table)
        if operator in operators:
            raise ModelNameError(f"model {name!r}: operator {operator} is given twice")
        operators[operator] = value
    if size is None:
        raise ModelNameError(
            f"model {name!r}: no size; accepted: {', '.join(table)} "
            f"(or {', '.join(size.code for size in table.values())})"
        )
    if "NL" in operators and ("EL" in operators or "DL" in operators):
        raise ModelNameError(
            f"model {name!r}: NL sets both stacks and cannot be combined with EL or DL"
        )
    ordered = tuple((op, operators[op]) for op in OPERATORS if op in operators)
    return ModelName(architecture, size, ordered, shape=table[size])


def _parse_operator(
    name: str, part: str, names: Collection[str], table: Collection[str]
) -> tuple[str, int | bool]:
    match = _PART.match(part.upper())
    letters = (match[1] or match[4]) if match else part.upper()
    operator = _SPELLINGS.get(letters, letters)
    if match is None or operator not in OPERATORS:
        known = [*OPERATORS, *names]
        raise ModelNameError(
            f"model {name!r}: {part!r} is neither a size nor an operator"
            f"{did_you_mean(part, known)}; operators: {', '.join(OPERATORS)}; sizes: "
            f"{', '.join(table)}"
        )
    number = match[2] or match[3]
    if operator in _FLAGS:
        if number:
            raise ModelNameError(
                f"model {name!r}: {operator} takes no number, got {part!r}"
            )
        return operator, _FLAGS[operator]
    if not number:
        raise ModelNameError(
            f"model {name!r}: operator {operator} needs a number, e.g. {operator}32"
        )
    value = _number(number)
    for field in OPERATORS[operator]:
        try:
            limits.whole(field).check(value)
        except OptionError as error:
            raise ModelNameError(f"model {name!r}: {part!r} {error}") from None
    return operator, value


def _number(text: str) -> int:
    if text.endswith("K"):
        return int(text[:-1]) * 1024
    value = int(text)
    return value // 1000 * 1024 if value and value % 1000 == 0 else value
