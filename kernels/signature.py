"""Signatures of kernels: operands, results and settings by name, axes and dtypes.

The axes of an array are a string such as "b t h d", the batch first. A leading "b?"
stands for the batch or 1; an operand whose leading axis is 1 is shared by all examples.
"(h d)" is a single axis of h * d elements, with h as the major axis. A result's axis
that has the name of a setting has that setting's value as its size: for example, the
gradient of a shared operand has the axes "groups h r".
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
    """The axes and dtype of a kernel's result.

    Attributes:
        axes: see the module's docstring.
        dtype: the name of a dtype, or of an operand whose dtype it has.
    """

    axes: str
    dtype: str


@dataclasses.dataclass(frozen=True, eq=False)
class Signature:
    """The arrays and settings of a kernel, in the order in which they are declared.

    An optional operand that a call does not use is passed as an empty array, in which
    some axes are 0.

    Attributes:
        operands: the axes of each operand, by name.
        results: the results, by name.
        settings: the names of the hashable values that the kernel needs as well.
        divisible: the axes, besides the batch, along which a call may be divided into
            parts: "h" for heads, "e" for experts, "m" for a hidden width. Any axis that
            is one of these, or begins with it as "(h d)", may be sharded; a result
            without such an axis is the sum over the parts.
    """

    operands: Mapping[str, str]
    results: Mapping[str, ResultSpec]
    settings: tuple[str, ...] = ()
    divisible: tuple[str, ...] = ()

    def named(self, arrays: Iterable[Any]) -> dict[str, Any]:
        """Returns operands by name, given the arrays in the declared order."""
        return dict(zip(self.operands, arrays, strict=True))

    def ordered(self, what: str, operands: Mapping[str, Any]) -> tuple[Any, ...]:
        """Returns the arrays of a call in the declared order; the inverse of `named`.

        Args:
            what: the name of the kernel in error messages.
            operands: arrays by name, in any order.

        Raises:
            ValueError: if an operand is unknown or missing.
        """
        _check_names(what, "operand", operands, self.operands)
        return tuple(operands[name] for name in self.operands)

    def check(
        self, what: str, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        """Checks the names and shapes of a call's operands and settings.

        Args:
            what: the name of the kernel in error messages.
            operands: arrays or their shapes, by name.
            settings: settings by name.

        Raises:
            ValueError: if names or shapes differ from the declared ones.
        """
        _check_names(what, "operand", operands, self.operands)
        _check_names(what, "setting", settings, self.settings)
        self._sizes(what, operands, settings)

    def shared(self, name: str) -> bool:
        """Returns whether all examples may share an operand (leading axis 1)."""
        return _split(self.operands[name])[0] == _SHARED

    def operand_places(self) -> list[dict[str, int]]:
        """Returns the index of each divisible axis that an operand has, by its name."""
        return [_places(axes, self.divisible) for axes in self.operands.values()]

    def result_places(self) -> list[dict[str, int]]:
        """Returns the index of each divisible axis that a result has, by its name."""
        return [_places(x.axes, self.divisible) for x in self.results.values()]

    def result_shapes(
        self, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Returns the shapes and dtypes of the results.

        Args:
            operands: arrays or their shapes, by name.
            settings: settings by name.
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
        """Returns the bytes of all operands and results.

        This is the traffic of a kernel that reads and writes everything once.

        Args:
            operands: arrays or their shapes, by name.
            settings: settings by name.
        """
        arrays = (*operands.values(), *self.result_shapes(operands, settings))
        return sum(math.prod(x.shape) * jnp.dtype(x.dtype).itemsize for x in arrays)

    def _sizes(
        self, what: str, operands: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> dict[str, int]:
        """Returns the size of every axis; raises ValueError if operands disagree."""
        sizes = {name: settings[name] for name in self.settings}
        for name, axes in self.operands.items():
            if len(operands[name].shape) != len(_split(axes)):
                raise ValueError(
                    f"{what}: {name}: must be [{axes}], got shape "
                    f"{operands[name].shape}"
                )
        sizes[_BATCH] = max(x.shape[0] for x in operands.values())
        # Empty operands come last: they do not determine the sizes of axes.
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


def _places(axes: str, wanted: Collection[str]) -> dict[str, int]:
    leading = [axis.strip("()").split()[0] for axis in _split(axes)]
    return {axis: place for place, axis in enumerate(leading) if axis in wanted}


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
