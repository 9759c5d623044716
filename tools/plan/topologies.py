"""Resolves the names of chips and topologies to compile for."""

import re

from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.tpu import chips

# v2 and v3 run no Pallas kernels; programs are compiled for them only if requested.
DEFAULT = ("v4", "v5e", "v5p", "v6e", "7x")
_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*){1,2}")


def resolve(name: str) -> tuple[chips.Chip, str]:
    """Returns the chip and the compiler's name of a topology.

    Args:
        name: a chip, e.g. "v5e", for its smallest topology; or a topology, e.g.
            "v5e:4x4".

    Raises:
        OptionError: there is no such chip or topology; the message lists all.
    """
    wanted, colon, shape = name.partition(":")
    for chip in chips.CHIPS.values():
        prefix = chip.topology.partition(":")[0]
        if wanted not in (chip.name, prefix):
            continue
        if not colon:
            return chip, chip.topology
        if _SHAPE.fullmatch(shape):
            return chip, f"{prefix}:{shape}"
    raise OptionError(
        f"--topology: got {name!r}; known are {', '.join(chips.CHIPS)}, or one of them "
        "with a shape, such as v5e:4x4 or v5p:2x2x1"
    )
