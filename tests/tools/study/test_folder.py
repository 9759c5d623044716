"""Tests the study's folder: its lock, its settings and its finished runs."""

import json
import os

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.study import errors
from clinometer.tools.study import folder

_CORPUS = {"corpus_hash": "c0ffee", "vocabulary_sha256": "beef"}
_CONFIG = {"seed": 0, "train_steps": 600, "model.name": "transformer-pico"}


def test_one_study_at_a_time(tmp_path):
    with (
        folder.locked(tmp_path / "study"),
        pytest.raises(errors.StudyError, match="another study is running"),
        folder.locked(tmp_path / "study"),
    ):
        pass
    with folder.locked(tmp_path / "study") as lock:
        # The lock is held like this by a run that outlives its study.
        inherited = os.dup(lock)
    with pytest.raises(errors.StudyError), folder.locked(tmp_path / "study"):
        pass
    os.close(inherited)
    with folder.locked(tmp_path / "study"):
        pass


def test_other_settings_are_refused_by_name(tmp_path):
    settings = {
        "train_steps": 600,
        "schedule.learning_rate": 0.03,
        "log.every_steps": 20,
    }
    folder.check_settings(tmp_path, settings)
    folder.write_settings(tmp_path, "clinometer study", settings, {"a": 1, "b": 2})
    assert folder.planned(tmp_path) == {"a": 1, "b": 2}
    folder.write_settings(tmp_path, "clinometer study", settings, {"b": 3})
    assert folder.planned(tmp_path) == {"a": 1, "b": 3}
    folder.check_settings(tmp_path, {**settings, "log.every_steps": 5})
    with pytest.raises(
        errors.StudyError, match=r"schedule.learning_rate = 0.03.* 0.05"
    ):
        folder.check_settings(tmp_path, {**settings, "schedule.learning_rate": 0.05})
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(errors.StudyError, match="study.json: cannot be read"):
        folder.check_settings(tmp_path, settings)
    with pytest.raises(errors.StudyError, match="study.json: cannot be read"):
        folder.planned(tmp_path)


def test_notes_are_kept(tmp_path):
    assert folder.notes(tmp_path) == {}
    folder.write_settings(tmp_path, "clinometer study", {}, {})
    assert folder.notes(tmp_path) == {}
    notes = {"switch-xl": "large"}
    folder.write_settings(tmp_path, "clinometer study", {}, {}, notes)
    assert folder.notes(tmp_path) == notes
    for bad in ("x", {"switch-xl": 3}):
        (tmp_path / "study.json").write_text(json.dumps({"notes": bad}))
        with pytest.raises(errors.StudyError, match="study.json: cannot be read"):
            folder.notes(tmp_path)


def test_the_margin_is_a_setting(tmp_path):
    assert folder.margin(tmp_path) is None
    for settings, expected in (({}, None), ({"design.margin": 0.03}, 0.03)):
        folder.write_settings(tmp_path, "clinometer study", settings, {})
        assert folder.margin(tmp_path) == expected
    with pytest.raises(errors.StudyError, match="design.margin = 0.03; this one has 0"):
        folder.check_settings(tmp_path, {"design.margin": 0.02})
    for value in (-1, "wide"):
        folder.write_settings(
            tmp_path, "clinometer study", {"design.margin": value}, {}
        )
        with pytest.raises(errors.StudyError, match="study.json: cannot be read"):
            folder.margin(tmp_path)


@pytest.mark.parametrize("status", ["running", "finished", "stopped", "failed"])
def test_finished_means_finished(tmp_path, status):
    run = tmp_path / "run"
    assert not folder.is_over(run, _CONFIG, _CORPUS)
    synthetic_study.write_run(run, synthetic_study.record(status=status))
    assert folder.is_over(run, _CONFIG, _CORPUS) == (status == "finished")


def test_runs_with_the_earlier_name_of_the_data_order(tmp_path):
    run = tmp_path / "run"
    synthetic_study.write_run(run, synthetic_study.record(config__data={"seed": 0}))
    assert folder.is_over(run, {**_CONFIG, "data.order": 0}, _CORPUS)
    with pytest.raises(errors.StudyError, match="data.order = 0; this study has 1"):
        folder.is_over(run, {**_CONFIG, "data.order": 1}, _CORPUS)


@pytest.mark.parametrize(
    "config, corpus, field",
    [
        ({"seed": 1}, {}, "seed = 0"),
        ({"model.name": "transformer-nano"}, {}, "model.name"),
        ({"schedule.name": "wsd"}, {}, "schedule.name = None"),
        ({}, {"corpus_hash": "other"}, "data.corpus_hash"),
        ({}, {"vocabulary_sha256": "other"}, "data.vocabulary_sha256"),
    ],
)
def test_another_run_is_refused_by_name(tmp_path, config, corpus, field):
    run = synthetic_study.write_run(tmp_path / "run", synthetic_study.record())
    with pytest.raises(errors.StudyError, match=field):
        folder.is_over(run, {**_CONFIG, **config}, {**_CORPUS, **corpus})


def test_what_does_not_change_a_run_may_differ(tmp_path):
    record = synthetic_study.record()
    record["config"]["betas"] = [0.9, 0.98]
    record["config"]["model"]["vocab_size"] = 2048
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps(record))
    expected = {
        **_CONFIG,
        "betas": (0.9, 0.98),
        "model.vocab_size": None,
        "data.store": "/elsewhere",
        "log.every_steps": 7,
    }
    assert folder.is_over(run, expected, _CORPUS)


def test_a_run_that_diverged_is_over(tmp_path):
    error = "DivergedError: step 7: the loss is nan"
    record = synthetic_study.record(status="failed", error=error)
    run = synthetic_study.write_run(tmp_path / "run", record)
    assert folder.is_over(run, _CONFIG, _CORPUS)
    assert not folder.has_finished(run)


def test_what_a_run_is_for_is_compared_if_it_says_so(tmp_path):
    record = synthetic_study.record()
    run = synthetic_study.write_run(tmp_path / "earlier", record)
    expected = {**_CONFIG, "study.role": "final", "study.pass_number": 1}
    assert folder.is_over(run, expected, _CORPUS)
    # Claims that were not there before the run are not its own.
    with pytest.raises(errors.StudyError, match="study.claims = None"):
        folder.is_over(run, {**expected, "study.claims": "ab"}, _CORPUS)
    record["config"]["study"] = {"role": "sweep", "pass_number": None}
    run = synthetic_study.write_run(tmp_path / "run", record)
    with pytest.raises(errors.StudyError, match="study.role = 'sweep'"):
        folder.is_over(run, expected, _CORPUS)


@pytest.mark.parametrize("passes", [3, {"a": "1"}, {"a": 0}, {"a": True}])
def test_damaged_passes_are_told(tmp_path, passes):
    (tmp_path / "study.json").write_text(json.dumps({"passes": passes}))
    with pytest.raises(errors.StudyError, match="passes is"):
        folder.planned(tmp_path)
