r"""Rows that another project has flattened into one text.

CL_Benchmark's records are {"sentence": "sentence 1: ...\nsentence 2: ...", "label": x}.
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
    """Yields the rows with their fields apart.

    Args:
        path: a JSON list.
        form: regular expression of the whole text; its named groups are the fields.
        labels: its names of labels -> the release's.

    Raises:
        DataError: a text is not of this form.
    """
    pattern = re.compile(form, re.DOTALL)
    for row in readers.json_list(path):
        match = pattern.fullmatch(row.text("sentence"))
        if match is None:
            raise row.error(f"its sentence is not of the form {form!r}")
        fields = {name: _unquote(value) for name, value in match.groupdict().items()}
        label = row.text("label")
        yield Row({**fields, "label": labels.get(label, label)}, row.origin)


def _unquote(text: str) -> str:
    """Undoes the quoting of CSV, which some of these texts have kept."""
    inner = text[1:-1].replace('""', "")
    if (
        len(text) > 1
        and text[0] == text[-1] == '"'
        and '""' in text
        and '"' not in inner
    ):
        return text[1:-1].replace('""', '"')
    return text
