"""Rates between the swept sizes: ln(rate) is linear in ln(width), piece by piece."""

from collections.abc import Mapping
import itertools
import math

from clinometer.tools.study.tuning import grid

SWEPT = "swept"
INTERPOLATED = "interpolated"
EXTRAPOLATED = "extrapolated"


def rate(width: int, rates: Mapping[int, float]) -> tuple[float, str] | None:
    """Returns the rate of a width and how it was found, or None if it cannot be.

    Args:
        width: the model's width.
        rates: width -> tuned rate of the swept sizes.

    Returns:
        The rate, and `SWEPT`, `INTERPOLATED` or, outside the swept sizes,
        `EXTRAPOLATED`, which continues the nearest piece of the line. None if the width
        was not swept and only one was.
    """
    if width in rates:
        return rates[width], SWEPT
    widths = sorted(rates)
    pieces = list(itertools.pairwise(widths))
    if not pieces:
        return None
    inside = [piece for piece in pieces if piece[0] < width < piece[1]]
    low, high = inside[0] if inside else pieces[0 if width < widths[0] else -1]
    share = math.log(width / low) / math.log(high / low)
    log = (1 - share) * math.log(rates[low]) + share * math.log(rates[high])
    return grid.rounded(math.exp(log)), INTERPOLATED if inside else EXTRAPOLATED
