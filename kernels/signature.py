"""What a kernel takes and gives, by name: axes, dtypes, settings.

The axes of an array are a string such as "b t h d", the batch first. A leading "b?" is
the batch or 1: an operand that leads with 1 is shared by all examples. "(h d)" is one
axis of h times d elements, h by h. An axis of a result that is called as a setting has
that setting's size: "groups h r" is how the gradient of what examples share leads.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp

_BATCH = "b"
_SHARED = "b?"


@dataclasses.dataclass(frozen=True)
class ResultSpec:
    """What a kernel gives.

    Attributes:
        axes: as in the module's docstring.
        dtype: name of a dtype, or of the operand that has it.
    """

    axes: str
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """The arrays and settings of a kernel; their order is that of the declaration.

    An operand that a call goes without is empty: axes of it may be 0.

    Attributes:
        operands: axes by name.
        results: by name.
        settings: names of hashable values that the kernel needs besides.
        independent: the axis, besides the batch, along which a call falls into parts
            that have nothing to do with each other: "h" of heads or "e" of experts;
            None without one. Wherever it leads an axis, that may be divided.
    """

    operands: Mapping[str, str]
    results: Mapping[str, ResultSpec]
    settings: tuple[str, ...] = ()
    independent: str | None = None

    def named(self, arrays: Iterable[Any]) -> dict[str, Any]:
        """Returns the operands of a call by name, of arrays in their order."""
        return dict(zip(self.operands, arrays, strict=True))

    def ordered(self, what: str, operands: Mapping[str, Any]) -> tuple[Any, ...]:
        """Returns the arrays of a call in their order; the inverse of `named`.

        Args:
            what: the kernel that errors name.
            operands: arrays by name, in any order.

        Raises:
            ValueError: an operand is unknown or missing.
        """
        _check_names(what, "operand", operands, self.operands)
        return tuple(operands[name] for name in self.operands)

    def check(
        self, what: str, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        """Raises ValueError unless a call has the names and axes that are declared.

        Args:
            what: the kernel that the message names.
            operands: arrays or their shapes.
            settings: of the kernel.
        """
        _check_names(what, "operand", operands, self.operands)
        _check_names(what, "setting", settings, self.settings)
        self._sizes(what, operands, settings)

    def shared(self, name: str) -> bool:
        """Whether an operand may lead with 1, for all examples."""
        return _split(self.operands[name])[0] == _SHARED

    def operand_places(self) -> list[int | None]:
        """The place of the independent axis in each operand; None where it has none."""
        return [_place(axes, self.independent) for axes in self.operands.values()]

    def result_places(self) -> list[int | None]:
        """The place of the independent axis in each result; None where it has none."""
        return [_place(x.axes, self.independent) for x in self.results.values()]

    def result_shapes(
        self, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Returns the shapes and dtypes of the results.

        Args:
            operands: arrays or their shapes.
            settings: of the kernel.
        """
        sizes = self._sizes("results", operands, settings)
        return tuple(
            jax.ShapeDtypeStruct(
                tuple(sizes[axis] for axis in _split(x.axes)),
                operands[x.dtype].dtype if x.dtype in operands else jnp.dtype(x.dtype),
            )
            for x in self.results.values()
        )

    def bytes(self, operands: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
        """Returns the size of all operands and results; arguments as `result_shapes`.

        It is what a kernel moves that reads and writes everything once.
        """
        arrays = (*operands.values(), *self.result_shapes(operands, settings))
        return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in arrays)

    def _sizes(
        self, what: str, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> dict[str, int]:
        """Returns the size of every axis; ValueError where operands disagree."""
        sizes = {name: settings[name] for name in self.settings}
        for name, axes in self.operands.items():
            if len(operands[name].shape) != len(_split(axes)):
                raise ValueError(
                    f"{what}: {name}: must be [{axes}], got shape "
                    f"{operands[name].shape}"
                )
        sizes[_BATCH] = max(x.shape[0] for x in operands.values())
        # What is empty comes last: it says nothing of what others have.
        for name in sorted(operands, key=lambda name: 0 in operands[name].shape):
            shape, axes = operands[name].shape, _split(self.operands[name])
            for size, axis in zip(shape, axes, strict=True):
                if axis == _SHARED:
                    fits = size in (1, sizes[_BATCH])
                else:
                    fits = sizes.setdefault(axis, size) == size or 0 in shape
                if not fits:
                    wanted = sizes[axis.rstrip("?")]
                    raise ValueError(
                        f"{what}: {name}: must be [{self.operands[name]}] with "
                        f"{axis.rstrip('?')} = {wanted}, got shape {shape}"
                    )
        return sizes


@functools.cache
def _split(axes: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\([^)]*\)|\S+", axes))


def _place(axes: str, wanted: str | None) -> int | None:
    for place, axis in enumerate(_split(axes)):
        if axis.strip("()").split()[0] == wanted:
            return place
    return None


def _check_names(
    what: str, kind: str, given: Collection[str], accepted: Collection[str]
) -> None:
    for reason, names in (
        ("unknown", [name for name in given if name not in accepted]),
        ("missing", [name for name in accepted if name not in given]),
    ):
        if names:
            raise ValueError(
                f"{what}: {reason} {kind} {', '.join(map(repr, names))}; it takes "
                f"{', '.join(accepted) or 'none'}"
            )
