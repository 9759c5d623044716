"""Makes programs for the TPU compiler from kernels, and operations with gradients."""

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
STEP = "forward+backward"  # The pass of a `TrainStepCase`.


@dataclasses.dataclass(frozen=True)
class Operand:
    """An operand of a program.

    Attributes:
        shape: its shape, as the kernel takes it.
        dtype: its dtype; None for that of the program.
        stored: its shape in memory if it differs from `shape`. [B, S, H, D] is stored
            as [B, S, H * D], since XLA would pad D to 128.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    stored: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Form:
    """An equivalent of a kernel in plain jnp or by others, with its own operands.

    Attributes:
        function: the function.
        operands: its operands.
        lacks: what a kernel by others does not do; "" for jnp.
        cotangents: cotangents of its results; None for those of the case.
    """

    function: Callable[..., Any]
    operands: tuple[Operand, ...]
    lacks: str = ""
    cotangents: tuple[Operand, ...] | None = None


class _Compared:
    """Base class of the cases, which compare implementations of an operation."""

    op: str
    pass_name: str
    label: str
    arrays: tuple[Operand, ...]  # In the order of the arguments of `run`.

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the case in a table."""
        return self.op, self.pass_name, self.label

    def shapes(self, dtype: str) -> list[jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of the operands, as the kernel takes them."""
        return [_struct(x.shape, x, dtype) for x in self.arrays]


@dataclasses.dataclass(frozen=True)
class CostCase(_Compared):
    """One pass of an operation at one shape.

    Attributes:
        op: name of the operation.
        pass_name: "forward" or "backward".
        label: name of the shape, e.g. "b8h8s512d64".
        kernel: the kernel of the pass.
        operands: operands of the kernel, by name.
        settings: settings of the kernel.
        roofline: the function of the chip, the operands' shapes and the settings that
            returns the roofline, as "module:function"; None if there is none.
        forms: name -> jnp implementation, other than the reference.
        peers: name -> kernel by others.
        residuals: results that the program does not return: residuals that the Pallas
            kernel does without, so that XLA removes them.
    """

    op: str
    pass_name: str
    label: str
    kernel: declaration.Kernel
    operands: Mapping[str, Operand]
    settings: Mapping[str, Any]
    roofline: str | None = None
    forms: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    peers: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    residuals: tuple[str, ...] = ()

    @property
    def arrays(self) -> tuple[Operand, ...]:
        """The operands, in the order of the kernel's signature."""
        return self.kernel.signature.ordered(str(self.kernel), self.operands)

    def named_shapes(self, dtype: str) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of the kernel's operands, by name."""
        return self.kernel.signature.named(self.shapes(dtype))

    def implementations(self) -> list[str]:
        """Returns the names of our implementations, with the Pallas kernel first."""
        ours = [OURS] if OURS in self.kernel.implementations else []
        return [*ours, XLA, *self.forms]

    def run(self, implementation: str, arrays: Sequence[jax.Array]) -> Sequence[Any]:
        """Calls the Pallas kernel or the reference.

        Args:
            implementation: OURS or XLA.
            arrays: the operands, in the order of `arrays`.
        """
        signature = self.kernel.signature
        operands = signature.named(arrays)
        found = dispatch.call(self.kernel, operands, self.settings, implementation)
        named = zip(signature.results, found, strict=True)
        return [x for name, x in named if name not in self.residuals]

    def refusal(self, chip: chips.Chip, dtype: str) -> str | None:
        """Returns why the Pallas kernel doesn't run on a chip, or None if it does."""
        if OURS not in self.kernel.implementations:
            return f"{self.op} ({self.pass_name}) has no Pallas kernel"
        refuse = self.kernel.implementations[OURS].refuse
        return refuse(chip.device_kind, **self.named_shapes(dtype), **self.settings)

    def auto(self, chip: chips.Chip, dtype: str) -> str:
        """Returns the implementation that "auto" chooses on a chip."""
        return dispatch.choose(
            self.kernel,
            self.named_shapes(dtype),
            self.settings,
            "auto",
            "tpu",
            chip.device_kind,
        ).implementation

    def least(self, chip: chips.Chip, dtype: str) -> roofline_lib.Roofline | None:
        """Returns the roofline on a chip, or None if there is none."""
        if self.roofline is None:
            return None
        module, _, name = self.roofline.partition(":")
        function = getattr(importlib.import_module(module), name)
        return function(chip, self.named_shapes(dtype), self.settings)


@dataclasses.dataclass(frozen=True)
class TrainStepCase(_Compared):
    """An operation and its gradient in one program, as in a train step.

    Attributes:
        op: name of the operation.
        label: name of the shape.
        function: maps an implementation's name to the operation, as users call it.
        inputs: inputs of the operation.
        num_gradients: number of inputs, from the first, that get a gradient.
        cotangents: cotangents of the operation's floating-point results.
        baselines: name -> jnp implementation, other than the reference.
        public: name -> operation by others.
        pass_name: always "forward+backward".
    """

    op: str
    label: str
    function: Callable[[str], Callable[..., Any]]
    inputs: tuple[Operand, ...]
    num_gradients: int
    cotangents: tuple[Operand, ...]
    baselines: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    public: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    pass_name: str = dataclasses.field(default=STEP, init=False)

    @property
    def arrays(self) -> tuple[Operand, ...]:
        """The inputs and cotangents."""
        return (*self.inputs, *self.cotangents)

    @property
    def forms(self) -> Mapping[str, Form]:
        """The jnp implementations, with their gradients."""
        return {name: self._with_gradients(x) for name, x in self.baselines.items()}

    @property
    def peers(self) -> Mapping[str, Form]:
        """The operations by others, with their gradients."""
        return {name: self._with_gradients(x) for name, x in self.public.items()}

    def implementations(self) -> list[str]:
        """Returns the names of our implementations; OURS stands for "auto"."""
        return [OURS, XLA, *self.forms]

    def run(self, implementation: str, arrays: Sequence[jax.Array]) -> Sequence[Any]:
        """Returns the results and then the gradients, of "auto" or of the reference.

        Args:
            implementation: OURS or XLA.
            arrays: the inputs and cotangents.
        """
        name = "auto" if implementation == OURS else implementation
        run = self._gradients(
            self.function(name), self.num_gradients, len(self.cotangents)
        )
        return jax.tree.leaves(run(*arrays))

    def refusal(self, chip: chips.Chip, dtype: str) -> str | None:
        """Returns why no Pallas kernel runs on a chip, or None if one does."""
        if self.auto(chip, dtype) == OURS:
            return None
        return f"on {chip.name} every pass of {self.op} is left to XLA"

    def auto(self, chip: chips.Chip, dtype: str) -> str:
        """Returns OURS if "auto" chooses a Pallas kernel for any part, else XLA."""
        with context.target(chip.device_kind):
            found = equations.choices(
                lambda *arrays: self.run(OURS, arrays),
                *self.shapes(dtype),
                platform="tpu",
            )
        return OURS if any(x.implementation == OURS for x in found) else XLA

    def least(self, chip: chips.Chip, dtype: str) -> None:
        """Returns None: only single passes have rooflines."""

    def _with_gradients(self, form: Form) -> Form:
        cotangents = self.cotangents if form.cotangents is None else form.cotangents
        count = min(self.num_gradients, len(form.operands))
        function = self._gradients(form.function, count, len(cotangents))
        return dataclasses.replace(
            form, function=function, operands=(*form.operands, *cotangents)
        )

    @staticmethod
    def _gradients(
        function: Callable[..., Any], num_gradients: int, num_cotangents: int
    ) -> Callable[..., Any]:
        def gradients(*arguments: jax.Array) -> Any:
            last = len(arguments) - num_cotangents
            return runner.with_gradients(
                function, num_gradients, arguments[last:], *arguments[:last]
            )

        return gradients


def program(
    case: CostCase | TrainStepCase, implementation: str, dtype: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns the program of an implementation and its operands, as stored in memory.

    The program reshapes the operands and results between their stored and logical
    shapes. The reshapes cancel out, or become the layout copies that a layer would need
    as well.

    Args:
        case: the case.
        implementation: one of `case.implementations()`, or a name in `case.peers`.
        dtype: dtype of operands that don't have their own.

    Returns:
        The function, and the shapes and dtypes of its arguments.
    """
    form = {**case.forms, **case.peers}.get(implementation)
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
    run.__name__ = words  # Appears in the compiler's messages.
    return run, [_struct(x.stored or x.shape, x, dtype) for x in operands]


def kernel(
    function: Callable[..., Any], shapes: Sequence[jax.ShapeDtypeStruct], name: str
) -> tuple[Callable[..., Any], list[jax.ShapeDtypeStruct]]:
    """Returns a single Pallas call of a program, and its operands.

    Args:
        function: the program, which is traced for the current target.
        shapes: shapes and dtypes of its arguments.
        name: name of the call's instruction, with or without a numeric suffix.

    Returns:
        A function that makes only the call, and the shapes and dtypes of its arguments.

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
    raise KeyError(f"no Pallas call is named {name}")


def find(
    cases: Sequence[CostCase | TrainStepCase], key: Sequence[str]
) -> CostCase | TrainStepCase:
    """Returns the case with a key; raises KeyError if there is none."""
    for case in cases:
        if case.key == tuple(key):
            return case
    raise KeyError(f"no case is {' '.join(key)}")


def _struct(shape: tuple[int, ...], x: Operand, dtype: str) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(x.dtype or dtype))
