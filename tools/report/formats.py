"""Formats numbers for people to read."""

import math

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(value: float | None, digits: int = 3) -> str:
    """Formats with an SI prefix, such as "1.23M", and `digits` significant digits."""
    if value is None:
        return "–"
    for scale, prefix in _PREFIXES:
        # The limit is half a unit lower, so that 999,999 is 1.00M and not 1000k.
        if abs(value) >= scale * (1 - 0.5 * 10**-digits):
            return significant(value / scale, digits) + prefix
    return significant(value, digits)


def significant(value: float | None, digits: int = 3) -> str:
    """Formats with `digits` significant digits, without exponent, such as "0.0123"."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def fixed(value: float | None, decimals: int) -> str:
    """Formats with a fixed number of decimals; None is a dash."""
    return "–" if value is None else f"{value:.{decimals}f}"


def signed(value: float, decimals: int = 3) -> str:
    """Formats with a sign and a typographic minus: "+0.341", "−0.085"."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Formats a duration, such as "8.4 s", "1 min 05 s" or "2 h 03 min"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """Formats as "53.3 (50.4, 56.2)", or only the value if its interval is unknown."""
    if value is None or interval is None:
        return fixed(value, 1)
    low, high = interval
    return f"{value:.1f} ({low:.1f}, {high:.1f})"


def interval(low: float | None, high: float | None, decimals: int = 3) -> str:
    """Formats as "+0.120 to +0.164", or a dash if it is unknown."""
    if low is None or high is None:
        return "–"
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def p_value(value: float | None) -> str:
    """Formats with three decimals, or as "<0.001"; None is a dash."""
    if value is not None and value < 0.001:
        return "<0.001"
    return fixed(value, 3)
