"""Exceptions for errors in a run's input or environment, not in the code."""


class RunError(ValueError):
    """A run cannot start or continue; the message names the field or file."""


class ConfigError(RunError):
    """An option or a field of the configuration has a value that is not accepted."""


class RunHeldError(RunError):
    """Another process is training this run."""


class DivergedError(RunError):
    """The loss or the gradient became NaN or infinite; the name is in the record."""
