"""Tests the folder that keeps the numbers of a study, and a study that uses it."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tests.tools.study.tuning import measured
from clinometer.tools.report import build
from clinometer.tools.report import records
from clinometer.tools.study import carrying
from clinometer.tools.study import errors
from clinometer.tools.study import main
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import protocol
from clinometer.tools.study import record_folder
from clinometer.tools.study import runner
from clinometer.tools.study import source
from clinometer.tools.study import summary
from clinometer.tools.study import sweep
from clinometer.tools.study.claims import file as claims_file
from clinometer.train import config as config_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import validation_rows

_HOME = "/srv/someone/secret place"
_MIXTURE = "cloze"


def _options(tmp_path, *argv, out="study"):
    folders = ["--out", str(tmp_path / out), "--records", str(tmp_path / "kept")]
    return options_lib.parse([*folders, "--downstream", _MIXTURE, *argv])


def _record(*args, **changes):
    """Returns a record with paths in all places where a trainer writes them."""
    record = synthetic_study.record(*args, **changes)
    record["config"]["study"] = {
        "role": "final",
        "pass_number": 1,
        "claims": claims_file.read(example_claims.PATH).sha256,
    }
    record["config"]["data"] |= {"store": f"{_HOME}/store-1", "order": 1}
    record["config"]["initial"] = {"run": f"{_HOME}/runs/a", "step": None}
    record["data"] |= {"store": f"{_HOME}/store-1", "folder": f"{_HOME}/releases"}
    record["flags"] = {"XLA_FLAGS": "--xla_dump_to=/srv/someone/dump --xla_x=true"}
    return record


@pytest.fixture
def options(tmp_path):
    """Returns the options of a study with four finished sizes and some other runs."""
    options = _options(tmp_path)
    runs = options.out / "runs"
    for size in synthetic_study.SIZES:
        run = synthetic_study.write_run(runs / f"transformer-{size}-s0", _record(size))
        synthetic_study.write_finetuning(run, {"cloze": (40.0, 2.0)})
    names = [f"transformer-{size}-s0" for size in synthetic_study.SIZES]
    contents = {
        "command": f"clinometer study --out {_HOME.split(' ')[0]}/x --archs all",
        "settings": {"train_steps": 600},
        "passes": dict.fromkeys(names, 1),
    }
    (options.out / "study.json").write_text(json.dumps(contents))
    shutil.copyfile(example_claims.PATH, options.out / "claims.py")
    return options


def _kept(tmp_path):
    kept = tmp_path / "kept"
    return {path.relative_to(kept).as_posix() for path in kept.rglob("*.*")}


def test_only_numbers_are_kept(options, tmp_path):
    record_folder.keep_all(options)
    names = [f"runs/transformer-{size}-s0" for size in synthetic_study.SIZES]
    assert _kept(tmp_path) == {
        "study.json",
        "claims.py",
        *(f"{name}/run.json" for name in names),
        *(f"{name}/finetune/study/run.json" for name in names),
    }
    for name in _kept(tmp_path) - {"claims.py"}:
        text = (tmp_path / "kept" / name).read_text()
        assert (
            "someone" not in text and "secret" not in text and str(tmp_path) not in text
        )
    pico = json.loads((tmp_path / "kept" / names[0] / "run.json").read_text())
    assert pico["data"]["store"] == pico["config"]["data"]["store"] == "store-1"
    assert pico["flags"] == {"XLA_FLAGS": "--xla_dump_to=dump --xla_x=true"}
    # All else is as it was.
    expected = _record("pico")
    for place in (pico, expected):
        del place["flags"], place["data"], place["config"]["data"]
        del place["config"]["initial"]
    assert pico == expected
    command = json.loads((tmp_path / "kept" / "study.json").read_text())["command"]
    assert command == "clinometer study --out x --archs all"


def _report(folder):
    report = build.build(folder, folder.parent / f"report of {folder.name}")
    tables = [report.page.with_name(f"{t}.csv") for t in ("runs", "downstream")]
    rows = [table.read_text() for table in tables]
    return rows, report, report.page.read_text()


def test_the_report_over_the_records_is_the_same(options, tmp_path):
    record = _record("pico", 1, status="failed", error="DivergedError: step 3: nan")
    run = options.out / "runs" / "transformer-pico-s1"
    synthetic_study.write_run(run, record)
    for size in ("nano", "milli"):
        run = options.out / "runs" / f"transformer-{size}-s1"
        synthetic_study.write_run(run, _record(size, 1))
        synthetic_study.write_finetuning(run, {"cloze": (41.0, 2.0)})
    record_folder.keep_all(options)
    rows, report, page = _report(options.out)
    again, report_again, page_again = _report(tmp_path / "kept")
    # Only the path in the flags differs.
    assert [r.replace("/srv/someone/dump", "dump") for r in rows] == again
    assert repr(report.findings) == repr(report_again.findings)
    lines = [[repr(fit.line) for fit in one.fits] for one in (report, report_again)]
    assert lines[0] == lines[1]
    assert report.findings.gains and any(fit.line for fit in report.fits)
    told = [(one.claim.name, one.verdict) for one in report.claims]
    assert told == [(one.claim.name, one.verdict) for one in report_again.claims]
    assert {verdict.outcome for _, verdict in told} == {"undecided"}
    lost = "6 of 6 finished runs have only a record, without a log"
    assert (page.count(lost), page_again.count(lost)) == (0, 1)


def test_rows_and_items_are_kept_and_restored(options, tmp_path):
    """Without them, the errors of downstream scores would be lost."""
    run = options.out / "runs" / "transformer-pico-s0"
    shutil.rmtree(run / "finetune")
    right = np.arange(50) % 3 > 0
    synthetic_study.write_finetuning(run, {}, items={"cloze": right})
    run_directory.RunDirectory(run).write_validation_rows(
        validation_rows.ValidationRows(
            600, np.arange(3, dtype=np.uint64), np.ones(3), np.ones(3, np.int64)
        )
    )
    record_folder.keep_all(options)
    name = "runs/transformer-pico-s0"
    files = (
        f"{name}/validation_rows.npz",
        f"{name}/finetune/study/predictions/80/cloze.npz",
    )
    other = _options(tmp_path, out="other")
    record_folder.restore(other)
    for file in files:
        expected = (options.out / file).read_bytes()
        assert (tmp_path / "kept" / file).read_bytes() == expected
        assert (other.out / file).read_bytes() == expected


def test_what_is_not_over_is_not_kept(options, tmp_path):
    runs = options.out / "runs"
    pico, nano = (runs / f"transformer-{size}-s0" for size in ("pico", "nano"))
    (nano / "finetune/study/run.json").unlink()
    synthetic_study.write_run(runs / "running", _record(status="running"))
    synthetic_study.write_run(runs / "failed", _record(status="failed", error="disk"))
    error = "DivergedError: step 3: nan"
    synthetic_study.write_run(runs / "diverged", _record(status="failed", error=error))
    swept = sweep.folder_of(options.out, sweep.run_of("transformer-pico", 0.03))
    synthetic_study.write_run(swept, _record())
    record_folder.keep_all(options)
    kept = _kept(tmp_path)
    assert "runs/diverged/run.json" in kept
    assert "sweep/runs/transformer-pico-r0.03-s1000000/run.json" in kept
    for name in ("running", "failed", nano.name):
        assert f"runs/{name}/run.json" not in kept
    # The end of the fine-tuning is the end of the run.
    synthetic_study.write_finetuning(nano, {"cloze": (1.0, 1.0)}, name="study2")
    shutil.move(nano / "finetune/study2/run.json", nano / "finetune/study/run.json")
    record_folder.keep_run(options, nano / "finetune" / "study")
    assert "runs/transformer-nano-s0/run.json" in _kept(tmp_path)
    # Without fine-tuning, that of the run itself is.
    options = _options(tmp_path, "--downstream", "", out="other")
    synthetic_study.write_run(options.out / "runs" / "plain", _record())
    record_folder.keep_run(options, options.out / "runs" / "plain")
    assert "runs/plain/run.json" in _kept(tmp_path)
    assert pico.is_dir()


def test_all_finetunings_of_a_run_are_kept_and_restored(options, tmp_path):
    more = protocol.Finetuning(
        "more", protocol.DownstreamSettings(mixture="rte"), ("transformer-pico",)
    )
    shared = dataclasses.replace(options.study.protocol, further=(more,))
    options.study = dataclasses.replace(options.study, protocol=shared)
    pico = options.out / "runs" / "transformer-pico-s0"
    synthetic_study.write_finetuning(
        pico, {"rte": (1.0, 1.0)}, name="more", status="running"
    )
    record_folder.keep_all(options)
    assert "runs/transformer-nano-s0/run.json" in _kept(tmp_path)
    assert "runs/transformer-pico-s0/run.json" not in _kept(tmp_path)
    synthetic_study.write_finetuning(pico, {"rte": (1.0, 1.0)}, name="more")
    record_folder.keep_all(options)
    kept = "runs/transformer-pico-s0/finetune/more/run.json"
    assert {kept, "runs/transformer-pico-s0/run.json"} <= set(_kept(tmp_path))
    shutil.rmtree(options.out)
    assert record_folder.restore(options) == 4
    assert (options.out / kept).is_file()


def test_a_study_that_is_killed_leaves_whole_files(options, tmp_path, monkeypatch):
    replaced = []
    rename = os.replace

    def killed(source, target):
        if len(replaced) == 1:
            raise KeyboardInterrupt
        replaced.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            record_folder.keep_all(options)
    (name,) = _kept(tmp_path)
    assert name.endswith("finetune/study/run.json")
    # The run itself is not there, so nothing is restored.
    other = _options(tmp_path, out="other")
    assert record_folder.restore(other) == 0
    assert not (other.out / "runs").exists()
    record_folder.keep_all(options)
    assert record_folder.restore(other) == 4


def test_a_damaged_record_is_named(options, tmp_path):
    record_folder.keep_all(options)
    damaged = tmp_path / "kept" / "runs" / "transformer-nano-s0" / "run.json"
    damaged.write_text('{"model": ')
    with pytest.raises(records.RecordError, match=r"kept/runs/.*nano-s0/run.json: ca"):
        record_folder.restore(_options(tmp_path, out="other"))


def test_two_trainings_of_a_run_are_refused(options, tmp_path):
    record_folder.keep_all(options)
    assert record_folder.restore(options) == 0
    other = _options(tmp_path, out="other")
    run = other.out / "runs" / "transformer-nano-s0"
    for changes in (
        {"started_at": "2026-02-02T00:00:00Z"},
        {"status": "stopped"},
    ):
        synthetic_study.write_run(run, _record("nano", **changes))
        with pytest.raises(errors.StudyError, match="another training of the run in"):
            record_folder.restore(other)
        shutil.rmtree(run)


def test_the_folder_is_not_the_study_s(tmp_path, capsys):
    with pytest.raises(SystemExit):
        _options(tmp_path, out="kept")
    assert "--records: must be another folder than --out" in capsys.readouterr().err


def test_other_settings_are_refused_by_name(options, tmp_path, capsys):
    settings = {
        **options.study.protocol.settings(),
        "schedule.learning_rate": 0.01,
        "train_steps": 600,
    }
    (options.out / "study.json").write_text(json.dumps({"settings": settings}))
    record_folder.keep_all(options)
    argv = ["--records", str(tmp_path / "kept"), "--out", str(tmp_path / "other")]
    for more in (["--learning-rate", "0.01"], ["--tune", "--store", "nowhere"]):
        assert main.main([*argv, "--steps", "700", *more]) == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert f"{tmp_path}/kept holds a study with train_steps = 600; this" in said
        assert "another folder with --records" in said
    assert not (tmp_path / "other" / "runs").exists()


@pytest.fixture
def trained(monkeypatch):
    """Makes trainings write a record and nothing else; returns their names."""
    names = []

    def carry_out(options, pending, steps, lock, deadline=None):
        for work in pending:
            names.append(work.name)
            overrides = [word for word in work.command if "--config." in word]
            (file,) = (w for w in work.command if w.startswith("--config="))
            config = config_lib.load(file.removeprefix("--config="), overrides)
            record = synthetic_study.record(
                config.model.name.rpartition("-")[2],
                seed=config.seed,
                data__corpus_hash="0" * 64,
                kind="pretraining",
            )
            record["config"] = config_lib.to_dict(config)
            loss = measured.bowl(0.03)(config.schedule.learning_rate)
            record["metrics"]["validation/loss"] = loss
            synthetic_study.write_run(work.folder, record)
            record_folder.keep_run(options, work.folder)
        codes = dict.fromkeys((work.name for work in pending), 0)
        return runner.State(waiting=[], exit_codes=codes)

    corpus = {"corpus_hash": "0" * 64, "vocabulary_sha256": "beef"}
    monkeypatch.setattr(source, "hashes", lambda *_: corpus)
    monkeypatch.setattr(carrying, "carry_out", carry_out)
    monkeypatch.setattr(build, "build", lambda out: None)
    monkeypatch.setattr(summary, "render", lambda report: "")
    return names


def test_a_study_goes_on_on_another_machine(tmp_path, trained, capsys):
    argv = ["--sizes", "pico nano milli", "--steps", "60", "--store", "store"]
    argv += ["--downstream", "", "--records", str(tmp_path / "kept")]
    assert main.main([*argv, "--out", str(tmp_path / "a"), "--tune"]) == 0
    table = (tmp_path / "kept" / "rates.json").read_text()
    assert len(trained) == len(set(trained)) == 12
    # The sweeps are not repeated, and give the same table.
    assert main.main([*argv, "--out", str(tmp_path / "b"), "--tune"]) == 0
    assert len(trained) == 12
    assert (tmp_path / "b" / "rates.json").read_text() == table
    assert "12 runs restored from" in capsys.readouterr().out
    # The table is known wherever the records are.
    argv += ["--replicate", "1"]
    assert main.main([*argv, "--out", str(tmp_path / "c"), "--seeds", "3"]) == 0
    assert trained[12:] == [
        f"transformer-{name}" for name in ("pico-s3", "pico-s1", "nano-s3", "milli-s3")
    ]
    capsys.readouterr()
    # The plan of all machines is kept.
    assert main.main([*argv, "--out", str(tmp_path / "d"), "--seeds", "4"]) == 0
    said = capsys.readouterr().out
    assert "4 runs: 1 already finished, 3 to do" in said
    assert len(trained) == 12 + 4 + 3
    kept = json.loads((tmp_path / "kept" / "study.json").read_text())
    assert sorted(kept["passes"]) == sorted(trained[12:])
    assert str(tmp_path) not in json.dumps(kept)
    assert main.main([*argv, "--out", str(tmp_path / "e"), "--seeds", "3"]) == 0
    assert "4 runs: 4 already finished, 0 to do" in capsys.readouterr().out
