r"""Reads the data of CL_Benchmark, which flattens the fields of a row into one text.

A record is {"sentence": "sentence 1: ...\nsentence 2: ...", "label": x}.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import pathlib
import re

from clinometer.data.tasks import readers
from clinometer.data.tasks.task import Row

PAIR = r"sentence 1: (?P<{}>.*)\nsentence 2: (?P<{}>.*)"


def read(
    path: pathlib.Path,
    form: str,
    labels: Mapping[str, str] = {},
) -> Iterator[Row]:
    """Yields the rows of a file, split into fields.

    Args:
        path: a file with a JSON list.
        form: regular expression for the text; its named groups are the fields.
        labels: CL_Benchmark's label -> the release's label.

    Raises:
        DataError: a text does not match, or the file is invalid.
    """
    pattern = re.compile(form, re.DOTALL)
    for row in readers.json_list(path):
        match = pattern.fullmatch(row.text("sentence"))
        if match is None:
            raise row.error(f"field 'sentence' does not match {form!r}")
        fields = {name: _unquote(value) for name, value in match.groupdict().items()}
        label = row.text("label")
        yield Row({**fields, "label": labels.get(label, label)}, row.origin)


def _unquote(text: str) -> str:
    """Removes CSV quoting, which remains in some of the texts."""
    inner = text[1:-1].replace('""', "")
    if (
        len(text) > 1
        and text[0] == text[-1] == '"'
        and '""' in text
        and '"' not in inner
    ):
        return text[1:-1].replace('""', '"')
    return text
