"""The error of files of results."""


class ResultsError(ValueError):
    """A file or frame of results cannot be used; names the file, line and column."""
