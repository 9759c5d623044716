"""Compares the runs of the first study with numbers counted by hand."""

import collections
import dataclasses

import pytest

from clinometer import models
from clinometer.tests.tools.study.tuning import example_table
from clinometer.tools.study import main
from clinometer.tools.study import shapes
from clinometer.tools.study import study_config
from clinometer.tools.study.configs import first_study
from clinometer.tools.study.configs import first_study_d256
from clinometer.tools.study.configs import first_study_fixed_rate
from clinometer.tools.study.configs import first_study_pilot
from clinometer.tools.study.configs import first_study_second_text
from clinometer.tools.study.configs import first_study_speed
from clinometer.tools.study.tuning import table
from clinometer.train.host import speed

_PARTS = (first_study_d256, first_study_fixed_rate, first_study_second_text)


def _runs(module):
    return study_config.read(module.get_config()).runs


def _counts(runs, key):
    return dict(collections.Counter(map(key, runs)))


def _architecture(run):
    return run.model.partition("-")[0]


def _width(run):
    return shapes.of(run.model).width


def test_the_runs_of_the_study():
    runs = _runs(first_study)
    counts = _counts(runs, _architecture)
    assert set(counts) == set(models.ARCHITECTURES) and len(counts) == 12
    assert (counts.pop("transformer"), counts.pop("mos")) == (36, 10)
    assert set(counts.values()) == {12} and len(runs) == 36 + 10 + 10 * 12
    for architecture, expected in (
        ("transformer", {16: 18, 32: 6, 64: 3, 128: 9}),
        ("mos", {16: 4, 32: 1, 64: 4, 128: 1}),
        ("glu", {16: 6, 32: 2, 64: 1, 128: 3}),
    ):
        mine = [run for run in runs if _architecture(run) == architecture]
        assert _counts(mine, _width) == expected
    assert {run.role for run in runs} == {"final"}


def test_the_passes_of_the_study():
    cells = collections.defaultdict(set)
    for run in _runs(first_study):
        assert run.pass_number == run.order
        if _architecture(run) != "mos":
            cells[run.pass_number].add(_width(run))
    assert cells == {
        1: {16, 32, 64, 128},
        2: {16, 32, 128},
        3: {16, 128},
        **dict.fromkeys((4, 5, 6), {16}),
    }


def test_the_protocol_of_the_study():
    study = study_config.read(first_study.get_config())
    protocol = study.protocol
    assert (protocol.train_steps, protocol.batch_size) == (3000, 4)
    assert (protocol.encoder_length, protocol.dtype) == (128, "float32")
    assert protocol.downstream.mixture == "cloze"
    assert study.learning_rate is None and not study.extrapolate
    for model in {run.model for run in study.runs}:
        assert shapes.of(model).layers == (2, 2)


def test_the_pilot_shares_no_order_and_no_seed_with_the_study():
    pilot, final = _runs(first_study_pilot), _runs(first_study)
    assert _counts(pilot, _width) == {16: 4, 128: 4}
    assert {run.role for run in pilot} == {"pilot"}
    assert _counts(pilot, lambda run: run.order) == {7: 4, 8: 4}
    assert not {run.order for run in pilot} & {run.order for run in final}
    assert not {run.seed for run in pilot} & {run.seed for run in final}


@pytest.mark.parametrize("part", [first_study_fixed_rate, first_study_second_text])
def test_the_runs_of_a_part(part):
    runs = _runs(part)
    assert _counts(runs, _architecture) == dict.fromkeys(
        ("transformer", "switch", "performer", "glu"), 8
    )
    assert _counts(runs, _width) == dict.fromkeys((16, 32, 64, 128), 8)
    assert {run.order for run in runs} == {1, 2}
    # They repeat runs of the study under another condition.
    assert {run.name for run in runs if _width(run) in (16, 128)} <= {
        run.name for run in _runs(first_study)
    }


def test_the_conditions_of_the_parts():
    mixtures = [
        study_config.read(part.get_config()).protocol.downstream.mixture
        for part in (first_study, *_PARTS)
    ]
    assert mixtures == ["cloze", "", "", ""]
    rates = [study_config.read(p.get_config()).learning_rate for p in _PARTS]
    assert rates == [None, 0.006, None]
    extrapolated = [study_config.read(p.get_config()).extrapolate for p in _PARTS]
    assert extrapolated == [True, False, False]
    runs = _runs(first_study_d256)
    assert [(_architecture(run), _width(run), run.order) for run in runs] == [
        ("transformer", 256, 1),
        ("transformer", 256, 2),
    ]


def test_each_model_is_timed_once_under_the_conditions_of_the_study():
    timed = study_config.read(first_study_speed.get_config())
    own = study_config.read(first_study.get_config())
    models_of = [{run.model for run in study.runs} for study in (timed, own)]
    assert models_of[0] == models_of[1] and len(timed.runs) == 48
    assert {run.role for run in timed.runs} == {"pilot"}
    same = {name: getattr(own.protocol, name) for name in ("train_steps", "downstream")}
    assert dataclasses.replace(timed.protocol, **same) == own.protocol
    steps = timed.protocol.train_steps
    window = speed.window_length(steps, steps // 30)
    assert steps // window - speed.DROPPED_WINDOWS == 29 > speed.MIN_WINDOWS
    assert timed.protocol.finetunings == ()


@pytest.mark.parametrize(
    "module", [first_study, first_study_pilot, first_study_speed, *_PARTS]
)
def test_a_dry_run_prints_the_runs(tmp_path, capsys, module):
    study = study_config.read(module.get_config())
    entries = [
        example_table.entry(architecture=name, settings=study.protocol.rate_settings())
        for name in first_study.ARCHITECTURES
    ]
    rates = tmp_path / "rates.json"
    table.write(rates, table.Table(entries=tuple(entries)))
    given = ["--config", module.__file__, "--out", str(tmp_path / "out")]
    given.append("--dry-run=commands")
    if study.learning_rate is None:
        given += ["--rates", str(rates)]
    assert main.main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    tuned = ("", " fine-tuning") if study.protocol.downstream.mixture else ("",)
    assert [line.partition(":")[0] for line in lines] == [
        run.name + work for run in study.runs for work in tuned
    ]
    rate = {"0.006": "learning_rate=0.006"}.get(str(study.learning_rate), "rate_table=")
    assert all(rate in line for line in lines[:: len(tuned)])
    assert not (tmp_path / "out").exists()
