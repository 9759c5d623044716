"""Typed parts of a JSON file: one declaration of the fields is its reader and writer.

A subclass of `Part` is a JSON object. Its annotations say what values a field takes:
`str`, `int | float | None`, another `Part`, `Mapping[str, X]`, `Sequence[X]`, or `Any`.
A field without a default is required; one with a default may be missing in the file.

Nothing is lost when a file is read and written again: fields that a part does not
declare are kept in `rest`, and a field that was missing is written only if it has got a
value meanwhile.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import types
import typing
from typing import Any
from typing import Self

from clinometer.kernels.options import ranges

Number = int | float

_MOST = 1e30  # No run counts or measures more.
_NULL = type(None)


class FieldError(ValueError):
    """A field is missing or has a value of another type; the message names it."""


def optional(*, null: bool = True, name: str | None = None) -> Any:
    """Declares a field that is None, and is not written, where there is no value.

    Args:
        null: whether a file may also say null.
        name: in the file; None for the attribute's.
    """
    return dataclasses.field(
        default=None, metadata={"optional": True, "null": null, "name": name}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A JSON object.

    Attributes:
        rest: values of the fields that the class does not declare.
        present: names of the fields that the file had; None if it was not read.
    """

    rest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    present: frozenset[str] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    @classmethod
    def from_json(cls, contents: Mapping[str, Any], place: str = "") -> Self:
        """Reads an object.

        Args:
            contents: as JSON gives it.
            place: of the object in its file, for messages.

        Raises:
            FieldError: a required field is missing, or a value is of another type.
        """
        values: dict[str, Any] = {}
        rest = dict(contents)
        for field in _fields(cls):
            if field.key in rest:
                where = _below(place, field.key)
                values[field.name] = _read(rest.pop(field.key), field.accepted, where)
            elif field.default is dataclasses.MISSING:
                raise FieldError(f"{place} has no field {field.key!r}".strip())
        rest = {
            key: _read(value, _rest(cls), _below(place, key))
            for key, value in rest.items()
        }
        return cls(**values, rest=rest, present=frozenset(contents))

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """Makes a part of values under their names in the file, without a check."""
        rest = dict(values)
        declared = {
            field.name: rest.pop(field.key)
            for field in _fields(cls)
            if field.key in values
        }
        return cls(**declared, rest=rest)

    def to_json(self) -> dict[str, Any]:
        """Returns the object: the declared fields in their order, then the rest."""
        made = {}
        for field in _fields(type(self)):
            value = getattr(self, field.name)
            if self.present is None:
                written = not field.optional
            else:
                written = field.key in self.present
            if written or value != field.default:
                made[field.key] = _plain(value)
        return made | _plain(self.rest)

    def require(self, *fields: str) -> None:
        """Raises FieldError where a field, say `data.store`, is missing in the file."""
        contents = self.to_json()
        for field in fields:
            value: Any = contents
            for key in field.split("."):
                if not isinstance(value, dict) or key not in value:
                    raise FieldError(f"has no field {field!r}")
                value = value[key]


@dataclasses.dataclass(frozen=True)
class _Field:
    """A declared field: its attribute, its name in the file, and what it takes."""

    name: str
    key: str
    accepted: tuple[Any, ...]
    default: Any
    optional: bool


@functools.cache
def _fields(part: type[Part]) -> tuple[_Field, ...]:
    return tuple(_declared(part))


def _declared(part: type[Part]) -> Iterator[_Field]:
    hints = typing.get_type_hints(part)
    for field in dataclasses.fields(part):
        if field.name in ("rest", "present"):
            continue
        accepted = _alternatives(hints[field.name])
        if not field.metadata.get("null", True):
            accepted = tuple(kind for kind in accepted if kind is not _NULL)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield _Field(
            field.name,
            field.metadata.get("name") or field.name,
            accepted,
            default,
            field.metadata.get("optional", False),
        )


@functools.cache
def _rest(part: type[Part]) -> tuple[Any, ...]:
    """What the fields take that a part does not declare."""
    return _alternatives(typing.get_args(typing.get_type_hints(part)["rest"])[1])


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _json_type(kind: Any) -> type:
    """The type that JSON gives a value of a declared kind."""
    origin = typing.get_origin(kind) or kind
    if issubclass(origin, Part | Mapping):
        return dict
    return list if origin is Sequence else origin


def _read(value: Any, accepted: tuple[Any, ...], place: str) -> Any:
    if Any in accepted:
        return value
    # isinstance would take True for a whole number.
    kind = next((kind for kind in accepted if type(value) is _json_type(kind)), None)
    small = not (type(value) in (int, float) and abs(value) > _MOST)
    if kind is None or not small:
        names = " or ".join(
            "null" if kind is _NULL else _json_type(kind).__name__ for kind in accepted
        )
        limit = "" if kind is None else f" of up to {_MOST:g}"
        raise FieldError(f"{place} is {ranges.shown(value)}; accepted: {names}{limit}")
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind.from_json(value, place)
    inner = tuple(_alternatives(each) for each in typing.get_args(kind))
    if type(value) is dict and inner:
        return {
            key: _read(each, inner[1], _below(place, key))
            for key, each in value.items()
        }
    if type(value) is list and inner:
        return tuple(
            _read(each, inner[0], _below(place, index))
            for index, each in enumerate(value)
        )
    return value


def _below(place: str, key: str | int) -> str:
    return f"{place}.{key}" if place else str(key)


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
