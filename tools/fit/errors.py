"""The error of fits."""


class FitError(ValueError):
    """The points cannot be fitted; the message says why and what is needed."""
