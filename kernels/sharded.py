"""Runs kernel calls under `jax.shard_map`.

XLA cannot partition a kernel: over a mesh it would gather the operands and run the
whole kernel on every device. So each kernel call is sharded here, one pass at a time
and inside the custom VJP, so that nothing is differentiated through `shard_map`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax

from clinometer.kernels import shard_context
from clinometer.kernels.signature import Signature

# What the letter of a signature's divisible axis stands for, and whose axes shard it.
_KINDS = {
    "h": ("heads", shard_context.HEADS),
    "e": ("experts", shard_context.EXPERTS),
    "m": ("a hidden width", shard_context.HEADS),
}


def divided(
    op: str,
    function: Callable[..., tuple[jax.Array, ...]],
    signature: Signature,
    operands: Sequence[jax.Array],
    settings: Mapping[str, Any],
) -> Callable[..., tuple[jax.Array, ...]]:
    """Returns one pass of an operation, sharded as `shard_over` specifies.

    The leading axis of an array is the batch or 1. Operands with a leading axis of 1
    are shared by all examples; such results are summed over the shards of the batch.

    Args:
        op: the name of the operation in error messages.
        function: takes operands and returns results. Returned unchanged outside of
            `shard_over`.
        signature: the signature of the pass.
        operands: arrays of the whole batch, in the signature's order.
        settings: the settings of the pass, by name.

    Raises:
        ValueError: if a batch or a number of heads or experts does not divide evenly.
    """
    sharding = shard_context.here()
    if sharding is None:
        return function
    kinds = {axis: _KINDS[axis][1] for axis in signature.divisible}
    names_of = {x: sharding.names(kind, kinds.values()) for x, kind in kinds.items()}
    batch_names = sharding.names(shard_context.BATCH, kinds.values())
    batch = max(x.shape[0] for x in operands)

    def check_divides(what: str, size: int, names: shard_context.AxisNames) -> None:
        parts = sharding.parts(names)
        if size % parts:
            raise ValueError(
                f"{op}: {what} of {size} cannot be divided over the {parts} parts of "
                f"the mesh axes {', '.join(names)} given to `shard_over`"
            )

    check_divides("a batch", batch, batch_names)

    def specs(
        arrays: Sequence[Any], places: Sequence[Mapping[str, int]]
    ) -> tuple[Any, ...]:
        made = []
        for x, places_of_x in zip(arrays, places, strict=True):
            names: list[shard_context.AxisNames | None] = [None] * x.ndim
            if batch_names and x.shape[0] == batch:
                names[0] = batch_names
            for axis, place in places_of_x.items():
                if names_of[axis] and x.shape[place]:
                    check_divides(_KINDS[axis][0], x.shape[place], names_of[axis])
                    names[place] = names_of[axis]
            made.append(jax.sharding.PartitionSpec(*names))
        return tuple(made)

    results = signature.result_shapes(signature.named(operands), settings)
    result_places = signature.result_places()
    result_specs = specs(results, result_places)

    def summed(spec: Any, places: Mapping[str, int]) -> shard_context.AxisNames:
        """Returns the axes over which a result is summed."""
        of_batch = () if spec[0] else batch_names
        return of_batch + sum(
            (names for axis, names in names_of.items() if axis not in places), ()
        )

    def local(*parts: jax.Array) -> tuple[jax.Array, ...]:
        made = zip(function(*parts), result_specs, result_places, strict=True)
        return tuple(
            jax.lax.psum(x, names) if (names := summed(spec, places)) else x
            for x, spec, places in made
        )

    shard_map = jax.shard_map(
        local,
        mesh=sharding.mesh,
        in_specs=specs(operands, signature.operand_places()),
        out_specs=result_specs,
        # All of them: compilers refuse kernels under their own axes.
        axis_names=sharding.free,
        check_vma=False,  # Stacked layers need it off with Auto axes.
    )
    # Under jit, since eager shard_map refuses axes that are left to the compiler.
    return jax.jit(shard_map)
