"""The error that every part of `data` raises for bad input."""


class DataError(ValueError):
    """Bad input: the message says which, what was wrong and what is accepted."""
