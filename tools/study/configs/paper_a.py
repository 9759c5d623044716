"""The experiments of Tay et al. 2022: twelve architectures at the sizes of T5.

`paper_a.py` declares them as published, `paper_a.py:laptop` a version with the same
parts for two cores. What could not be recovered of the paper is a choice: which sizes
of most architectures there were, the sizes of each (those of T5), and the values of
depth, width and recurrences.
"""

from ml_collections import config_dict

from clinometer import models
from clinometer.tools.study.configs import papers

VANILLA = "transformer"
SIZES = ("tiny", "small", "base", "large", "xl")
# The sizes of a figure's legend: vanilla has one more, and these have fewer.
OWN = {
    VANILLA: ("tiny", "mini", "small", "base", "large", "xl"),
    "albert": ("tiny", "small", "base", "large"),
    "dconv": ("tiny", "small", "base", "large"),
    # With vanilla's shape xl would be too slow.
    "universal": ("tiny", "small", "base", "large"),
}
# Figures 4 and 5: of these, base is scaled by its depth and by the width of its
# feed-forward layers.
SCALED = (VANILLA, "mos", "evolved", "lconv")
DEPTHS = ("NL6-BA", "NL18-BA", "NL24-BA", "NL36-BA")
WIDTHS = ("FF2K-BA", "FF6K-BA", "FF9K-BA", "FF12K-BA")
# Universal's depth is its number of recurrences. Its feed-forward layer is widened up
# to 32K instead.
RECURRENCES = ("NL6-BA", "NL24-BA", "NL36-BA")
UNIVERSAL_WIDTHS = ("FF8K-BA", "FF16K-BA", "FF32K-BA")
LARGEST_SWITCH = "switch-xl"
FLAG = (
    "the largest Switch; the authors call the scaling of theirs suboptimal, and its "
    "point not representative"
)

_LAPTOP_SIZES = ("pico", "nano")
_LAPTOP_SCALED = ("NL4-PI", "FF512-PI")
_LAPTOP_UNIVERSAL = ("NL4-PI", "FF1K-PI")
# Evolved and MoS compile longest, so that depth and width are of these alone.
_LAPTOP_ARCHITECTURES = (VANILLA, "lconv")


def get_config(scale: str = papers.PUBLISHED) -> config_dict.ConfigDict:
    """Returns the configuration of the study.

    Args:
        scale: one of `papers.SCALES`.
    """
    config = papers.get(scale)
    config.architectures = tuple(models.ARCHITECTURES)
    own = {}
    if scale == papers.PUBLISHED:
        config.sizes = SIZES
        own |= {name: {"sizes": sizes} for name, sizes in OWN.items()}
        more = dict.fromkeys(SCALED, (*DEPTHS, *WIDTHS))
        more["universal"] = (*RECURRENCES, *UNIVERSAL_WIDTHS)
        largest = LARGEST_SWITCH
    else:
        config.sizes = _LAPTOP_SIZES
        config.design.orders = (1,)
        own[VANILLA] = {"orders": (2,)}  # The error of all is that between its runs.
        more = dict.fromkeys(_LAPTOP_ARCHITECTURES, _LAPTOP_SCALED)
        more["universal"] = _LAPTOP_UNIVERSAL
        largest = "switch-nano"
    for name, sizes in more.items():
        mine = own.setdefault(name, {})
        mine["sizes"] = (*mine.get("sizes", config.sizes), *sizes)
    with config.unlocked():
        config.design.by_architecture.update(own)
        config.notes[largest] = FLAG
    return config
