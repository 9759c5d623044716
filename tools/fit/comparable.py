"""Checks that runs were trained on the same text with the same vocabulary."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.fit.errors import FitError

# The embedded corpus contains Python's standard library, so it depends on the Python
# version. Losses per token under different vocabularies cannot be compared.
_FIELDS = {
    "corpus_hash": "corpus",
    "corpus_python_version": "Python version of the corpus",
    "vocabulary_sha256": "vocabulary",
}


def check_comparable(rows: Sequence[Mapping[str, Any]]) -> None:
    """Checks that all runs have the same corpus and vocabulary.

    Args:
        rows: one mapping per run with the keys `run`, `corpus_hash`,
            `corpus_python_version` and `vocabulary_sha256`. A missing key counts as
            None.

    Raises:
        FitError: the runs differ; the message names them.
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
                f"the runs differ in {words} ({field}), so their losses cannot be "
                f"fitted together. {listed}. Put them in separate folders and report "
                "each folder."
            )
