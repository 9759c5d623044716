"""Tests Table 1."""

from clinometer.tools.report.grids import models


def test_table_1_has_sizes_costs_speeds_losses_and_scores(several):
    sources, tables = several
    table = models.make(tables["models"], sources)
    titles = [head.title for head in table.heads]
    assert titles == [
        *("Architecture", "Size", "Runs", "Params", "FLOPs", "Speed"),
        *("−ln perplexity", "RTE"),
    ]
    rows = {(row[0].shown, row[1].shown): row for row in table.body}
    (model,) = (m for m in tables["models"] if m["key"] == "glu-micro")
    row = rows["GLU", "micro"]
    assert row[6].shown == f"−{model['loss']:.3f}" and row[6].value == -model["loss"]
    assert row[6].error == f"±{(model['hi'] - model['lo']) / 2:.3f}"
    # The lowest loss of a size is bold, and no other.
    assert row[6].strong and not rows["Mixer", "micro"][6].strong
    assert row[7].value == model["score"]
    assert (rows["Mixer", "nano"][2].shown, rows["Mixer", "nano"][2].error) == (
        "2",
        "/3",
    )
    assert rows["Mixer", "nano"][2].tag and not row[2].tag
