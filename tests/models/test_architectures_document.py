"""The tables in ARCHITECTURES.md agree with the code."""

import re

import pytest

from clinometer import models
from clinometer.models import counts


@pytest.fixture
def document(repo_root):
    return (repo_root / "models" / "ARCHITECTURES.md").read_text(encoding="utf-8")


def rows(document, heading):
    """Returns the rows of the first table below a heading, as {column: cell}."""
    section = document.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    columns, *body = [line.split(" | ") for line in lines]
    return [dict(zip(columns, cells, strict=True)) for cells in body]


def test_parameters_and_multiply_adds(document):
    table = rows(document, "### Costs: parameters and multiply-adds by architecture")
    assert [row["architecture"] for row in table] == list(models.ARCHITECTURES)
    for row in table:
        name = row.pop("architecture")
        base = counts.count(f"{name}-base", trace=False)
        assert row.pop("macs, base") == f"{base.macs_forward_batch / 1e12:.2f}"
        for size, printed in row.items():
            found = counts.count(f"{name}-{size}", trace=False)
            assert printed == f"{found.params_total:,}", (name, size)


def test_sizes(document):
    for row in rows(document, "## Sizes"):
        name = row["size"].partition(",")[0]
        size = models.SIZES[name]
        shape = size.num_layers, size.d_model, size.d_ff, size.num_heads, size.d_kv
        assert shape == tuple(int(row[symbol]) for symbol in ("L", "d", "f", "H", "k"))
        assert [*size.aliases] == row["size"].split(", ")[1:]
        assert row["code"] == size.code
        found = counts.count(f"transformer-{name}", trace=False)
        assert row["parameters (vanilla)"] == f"{found.params_total:,}"
