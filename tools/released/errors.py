"""The error for released files that cannot be converted."""

from collections.abc import Sequence

from clinometer.train import errors


class ReleaseError(errors.ConfigError):
    """Files are damaged, incomplete or of a model that does not fit."""


def of_problems(what: str, problems: Sequence[str]) -> ReleaseError:
    """Returns the error that lists all problems, one per line.

    Args:
        what: the file or folder, and what is wrong as a whole.
        problems: each of the problems, with what was expected.
    """
    if len(problems) == 1:
        return ReleaseError(f"{what}: {problems[0]}")
    return ReleaseError("\n  ".join([f"{what}: {len(problems)} problems:", *problems]))
