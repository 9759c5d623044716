"""Tests the tables of downstream scores."""

import statistics

import pytest

from clinometer.tools.report.tables import score_table


def test_scores_stand_against_the_loss_of_their_model(several):
    sources, tables = several
    (row,) = (r for r in tables["scores"] if r["key"] == "mixer-milli")
    own = [s.score for s in sources.scores if s.model == "mixer-milli"]
    (model,) = (m for m in tables["models"] if m["key"] == "mixer-milli")
    assert row["score"] == pytest.approx(statistics.fmean(own))
    assert row["loss"] == model["loss"] and row["name"] == "rte"
    assert row["majority"] == 50.0


def test_only_runs_with_several_checkpoints_stand_by_step(several):
    rows = several[1]["by_step"]
    assert {row["arch"] for row in rows} == {"glu"}
    own = [row for row in rows if row["id"] == "glu-pico-o1-s1"]
    assert [row["step"] for row in own] == [300, 600]
    assert own[0]["score"] == 50.0


def test_names_at_the_ends_of_lines_do_not_overlap(several):
    sources, _ = several
    rows = score_table.by_step(sources)
    ends = sorted((row["end_at"], row["end"]) for row in rows if row["end"])
    assert {end for _, end in ends} == {"pico", "nano", "micro", "milli"}
    scores = [row["score"] for row in rows]
    apart = min(b - a for (a, _), (b, _) in zip(ends, ends[1:]))
    assert apart >= 0.07 * (max(scores) - min(scores))
    # In the order of the scores.
    last = {row["size"]: row["score"] for row in rows if row["end"]}
    assert [end for _, end in ends] == sorted(last, key=last.get)


def test_ranks_are_of_the_largest_size_that_all_have(several):
    rows = several[1]["ranks"]
    assert {row["size"] for row in rows} == {"milli"}
    up = [row["arch"] for row in rows if row["side"] == "up"]
    assert up[0] == "glu" and up[-1] == "mixer"
    assert [row["rank"] for row in rows if row["side"] == "down"] == [1, 2, 3]
    assert score_table.ranks([]) == []
