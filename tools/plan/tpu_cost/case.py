"""A kernel, or an operation with its gradient, as programs for the TPU compiler."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import importlib
import re
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp

from clinometer.kernels import context
from clinometer.kernels import declaration
from clinometer.kernels import dispatch
from clinometer.kernels import equations
from clinometer.kernels.bench import runner
from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import roofline as roofline_lib

OURS = "tpu"
XLA = "reference"
STEP = "forward+backward"  # the pass of a `TrainStepCase`


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


class _Compared:
    """What a table has a row of for each implementation."""

    op: str
    pass_name: str
    label: str
    arrays: tuple[Operand, ...]  # in the order in which `run` takes them

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in a table."""
        return self.op, self.pass_name, self.label

    def shapes(self, dtype: str) -> list[jax.ShapeDtypeStruct]:
        """Returns the operands as the kernel takes them."""
        return [_struct(x.shape, x, dtype) for x in self.arrays]


@dataclasses.dataclass(frozen=True)
class CostCase(_Compared):
    """One pass of an operation at one shape.

    Attributes:
        op: name of the operation.
        pass_name: "forward" or "backward".
        label: of the shape, e.g. "b8h8s512d64".
        kernel: what is called.
        operands: of the kernel, by name.
        settings: of the kernel.
        roofline: "module:function" of chip, operands' shapes and settings; None where
            nobody has worked it out.
        forms: other jnp forms than the reference, by name.
    """

    op: str
    pass_name: str
    label: str
    kernel: declaration.Kernel
    operands: Mapping[str, Operand]
    settings: Mapping[str, Any]
    roofline: str | None = None
    forms: Mapping[str, Form] = dataclasses.field(default_factory=dict)

    @property
    def arrays(self) -> tuple[Operand, ...]:
        """The operands in the kernel's order."""
        return self.kernel.signature.ordered(str(self.kernel), self.operands)

    def named_shapes(self, dtype: str) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the operands as the kernel takes them, by name."""
        return self.kernel.signature.named(self.shapes(dtype))

    def implementations(self) -> list[str]:
        """Names of what can be compiled: ours where there is one, then XLA's forms."""
        ours = [OURS] if OURS in self.kernel.implementations else []
        return [*ours, XLA, *self.forms]

    def run(self, implementation: str, arrays: Sequence[jax.Array]) -> Sequence[Any]:
        """Returns the results of ours or of the reference."""
        operands = self.kernel.signature.named(arrays)
        return dispatch.call(self.kernel, operands, self.settings, implementation)

    def refusal(self, chip: chips.Chip, dtype: str) -> str | None:
        """Returns why ours does not run on a chip, or None."""
        if OURS not in self.kernel.implementations:
            return f"{self.op} ({self.pass_name}) has no form of ours"
        refuse = self.kernel.implementations[OURS].refuse
        return refuse(chip.device_kind, **self.named_shapes(dtype), **self.settings)

    def auto(self, chip: chips.Chip, dtype: str) -> str:
        """Returns the implementation that "auto" takes on a chip."""
        return dispatch.choose(
            self.kernel,
            self.named_shapes(dtype),
            self.settings,
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
        return function(chip, self.named_shapes(dtype), self.settings)


@dataclasses.dataclass(frozen=True)
class TrainStepCase(_Compared):
    """An operation and its gradient in one program, as a train step has them.

    Attributes:
        op: name of the operation.
        label: of the shape.
        function: an implementation's name to the operation, as users call it.
        inputs: of the operation.
        num_gradients: so many inputs, from the first, get a gradient.
        cotangents: of the operation's floating-point results.
        baselines: other jnp forms than the reference, of inputs of their own, by name.
    """

    op: str
    label: str
    function: Callable[[str], Callable[..., Any]]
    inputs: tuple[Operand, ...]
    num_gradients: int
    cotangents: tuple[Operand, ...]
    baselines: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    pass_name: str = dataclasses.field(default=STEP, init=False)

    @property
    def arrays(self) -> tuple[Operand, ...]:
        """The inputs, and what flows back."""
        return (*self.inputs, *self.cotangents)

    @property
    def forms(self) -> Mapping[str, Form]:
        """The jnp forms, with their gradients."""
        return {
            name: Form(self._gradients(x.function), (*x.operands, *self.cotangents))
            for name, x in self.baselines.items()
        }

    def implementations(self) -> list[str]:
        """As `CostCase.implementations`; ours is what "auto" takes."""
        return [OURS, XLA, *self.forms]

    def run(self, implementation: str, arrays: Sequence[jax.Array]) -> Sequence[Any]:
        """Returns results, then gradients, of ours or of the reference."""
        name = "auto" if implementation == OURS else implementation
        return jax.tree.leaves(self._gradients(self.function(name))(*arrays))

    def refusal(self, chip: chips.Chip, dtype: str) -> str | None:
        """Returns why nothing in it is ours on a chip, or None."""
        if self.auto(chip, dtype) == OURS:
            return None
        return f"on {chip.name} every pass of {self.op} is left to XLA"

    def auto(self, chip: chips.Chip, dtype: str) -> str:
        """Returns OURS where "auto" takes a kernel of ours for a part at least."""
        with context.target(chip.device_kind):
            found = equations.choices(
                lambda *arrays: self.run(OURS, arrays),
                *self.shapes(dtype),
                platform="tpu",
            )
        return OURS if any(x.implementation == OURS for x in found) else XLA

    def least(self, chip: chips.Chip, dtype: str) -> None:
        """None: the passes' rooflines are those of their own cases."""

    def _gradients(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def gradients(*arguments: jax.Array) -> Any:
            last = len(arguments) - len(self.cotangents)
            return runner.with_gradients(
                function, self.num_gradients, arguments[last:], *arguments[:last]
            )

        return gradients


def program(
    case: CostCase | TrainStepCase, implementation: str, dtype: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns a function of stored operands that gives stored results, and those.

    The reshapes inside cancel, or show as the layout copies that a layer would pay too.

    Args:
        case: what to compile.
        implementation: of `case.implementations()`.
        dtype: of operands without their own.
    """
    form = case.forms.get(implementation)
    operands = form.operands if form else case.arrays
    stored = {x.shape: x.stored for x in (*operands, *case.arrays) if x.stored}

    def run(*arrays: jax.Array) -> list[jax.Array]:
        whole = [
            array.reshape(x.shape) for array, x in zip(arrays, operands, strict=True)
        ]
        results = form.function(*whole) if form else case.run(implementation, whole)
        return [
            x.reshape(stored.get(x.shape, x.shape)) for x in jax.tree.leaves(results)
        ]

    words = f"{case.op}_{case.pass_name}".replace("+", "_")
    run.__name__ = words  # in the compiler's messages
    return run, [_struct(x.stored or x.shape, x, dtype) for x in operands]


def kernel(
    function: Callable[..., Any], shapes: Sequence[jax.ShapeDtypeStruct], name: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns a Pallas call of a program by itself, and its operands.

    Args:
        function: of arrays of these shapes, traced for the target that is set.
        shapes: of its operands.
        name: of the instruction: that of the call, and a number perhaps.

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

    wanted = re.sub(r"\.\d+$", "", name)
    for equation in calls(jax.make_jaxpr(function)(*shapes).jaxpr):
        if equation.params["name"] == wanted:
            bind = functools.partial(equation.primitive.bind, **equation.params)
            avals = [variable.aval for variable in equation.invars]
            return bind, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in avals]
    raise KeyError(f"no Pallas call is {name}")


def find(
    cases: Sequence[CostCase | TrainStepCase], key: Sequence[str]
) -> CostCase | TrainStepCase:
    """Returns the case of that key; KeyError if there is none."""
    for case in cases:
        if case.key == tuple(key):
            return case
    raise KeyError(f"no case is {' '.join(key)}")


def _struct(shape: tuple[int, ...], x: Operand, dtype: str) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(x.dtype or dtype))
