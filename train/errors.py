"""What goes wrong in a run through no fault of the code."""


class RunError(ValueError):
    """A run that cannot start or go on; the message names the field or file."""


class ConfigError(RunError):
    """An option or a field of the configuration has a value that is not accepted."""


class RunHeldError(RunError):
    """Another process trains this run."""
