"""Tests the table of models against the runs that it is made from."""

import statistics

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report.tables import model_table


def test_a_model_has_the_mean_of_its_runs_and_their_costs(several):
    sources, tables = several
    assert len(tables["models"]) == 12
    (model,) = (m for m in tables["models"] if m["key"] == "glu-micro")
    own = [row for row in sources.rows if row["model"] == "glu-micro"]
    mean = statistics.fmean(row["validation_loss_nats"] for row in own)
    # Both orders are in every model, so their effects cancel in a mean.
    assert model["loss"] == pytest.approx(mean)
    assert model["lo"] < mean < model["hi"]
    assert model["training_flops"] == own[0]["training_flops"]
    assert model["parameters"] == own[0]["params_total"]
    assert model["multiply_adds"] == own[0]["papers_macs_forward_batch"]
    assert model["time"] == pytest.approx(own[0]["training_seconds"])
    assert (model["runs"], model["planned"], model["label"]) == (2, 2, "GLU")
    assert not any(model["alone"] for model in tables["models"])
    (nano,) = (m for m in tables["models"] if m["key"] == "mixer-nano")
    assert (nano["runs"], nano["planned"]) == (2, 3)
    assert model["score"] == pytest.approx(
        statistics.fmean(row["downstream_score"] for row in own)
    )


def test_the_frontier_is_what_nothing_cheaper_beats(several):
    models = several[1]["models"]
    for model in models:
        cheaper = [m for m in models if m["parameters"] <= model["parameters"]]
        best = min(m["loss"] for m in cheaper)
        assert model["front_parameters"] == (model["loss"] == best)
    lasts = {m["key"] for m in models if m["last"]}
    assert lasts == {"transformer-milli", "glu-milli", "mixer-milli"}


def test_models_of_several_conditions_are_told_apart(tmp_path):
    for name, steps in (("a", 600), ("b", 900)):
        record = synthetic_study.record(config__train_steps=steps)
        synthetic_study.write_run(tmp_path / name, record)
    sources = build.read(tmp_path, mixed=("train_steps",))
    models = model_table.make(sources)
    assert all(model["alone"] for model in models)
    keys = {model["key"] for model in models}
    assert keys == {"transformer-pico", "transformer-pico (2)"}
