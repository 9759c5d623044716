"""Partition rules: which mesh axis divides which axis of a parameter.

Parameters have named axes (`models/layers/parameters.py`). `AXIS_RULES` maps each name
to a mesh axis. Where this would give one mesh axis to two axes of a parameter,
`LEAF_RULES` has a rule for the whole parameter. So each parameter is matched by exactly
one rule for each axis, or by one for all of them; anything else is an error.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from jax.sharding import PartitionSpec

from clinometer.models.layers import parameters
from clinometer.train import errors
from clinometer.train.sharding import mesh as mesh_lib

Axes = tuple[str, ...]  # Names of a parameter's axes.
Places = tuple[str | None, ...]  # The mesh axis that divides each of them, or None.

AXIS_RULES: Mapping[str, str | None] = {
    "embed": "fsdp",
    "joined_embed": None,
    "embed_part": "fsdp",
    "factor": "fsdp",
    "vocab": "model",
    "mlp": "model",
    "expert": "expert",
    "heads": "model",
    "joined_heads": "model",
    "joined_kv_heads": "model",
    "relative_buckets": None,
    "length": None,
    "mixing": "model",
    "position": None,
    "recurrence": None,
    "channels": "model",
    "hidden_channels": "model",
    "taps": None,
    "joined_taps": None,
    "softmaxes": None,
    "context": None,
    "pixels": None,
    "classes": None,
    "one": None,
    parameters.LAYERS: None,
}
LEAF_RULES: Mapping[Axes, Places] = {
    ("factor", "embed"): (None, "fsdp"),
    ("channels", "hidden_channels"): ("model", None),
}

FORM = "AXIS=MESH_AXIS or AXIS*AXIS=MESH_AXIS*MESH_AXIS, separated by commas"


@dataclasses.dataclass(frozen=True)
class Rules:
    """A table of partition rules.

    Attributes:
        axes: mesh axis by axis name, None for none.
        leaves: mesh axes by the axis names of a whole parameter; these come first.
    """

    axes: Mapping[str, str | None]
    leaves: Mapping[Axes, Places]

    def rule_of(self, axes: Axes) -> str:
        """Returns a parameter's rule as text, such as "embed*mlp=fsdp*model".

        Args:
            axes: names of the parameter's axes; that of stacked layers is left out.
        """
        axes = axes[axes[:1] == (parameters.LAYERS,) :]
        places = (place or "none" for place in self.places(axes))
        return f"{'*'.join(axes)}={'*'.join(places)}"

    def places(self, axes: Axes) -> Places:
        """Returns the mesh axis that divides each axis of a parameter.

        Args:
            axes: names of the parameter's axes.

        Raises:
            ConfigError: no rule matches an axis, or two axes have the same mesh axis.
        """
        if axes[:1] == (parameters.LAYERS,):
            return (self.axes[parameters.LAYERS], *self.places(axes[1:]))
        if axes in self.leaves:
            return self.leaves[axes]
        unmatched = [axis for axis in axes if axis not in self.axes]
        if unmatched:
            raise errors.ConfigError(
                f"config.mesh.rules: no rule matches the axis {unmatched[0]!r} of a "
                f"parameter {'*'.join(axes)}; add one: {FORM}"
            )
        found = tuple(self.axes[axis] for axis in axes)
        used = [place for place in found if place is not None]
        twice = next((place for place in used if used.count(place) > 1), None)
        if twice:
            both = [axis for axis in axes if self.axes[axis] == twice]
            raise errors.ConfigError(
                f"config.mesh.rules: two rules divide a parameter {'*'.join(axes)} by "
                f"the mesh axis {twice!r}: those of {' and '.join(both)}; add one for "
                f"the whole parameter: {FORM}"
            )
        return found

    def spec(self, axes: Axes) -> PartitionSpec:
        """Returns `places` as a partition spec."""
        return PartitionSpec(*self.places(axes))


DEFAULT = Rules(AXIS_RULES, LEAF_RULES)


def with_overrides(text: str, known: Sequence[str] = tuple(parameters.AXES)) -> Rules:
    """Returns the default rules with some replaced.

    Args:
        text: `config.mesh.rules`, such as "vocab=none,factor*embed=fsdp*none".
        known: the names of axes that may be given.

    Raises:
        ConfigError: the text is malformed, names an unknown axis or mesh axis, or has
            two rules for the same axes.
    """
    axes, leaves = dict(AXIS_RULES), dict(LEAF_RULES)
    seen = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        left, equals, right = part.partition("=")
        names = tuple(name.strip() for name in left.split("*"))
        places = tuple(
            None if place.strip() == "none" else place.strip()
            for place in right.split("*")
        )
        if not equals or len(names) != len(places):
            raise errors.ConfigError(
                f"config.mesh.rules: {part!r} is no rule; accepted: {FORM}"
            )
        for name in names:
            if name not in known:
                raise errors.ConfigError(
                    f"config.mesh.rules: {part!r}: unknown axis {name!r}; accepted: "
                    f"{', '.join(known)}"
                )
        for place in places:
            if place not in (None, *mesh_lib.AXES):
                raise errors.ConfigError(
                    f"config.mesh.rules: {part!r}: unknown mesh axis {place!r}; "
                    f"accepted: {', '.join(mesh_lib.AXES)}, none"
                )
        if names in seen:
            raise errors.ConfigError(
                f"config.mesh.rules: {part!r}: two rules match {'*'.join(names)}"
            )
        used = [place for place in places if place is not None]
        if len(set(used)) < len(used):
            raise errors.ConfigError(
                f"config.mesh.rules: {part!r} divides two axes by the same mesh axis"
            )
        seen.add(names)
        if len(names) == 1:
            axes[names[0]] = places[0]
        else:
            leaves[names] = places
    return Rules(axes, leaves)
