"""Dataclasses that read and write JSON objects.

A subclass of `Part` describes a JSON object. The annotation of a field gives its type:
`str`, `int | float | None`, another `Part`, `Mapping[str, X]`, `Sequence[X]`, or `Any`.
A field without a default is required; one with a default may be missing in the file.

Reading and rewriting a file loses nothing: undeclared fields are kept in `rest`, and a
field that was missing is written only if its value has changed.
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

_MOST = 1e30  # Largest number that is accepted.
_NULL = type(None)


class FieldError(ValueError):
    """A field is missing or has a wrong value; the message names the field."""


def check_version(contents: Mapping[str, Any], version: int) -> None:
    """Checks the `format_version` of a file's contents.

    Args:
        contents: the JSON object.
        version: the only version that is read.

    Raises:
        FieldError: it is another version, or none.
    """
    found = contents.get("format_version")
    if found != version:
        raise FieldError(
            f"format_version is {ranges.shown(found)}; this version reads {version}"
        )


def optional(*, null: bool = True, name: str | None = None) -> Any:
    """Declares a field that defaults to None and is then not written.

    Args:
        null: whether the file may also hold null.
        name: name of the field in the file; None for the name of the attribute.
    """
    return dataclasses.field(
        default=None, metadata={"optional": True, "null": null, "name": name}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A JSON object.

    Attributes:
        rest: the undeclared fields.
        present: names of the fields in the file; None if the object was not read from
            one.
    """

    rest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    present: frozenset[str] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    @classmethod
    def from_json(cls, contents: Mapping[str, Any], place: str = "") -> Self:
        """Parses an object.

        Args:
            contents: the JSON object.
            place: dotted path of the object in its file, for messages.

        Raises:
            FieldError: a required field is missing or a value has the wrong type.
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
        """Builds an object without checking types.

        Args:
            values: the values by their names in the file.
        """
        rest = dict(values)
        declared = {
            field.name: rest.pop(field.key)
            for field in _fields(cls)
            if field.key in values
        }
        return cls(**declared, rest=rest)

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object: the declared fields in order, then `rest`."""
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
        """Checks that fields are present.

        Args:
            *fields: dotted paths, such as "data.store".

        Raises:
            FieldError: a field is missing.
        """
        contents = self.to_json()
        for field in fields:
            value: Any = contents
            for key in field.split("."):
                if not isinstance(value, dict) or key not in value:
                    raise FieldError(f"has no field {field!r}")
                value = value[key]


@dataclasses.dataclass(frozen=True)
class _Field:
    """A declared field.

    Attributes:
        name: name of the attribute.
        key: name in the file.
        accepted: the alternatives of its annotation.
        default: the default value, or `dataclasses.MISSING`.
        optional: whether a default value is not written.
    """

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
    """Returns the types that are accepted for undeclared fields."""
    return _alternatives(typing.get_args(typing.get_type_hints(part)["rest"])[1])


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if isinstance(annotation, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _json_type(kind: Any) -> type:
    """Returns the Python type that `json` returns for a value of an annotated type."""
    origin = typing.get_origin(kind) or kind
    if issubclass(origin, Part | Mapping):
        return dict
    return list if origin is Sequence else origin


def _read(value: Any, accepted: tuple[Any, ...], place: str) -> Any:
    if Any in accepted:
        return value
    # isinstance would accept True as an int.
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
    """Converts a value to plain dicts and lists."""
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
