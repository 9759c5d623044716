"""Tests `--tune` with runs that are written instead of trained."""

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.study import carrying
from clinometer.tools.study import errors
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import phases
from clinometer.tools.study import run_rates
from clinometer.tools.study import runner
from clinometer.tools.study import source
from clinometer.tools.study import sweep
from clinometer.tools.study import tune
from clinometer.tools.study.tuning import table
from clinometer.train import config as config_lib

_CORPUS = {"corpus_hash": "0" * 64, "vocabulary_sha256": "beef"}


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """Returns the path of a store that no test opens."""
    monkeypatch.setattr(source, "hashes", lambda *_: _CORPUS)
    return "store"


def _options(tmp_path, *argv):
    return options_lib.parse(["--out", str(tmp_path / "study"), "--tune", *argv])


def _write(work, corpus_hash):
    """Writes the record that the command of a sweep's run would leave."""
    overrides = [word for word in work.command if word.startswith("--config.")]
    (file,) = (w for w in work.command if w.startswith("--config="))
    config = config_lib.load(file.removeprefix("--config="), overrides)
    record = synthetic_study.record(
        seed=config.seed, data__corpus_hash=corpus_hash, kind="pretraining"
    )
    record["config"] = config_lib.to_dict(config)
    loss = measured.bowl(0.03)(config.schedule.learning_rate)
    record["metrics"]["validation/loss"] = loss
    work.folder.mkdir(parents=True, exist_ok=True)
    work.folder.rmdir()
    synthetic_study.write_run(work.folder, record)


def test_the_table_is_measured_and_used(tmp_path, store, monkeypatch, capsys):
    rounds = []

    def carry_out(options, pending, steps, lock):
        rounds.append(len(pending))
        for work in pending:
            _write(work, "0" * 64)
        codes = dict.fromkeys((work.name for work in pending), 0)
        return runner.State(waiting=[], exit_codes=codes)

    monkeypatch.setattr(carrying, "carry_out", carry_out)
    options = _options(tmp_path, "--sizes", "pico nano milli", "--steps", "60")
    runs = options.study.runs
    assert tune.tune(options, runs, store, "again", 0) == 0
    assert rounds == [6, 4, 2]
    said = capsys.readouterr().out
    assert "the line holds" in said and "12 sweep runs" in said
    made = table.read(tmp_path / "study" / "rates.json")
    assert made.entries[0].rates == pytest.approx({32: 0.03, 128: 0.03}, rel=1e-3)
    # The same study without --tune uses it.
    rated = run_rates.rate(options.study, runs, options.out, "0" * 64)
    for run in rated.runs:
        assert run.learning_rate == pytest.approx(0.03, rel=1e-3)
    assert tune.tune(options, runs, store, "again", 0) == 0
    assert rounds == [6, 4, 2]  # Nothing is run twice.
    assert table.read(tmp_path / "study" / "rates.json").sha256 == made.sha256


@pytest.mark.parametrize(("interrupted", "code"), [(True, 42), (False, 1)])
def test_a_sweep_that_stops_or_fails_writes_no_table(
    tmp_path, store, monkeypatch, capsys, interrupted, code
):
    def carry_out(options, pending, steps, lock):
        return runner.State(
            waiting=[], exit_codes={pending[0].name: 1}, interrupted=interrupted
        )

    monkeypatch.setattr(carrying, "carry_out", carry_out)
    options = _options(tmp_path, "--sizes", "pico")
    assert tune.tune(options, options.study.runs, store, "again", 0) == code
    assert not (tmp_path / "study" / "rates.json").exists()
    said = capsys.readouterr()
    assert "To resume" in said.out if interrupted else "Failed" in said.err


def test_a_sweep_of_another_protocol_is_not_taken(tmp_path, store):
    options = _options(tmp_path, "--sizes", "pico", "--steps", "60")
    (first, *_) = phases.pretrainings(options, _first(options), store)
    _write(first, "0" * 64)
    other = _options(tmp_path, "--sizes", "pico", "--steps", "61")
    with pytest.raises(errors.StudyError, match="train_steps = 60"):
        tune.tune(other, other.study.runs, store, "again", 0)


def _first(options):
    (ladder,) = sweep.ladders(run.model for run in options.study.runs)
    return sweep.standing(ladder, options.out).missing
