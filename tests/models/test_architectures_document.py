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


def test_sizes_of_vision_transformers(document):
    table = rows(document, "## Vision Transformers")
    sizes = models.IMAGE_ARCHITECTURES["vit"].sizes
    assert [row["size"] for row in table] == list(sizes)
    for row in table:
        model = models.build(f"vit-{row['size']}", num_classes=18291)
        config = model.config
        shape = config.num_layers, config.d_model, config.d_ff, config.num_heads
        printed = (row[symbol].replace(",", "") for symbol in ("L", "d", "f", "H"))
        assert shape == tuple(map(int, printed))
        found = model.count(1, models.ImageShape(224, 224), trace=False)
        assert row["parameters (C = 18,291)"] == f"{found.params_total:,}"
        printed = float(row["multiply-adds, 1e9"])
        assert found.macs_forward_batch / 1e9 == pytest.approx(printed, abs=5e-4)
