"""The mesh of devices that a run is divided over, from `config.mesh`.

The axes are `data`, `fsdp`, `expert` and `model`. The batch is divided over the first
three, parameters over the last three, as `rules.py` says. The mesh is passed explicitly
everywhere: a global mesh would break Orbax.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import math
from typing import Any

import jax

from clinometer import kernels
from clinometer import models
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors

AXES = ("data", "fsdp", "expert", "model")
BATCH_AXES = ("data", "fsdp", "expert")

# Model parallelism of Tay et al. 2021 and 2022 (Section 3.2 of the latter) by size.
PUBLISHED_MODEL_PARALLELISM = {"large": 2, "xl": 8, "xxl": 32}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Number of devices along each axis of the mesh.

    Attributes:
        data: copies of the parameters that each take a part of the batch.
        fsdp: parts of the parameters' `embed` axes; the batch is divided as well.
        expert: parts of the experts; the batch is divided as well.
        model: parts of heads, feed-forward layers and vocabulary.
    """

    data: int = 1
    fsdp: int = 1
    expert: int = 1
    model: int = 1

    @property
    def devices(self) -> int:
        """Number of devices of the mesh."""
        return math.prod(dataclasses.astuple(self))

    @property
    def batch_parts(self) -> int:
        """Number of parts that the batch is divided into."""
        return math.prod(getattr(self, axis) for axis in BATCH_AXES)

    def __str__(self) -> str:
        return " x ".join(f"{axis} {getattr(self, axis)}" for axis in AXES)


def sizes(
    config: Mapping[str, Any],
    name: str,
    num_devices: int,
    greatest: Mapping[str, int],
) -> Sizes:
    """Returns the sizes of the mesh's axes.

    Args:
        config: `config.mesh`; `data` is None for all devices that the other axes leave,
            `model` is None for the published model parallelism of the model's size, or
            its greatest divisor that divides the devices and the model.
        name: name of the model.
        num_devices: number of devices, over all processes.
        greatest: for each axis, the greatest number of parts that it can divide the
            model into; 0 for any number.

    Raises:
        ConfigError: the axes do not multiply to the number of devices.
    """
    given = {axis: config[axis] for axis in AXES}
    if given["model"] is None:
        published = published_model_parallelism(name)
        given["model"] = math.gcd(published, num_devices, greatest["model"])
    rest = math.prod(given[axis] for axis in AXES if axis != "data")
    if given["data"] is None:
        given["data"] = max(1, num_devices // rest)
    found = Sizes(**given)
    if found.devices != num_devices:
        raise errors.ConfigError(
            f"config.mesh: {found} are {found.devices} devices, but there are "
            f"{num_devices}; the axes must multiply to that number (config.mesh.data="
            "none takes what the others leave)"
        )
    return found


def parsed(text: str) -> dict[str, int]:
    """Parses the option `--mesh`.

    Args:
        text: sizes of axes, such as "fsdp=2,model=4".

    Raises:
        OptionError: an axis is unknown, given twice or no whole number from 1.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        axis, equals, size = part.partition("=")
        axis = axis.strip()
        if not equals or axis not in AXES or axis in found:
            raise OptionError(
                f"got {ranges.shown(part)}; accepted: AXIS=N, separated by commas, "
                f"each once, where AXIS is one of {', '.join(AXES)}"
            )
        found[axis] = ranges.Whole(1)(size)
    return found


def published_model_parallelism(name: str) -> int:
    """Returns the model parallelism with which a model's size was published, or 1.

    Args:
        name: name of the model.
    """
    try:
        size = models.size_of(name)
    except models.ModelNameError:  # Of a model that is not built by name.
        return 1
    return PUBLISHED_MODEL_PARALLELISM.get(size, 1)


def make(
    sizes: Sizes, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """Builds the mesh.

    Args:
        sizes: numbers of devices along the axes.
        devices: the devices; None for all of JAX. JAX orders them for their
            interconnect.
    """
    return jax.make_mesh(
        dataclasses.astuple(sizes),
        AXES,
        axis_types=(jax.sharding.AxisType.Auto,) * len(AXES),
        devices=devices,
    )


def shard_over(mesh: jax.sharding.Mesh) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which the functions of a model are traced for a mesh."""
    return kernels.shard_over(mesh, batch=BATCH_AXES, heads="model", experts="expert")
