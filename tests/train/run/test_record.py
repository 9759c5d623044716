"""Tests of reading run.json, valid or damaged, in every command."""

import json
import logging
import pathlib
import shutil

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.train import errors
from clinometer.train.downstream import evaluation
from clinometer.train.downstream import finetune
from clinometer.train.downstream import summary as finetune_summary
from clinometer.train.run import record as run_record

_STORED = pathlib.Path(__file__).parent / "testdata"
_DAMAGED = [
    (b"", "cannot be read as JSON"),
    (b"\x00\xff\x80\x13", "cannot be read as JSON"),
    (b'{"format_version": 1, "mod', "cannot be read as JSON"),
    (b"[" * 10**5, "nested too deeply"),
    (b"[]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"{}", "format_version is None; this version reads 1"),
    (b'{"format_version": 1}', "has no field 'model'"),
]


def _damage(directory, change):
    """Writes a valid record with one change."""
    record = json.loads(json.dumps(synthetic_study.record()))
    change(record)
    (directory / "run.json").write_text(json.dumps(record))


_CHANGES = [
    (lambda r: r.update(model=7), "model is 7; accepted: str"),
    (lambda r: r.update(seed="0"), "seed is '0'; accepted: int"),
    (lambda r: r.update(seed=True), "seed is True; accepted: int"),
    (lambda r: r.update(config=[]), "config is .*; accepted: dict"),
    (lambda r: r["config"].update(model=None), "config.model is None"),
    (lambda r: r["config"]["model"].update(name=None), "config.model.name is None"),
    (lambda r: r.update(counts=None), "counts is None; accepted: dict"),
    (lambda r: r["counts"].update(params_total="x"), "counts.params_total is 'x'"),
    (lambda r: r.update(data="here"), "data is 'here'; accepted: dict"),
    (lambda r: r.update(metrics=[1]), "metrics is .1.; accepted: dict"),
    (
        lambda r: r["metrics"].update({"validation/loss": "low"}),
        "metrics.validation/loss is 'low'; accepted: int or float or null",
    ),
    (lambda r: r["wall_seconds"].update(step="1"), "wall_seconds.step is '1'"),
    (lambda r: r.update(evaluations={}), "evaluations is {}; accepted: list"),
    (lambda r: r.update(evaluations=[7]), "evaluations.0 is 7; accepted: dict"),
    (lambda r: r.update(downstream=[]), "downstream is .*; accepted: dict or null"),
    (
        lambda r: r.update(downstream={"tasks": {"rte": {"best": None}}}),
        "downstream.tasks.rte.best is None; accepted: int or float",
    ),
    (
        lambda r: r.update(downstream={"tasks": {"rte": {"best": 1.0}}}),
        "downstream.tasks.rte has no field 'best_step'",
    ),
    (lambda r: r.update(git_revision=True), "git_revision is True"),
    (lambda r: r["data"].update(corpus_hash=[]), "data.corpus_hash is ..; accepted"),
    (lambda r: r["speed"].update(mfu={}), "speed.mfu is {}; accepted"),
    (
        lambda r: r["counts"].update(flops_forward=1e300),
        r"counts.flops_forward is 1e.300; accepted: .* of up to 1e.30",
    ),
    (lambda r: r.update(kind="odd"), "kind is 'odd'; accepted: pretraining, finet"),
    (lambda r: r.update(status="odd"), "status is 'odd'; accepted: running, finished"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pretraining", run_record.PRETRAINING), ("finetuning", run_record.FINETUNING)],
)
def test_a_record_without_a_kind_is_read_and_written_whole(tmp_path, name, kind):
    """Records of version 0.1, which had no field `kind`."""
    stored = json.loads((_STORED / f"{name}.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(stored | {"later": {"x": [1]}}))
    record = run_record.read(tmp_path)
    run_record.write(tmp_path, record)
    written = json.loads((tmp_path / "run.json").read_text())
    assert written.pop("updated_at") > stored.pop("updated_at")
    assert written == stored | {"kind": kind, "later": {"x": [1]}}
    assert record.metrics.validation_loss == stored["metrics"]["validation/loss"]
    assert record.config.model.overrides["d_model"] == 16
    assert record.rest == {"later": {"x": [1]}}


def test_a_stored_fine_tuning_has_its_parts(tmp_path):
    shutil.copy(_STORED / "finetuning.json", tmp_path / "run.json")
    record = run_record.read(tmp_path)
    assert record.config.data.mixture == "rte,cola"
    assert record.config.data.data_order == 0  # Then named data.seed.
    assert record.initial.step == 8
    assert record.data.tasks["rte"].majority == pytest.approx(100 * 4 / 6)
    assert record.downstream.tasks["cola"].best_step == 4
    (evaluation_record,) = record.evaluations
    assert evaluation_record.tasks["rte"].examples == 6


@pytest.mark.parametrize(("text", "words"), _DAMAGED)
def test_what_is_no_record_is_named(tmp_path, text, words):
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(errors.RunError, match=words) as caught:
        run_record.read(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


@pytest.mark.parametrize(("change", "words"), _CHANGES)
def test_a_field_of_another_type_is_named(tmp_path, change, words):
    _damage(tmp_path, change)
    with pytest.raises(errors.RunError, match=rf"run.json: {words}"):
        run_record.read(tmp_path)


def test_a_record_of_an_earlier_version_may_hold_nan(tmp_path):
    _damage(tmp_path, lambda r: r["speed"].update(mfu=float("nan")))
    assert run_record.read(tmp_path).speed.mfu is None


@pytest.mark.parametrize("text", [text for text, _ in _DAMAGED])
def test_every_command_names_the_file(tmp_path, text, capsys):
    (tmp_path / "run.json").write_bytes(text)
    assert evaluation.main([str(tmp_path)]) == 1
    assert finetune.main([f"--from={tmp_path}", "--mixture=probes"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(f"error: {tmp_path / 'run.json'}: " in line for line in lines), lines
    with pytest.raises(errors.RunError, match="run.json: "):
        finetune_summary.write(tmp_path, [tmp_path])


@pytest.mark.parametrize("text", [text for text, _ in _DAMAGED])
def test_a_run_that_goes_on_keeps_a_broken_one_aside(tmp_path, text, caplog):
    (tmp_path / "run.json").write_bytes(text)
    with caplog.at_level(logging.WARNING):
        assert run_record.read_or_set_aside(tmp_path) is None
    assert (tmp_path / "run.json.corrupt").read_bytes() == text
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path / 'run.json'}: " in warning
    assert "renamed to run.json.corrupt and recreated" in warning
