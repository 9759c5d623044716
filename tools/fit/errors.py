"""The one error that a fit raises for points it cannot honestly fit."""


class FitError(ValueError):
    """The points cannot be fitted; the message says which, why and what is needed."""
