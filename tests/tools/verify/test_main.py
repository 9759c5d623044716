"""Tests `clinometer verify` on synthetic runs of a published model."""

import json

import pytest

from clinometer.data.mixtures import aggregates
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.verify import main
from clinometer.tools.verify import references

# Tay et al. 2021, Tables 4 and 6: Base.
LOSS = 1.752
SCORES = {"glue": 82.53, "superglue": 69.80, "squad": 85.14}
TWELVE = {
    **{"xsum": 32.3, "cnn_dailymail": 38.9, "multi_news": 20.2, "civil_comments": 88.2},
    **{"wiki_toxicity": 95.4, "imdb": 94.4, "anli": 65.7, "cosmosqa": 69.9},
    **{"hellaswag": 49.7, "physicaliqa": 73.7, "socialiqa": 65.1, "winogrande": 65.3},
}


def _run(folder, loss=LOSS, shift=0.0, **changes):
    """Writes a run of Base with the published scores, each higher by `shift`."""
    values = {
        "model": "transformer-base",
        "config__model": {"name": "transformer-base", "vocab_size": 32_128},
        "config__train_steps": 2**19,
        "config__data": {"encoder_length": 512},
        "counts__batch_size": 128,
        "counts__encoder_length": 512,
        "counts__params_total": 222_903_552,
        "metrics__validation/loss": loss,
    }
    record = synthetic_study.record(**(values | changes))
    record["counts"]["model"] = "transformer-base"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    own = {
        task: (score + shift, 0.3)
        for name, score in SCORES.items()
        for task in aggregates.AVERAGES[name]
    }
    synthetic_study.write_finetuning(folder, own)
    return folder


@pytest.fixture(name="verify")
def fixture_verify(capsys):
    """Returns a function that returns the exit code and what `--json` prints."""

    def verify(run, against="t5-base"):
        code = main.main([str(run), "--against", against, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return verify


def test_the_published_scores_agree(tmp_path, verify, capsys):
    run = _run(tmp_path / "run")
    code, found = verify(run)
    assert (code, found["agrees"]) == (0, True)
    scores = {one["name"]: one for one in found["scores"]}
    assert scores["validation_loss_nats"]["difference"] == pytest.approx(0)
    for name, published in {**SCORES, "avg": 79.16}.items():
        assert scores[name]["published"] == published
        # Avg is printed with two digits.
        assert scores[name]["difference"] == pytest.approx(0, abs=0.005)
    assert set(found["missing"]) == {*TWELVE, "twelve"}
    assert all(one["same"] for one in found["conditions"])
    assert main.main([str(run), "--against", "T5-Base"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[1:-1])) <= 80
    assert lines[-1].startswith("5 of 5 scores agree; not measured: ")


@pytest.mark.parametrize(
    ("shift", "outside"),
    # 2 sqrt(2) standard deviations: GLUE 0.66, Avg 0.56, SQuAD 0.97, SuperGLUE 1.18.
    [
        (0.5, set()),
        (-0.6, {"avg"}),
        (0.7, {"avg", "glue"}),
        (-1.1, {"avg", "glue", "squad"}),
        (1.3, {"avg", "glue", "squad", "superglue"}),
    ],
)
def test_scores_out_of_tolerance_are_named(tmp_path, verify, shift, outside):
    code, found = verify(_run(tmp_path / "run", shift=shift))
    assert code == (1 if outside else 0)
    assert {one["name"] for one in found["scores"] if one["within"] is False} == outside


@pytest.mark.parametrize(("loss", "code"), [(1.766, 0), (1.738, 0), (1.768, 1)])
def test_the_loss_has_a_tolerance(tmp_path, verify, loss, code):
    assert verify(_run(tmp_path / "run", loss=loss))[0] == code


def test_twelve_tasks_of_several_finetunings(tmp_path, verify):
    run = _run(tmp_path / "run")
    rainbow = {task: (TWELVE[task], 0.5) for task in aggregates.RAINBOW}
    synthetic_study.write_finetuning(run, rainbow, "table_6_rainbow")
    for task in set(TWELVE) - set(rainbow):
        synthetic_study.write_finetuning(run, {task: (TWELVE[task], 0.5)}, task)
    code, found = verify(run)
    assert (code, found["missing"]) == (0, [])
    (twelve,) = (one for one in found["scores"] if one["name"] == "twelve")
    assert twelve["run"] == pytest.approx(63.23, abs=0.01)  # The mean, worked by hand.
    # Base's scores are not those of the deep, narrow model.
    code, found = verify(run, "t5-small-24l")
    assert code == 1
    assert not next(o for o in found["conditions"] if o["name"] == "model")["same"]


def test_other_conditions_are_said(tmp_path, capsys):
    run = _run(tmp_path / "run", config__train_steps=600, counts__params_total=51_000)
    assert main.main([str(run), "--against", "t5-base"]) == 0
    said = capsys.readouterr().out
    assert "differs in train_steps: 600, published 524,288" in said
    assert "differs in params_total: 51,000, published 222,903,552" in said


def test_what_is_missing_is_said(tmp_path, capsys):
    record = synthetic_study.record(status="running")
    run = synthetic_study.write_run(tmp_path / "run", record)
    assert main.main([str(run), "--against", "t5-base"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has nothing to compare with t5-base: no validation loss" in line
    assert "clinometer finetune" in line and "glue, superglue, squad" in line


def test_one_run_is_compared(tmp_path, capsys):
    synthetic_study.write_study(tmp_path)
    assert main.main([str(tmp_path), "--against", "t5-base"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has 5 runs; accepted: the directory of one run" in line


def test_an_unknown_name_lists_the_known(tmp_path, capsys):
    assert main.main([str(tmp_path), "--against", "t5-bse"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown 't5-bse' (did you mean 't5-base'?)" in line
    for name in references.all_of():
        assert name in line
