"""The mesh axes over which a program is sharded, as stated by `shard_over`."""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import math

import jax

AxisNames = tuple[str, ...]

BATCH, HEADS, EXPERTS = "batch", "heads", "experts"
KINDS = (BATCH, HEADS, EXPERTS)


@dataclasses.dataclass(frozen=True)
class Sharding:
    """A mesh, and its axes that shard each kind of dimension.

    Attributes:
        mesh: the mesh, whose axes are of type Auto.
        free: its axes that are not manual, inside the caller's own `jax.shard_map`.
        batch: axes that shard the batch (in Switch operations, the groups).
        heads: axes that shard the heads.
        experts: axes that shard the experts.
    """

    mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh
    free: frozenset[str]
    batch: AxisNames
    heads: AxisNames
    experts: AxisNames

    def names(self, kind: str, beside: Collection[str] = ()) -> AxisNames:
        """Returns the mesh axes that shard a kind of dimension.

        No axis shards two dimensions of an array: the axes of the experts shard neither
        the batch nor the heads of an array that has experts.

        Args:
            kind: one of `KINDS`.
            beside: the kinds of all dimensions of the array.
        """
        names = getattr(self, kind)
        if kind != EXPERTS and EXPERTS in beside:
            return tuple(x for x in names if x not in self.experts)
        return names

    def parts(self, names: AxisNames) -> int:
        """Returns the number of parts into which mesh axes divide a dimension."""
        return math.prod(self.mesh.shape[name] for name in names)


# Part of jit's cache key.
_stated = jax.make_user_context(default_value=None)


@contextlib.contextmanager
def shard_over(
    mesh: jax.sharding.Mesh,
    *,
    batch: str | Sequence[str] = (),
    heads: str | Sequence[str] = (),
    experts: str | Sequence[str] = (),
) -> Iterator[None]:
    """Shards the kernel calls traced inside over axes of a mesh.

    Each device runs its shard of the batch, of the heads (for a convolution, the
    channels of those heads) and, in the experts' products, of the experts. Operations
    without heads or experts are sharded by batch only. Gradients of operands that all
    examples share are summed over the devices. Along the other axes of the mesh all
    devices compute the same, because the compiler cannot partition a kernel. Axes that
    are already manual, inside the caller's own `jax.shard_map`, are left alone.

    Arrays that are passed to `constrain` are sharded over the same axes.

    Args:
        mesh: a mesh whose axes are of type Auto.
        batch: axes that shard the batch (in Switch operations, the groups).
        heads: axes that shard the heads.
        experts: axes that shard the experts; may be among those of the heads or of the
            batch. In the experts' products, the remaining axes of the batch shard the
            groups, so that the compiler moves rows between devices by all-to-all.

    Raises:
        ValueError: if the mesh has no such axis, or an axis is repeated; inside, if a
            batch or a number of heads or experts does not divide evenly.
    """
    names = [(x,) if isinstance(x, str) else tuple(x) for x in (batch, heads, experts)]
    for named in ([*names[0], *names[1]], names[2]):
        if len(set(named)) < len(named) or not set(named) <= set(mesh.axis_names):
            raise ValueError(
                f"shard_over: batch={batch!r}, heads={heads!r} and experts={experts!r} "
                "must be axes of the mesh, each named once (those of the experts may "
                "be among the others); the mesh has "
                f"{', '.join(map(repr, mesh.axis_names))}"
            )
    with _stated(Sharding(mesh, frozenset(mesh.axis_names), *names)):
        yield


def here() -> Sharding | None:
    """Returns the sharding of the code that is being traced.

    Axes with a single part, and those that are manual, shard nothing in it.

    Returns:
        The sharding; None outside of `shard_over`, and where no axis can shard.
    """
    stated = _stated.value
    if stated is None:
        return None
    context = jax.sharding.get_abstract_mesh()
    free = stated.free.difference(context.manual_axes)
    dividing = {name for name in free if stated.mesh.shape[name] > 1}
    if not dividing:
        return None
    names = (
        tuple(name for name in getattr(stated, kind) if name in dividing)
        for kind in KINDS
    )
    return Sharding(stated.mesh if context.empty else context, free, *names)
