"""Compares the published rows with counts by the models and with published sums."""

import numpy as np
import pytest

from clinometer.models.counting import counts
from clinometer.tools.results import published


def test_computed_columns_are_those_of_the_models():
    found = published.rows()
    ours = found[found["architecture"] == "transformer"]
    assert len(ours) == 26
    for model, group in ours.groupby("model"):
        counted = counts.count(model, trace=False)
        assert set(group["params_total"]) == {counted.params_total}
        assert set(group["papers_macs_forward_batch"]) == {counted.macs_forward_batch}


def test_printed_and_computed_agree_but_for_the_misprints():
    table = published.of_table(4).set_index("run")
    ratio = table["papers_macs_forward_batch"] / table["printed_macs_forward_batch"]
    off = ratio[np.abs(ratio - 1) > 0.035]
    assert sorted(off.index) == ["Table 4: XL", "Table 4: XXL"]
    # Rounded, as the printed FLOPs are.
    assert off["Table 4: XL"] == pytest.approx(1.99, abs=0.01)
    params = table["params_total"] / table["printed_params"]
    assert np.all(np.abs(params - 1) < 0.02)


def test_averages_are_those_of_their_parts():
    table = published.of_table(4)
    parts = [table[f"score_{name}"] for name in ("glue", "superglue", "squad")]
    # The parts are rounded to 0.01, so a slip in one of them would show.
    np.testing.assert_allclose(np.mean(parts, axis=0), table["score_avg"], atol=0.031)
    table = published.of_table(6)
    tasks = [n for n in table if n.startswith("score_") and table[n].notna().all()]
    assert len(tasks) == 13
    mean = table[[n for n in tasks if n != "score_twelve"]].mean(axis=1)
    np.testing.assert_allclose(mean, [63.23, 63.47], atol=0.01)


def test_every_row_is_marked_and_has_its_source():
    found = published.rows()
    assert found["published"].all()
    assert set(found["source"]) == {
        f"Tay et al. 2021, Table {number}" for number in (1, 3, 4, 5, 6)
    }
    assert published.t5_sizes()["model"].tolist() == [
        f"transformer-{size}" for size in ("small", "base", "large", "xl")
    ]
    chips = published.of_table(4).set_index("run")["device_training"]
    assert chips["Table 4: XXL"] == chips["Table 4: XL 32L"] == 64
    assert (chips == 16).sum() == 12


def test_slopes_are_second_hand():
    found = {(s.architecture, s.pair): s.slope for s in published.slopes()}
    assert found["transformer", "F,U"] == 0.54 and found["albert", "F,D"] == -0.12
    assert all("second hand" in s.source for s in published.slopes())
