"""What goes wrong in a run through no fault of the code."""


class RunError(ValueError):
    """A run that cannot start or go on; the message says which field or file and why."""


class RunHeldError(RunError):
    """Another process trains this run."""
