"""Which runs may share a fit: only those that read the same text in the same tokens."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.fit.errors import FitError

# The embedded corpus is Python's own library, so another Python is another corpus;
# a loss per token means something else under another vocabulary.
_FIELDS = {
    "corpus_hash": "corpus",
    "corpus_python_version": "Python version of the corpus",
    "vocabulary_sha256": "vocabulary",
}


def check_comparable(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises FitError, naming the runs, if rows differ in corpus or vocabulary.

    Args:
      rows: one mapping per run with the keys `run`, `corpus_hash`,
        `corpus_python_version` and `vocabulary_sha256` (a missing one counts as None).
    """
    for field, words in _FIELDS.items():
        groups: dict[Any, list[str]] = {}
        for row in rows:
            groups.setdefault(row.get(field), []).append(str(row["run"]))
        if len(groups) > 1:
            listed = "; ".join(
                f"{value}: {', '.join(runs)}" for value, runs in groups.items()
            )
            raise FitError(
                f"these runs differ in {words} ({field}), so their losses cannot share "
                f"a fit. {listed}. Report them from separate folders."
            )
