"""One kernel at one shape, as a program that the TPU compiler takes."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import importlib
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp

from clinometer.kernels import dispatch
from clinometer.kernels import equations
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline as roofline_lib

OURS = "tpu"
XLA = "reference"


@dataclasses.dataclass(frozen=True)
class Operand:
    """An array that a program is given.

    Attributes:
        shape: as the kernel takes it.
        dtype: of its own; None for that of the program.
        stored: its shape in memory, where other than `shape`: [B, S, H, D] lies there
            as [B, S, H * D], or XLA would pad D to 128.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    stored: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Form:
    """The same maths in plain jnp, with operands of its own."""

    function: Callable[..., Any]
    operands: tuple[Operand, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """One pass of an operation at one shape.

    Attributes:
        op: name of the operation.
        pass_name: "forward" or "backward".
        label: of the shape, e.g. "b8h8s512d64".
        kernel: what is called.
        operands: of the kernel.
        settings: of the kernel.
        roofline: "module:function" of chip, operands' shapes and settings; None where
            nobody has worked it out.
        forms: other jnp forms than the reference, by name.
    """

    op: str
    pass_name: str
    label: str
    kernel: dispatch.Kernel
    operands: tuple[Operand, ...]
    settings: Mapping[str, Any]
    roofline: str | None = None
    forms: Mapping[str, Form] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in a table."""
        return self.op, self.pass_name, self.label

    def implementations(self) -> list[str]:
        """Names of what can be compiled: ours where there is one, then XLA's forms."""
        ours = [OURS] if OURS in self.kernel.implementations else []
        return [*ours, XLA, *self.forms]

    def shapes(self, dtype: str) -> list[jax.ShapeDtypeStruct]:
        """Returns the operands as the kernel takes them."""
        return [_struct(x.shape, x, dtype) for x in self.operands]

    def auto(self, chip: chips.Chip, dtype: str) -> str:
        """Returns the implementation that "auto" takes on a chip."""
        return dispatch.choose(
            self.kernel,
            self.shapes(dtype),
            dict(self.settings),
            "auto",
            "tpu",
            chip.device_kind,
        ).implementation

    def least(self, chip: chips.Chip, dtype: str) -> roofline_lib.Roofline | None:
        """Returns the roofline, or None where nobody has worked it out."""
        if self.roofline is None:
            return None
        module, _, name = self.roofline.partition(":")
        function = getattr(importlib.import_module(module), name)
        return function(chip, *self.shapes(dtype), **self.settings)


def program(
    case: Case, implementation: str, dtype: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns a function of stored operands that gives stored results, and those.

    The reshapes inside cancel, or show as the layout copies that a layer would pay too.

    Args:
        case: what to compile.
        implementation: of `case.implementations()`.
        dtype: of operands without their own.
    """
    form = case.forms.get(implementation)
    operands = form.operands if form else case.operands
    stored = {x.shape: x.stored for x in (*operands, *case.operands) if x.stored}

    def run(*arrays: jax.Array) -> list[jax.Array]:
        whole = [
            array.reshape(x.shape) for array, x in zip(arrays, operands, strict=True)
        ]
        if form:
            results: Sequence[jax.Array] = jax.tree.leaves(form.function(*whole))
        else:
            settings = dict(case.settings)
            results = dispatch.call(case.kernel, whole, settings, implementation)
        return [x.reshape(stored.get(x.shape, x.shape)) for x in results]

    run.__name__ = f"{case.op}_{case.pass_name}"  # in the compiler's messages
    return run, [_struct(x.stored or x.shape, x, dtype) for x in operands]


def kernel(
    function: Callable[..., Any], shapes: Sequence[jax.ShapeDtypeStruct], name: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns a Pallas call of a program by itself, and its operands.

    Args:
        function: of arrays of these shapes, traced for the target that is set.
        shapes: of its operands.
        name: of the instruction, which begins with that of the call.

    Raises:
        KeyError: the program has no such call.
    """

    def calls(jaxpr: Any) -> Iterator[Any]:
        for equation in jaxpr.eqns:
            if equation.primitive.name == "pallas_call":
                yield equation
            elif equation.primitive.name == dispatch.PRIMITIVE_NAME:
                yield from calls(equations.implementation_jaxpr(equation, "tpu"))
            else:
                for inner in core.jaxprs_in_params(equation.params):
                    yield from calls(inner)

    for equation in calls(jax.make_jaxpr(function)(*shapes).jaxpr):
        if name.startswith(equation.params["name"] or "?"):
            bind = functools.partial(equation.primitive.bind, **equation.params)
            avals = [variable.aval for variable in equation.invars]
            return bind, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in avals]
    raise KeyError(f"no Pallas call is {name}")


def find(cases: Sequence[Case], key: Sequence[str]) -> Case:
    """Returns the case of that key; KeyError if there is none."""
    for case in cases:
        if case.key == tuple(key):
            return case
    raise KeyError(f"no case is {' '.join(key)}")


def _struct(shape: tuple[int, ...], x: Operand, dtype: str) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(x.dtype or dtype))
