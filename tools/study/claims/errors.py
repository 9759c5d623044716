"""The error of a file of claims."""


class ClaimsError(ValueError):
    """A file of claims cannot be used, or is not that of the runs; one line."""
