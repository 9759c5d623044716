"""End-to-end tests of fine-tuning and evaluation on small hand-written tasks."""

import json
import shutil

import numpy as np
import pytest
from scipy import stats

from clinometer.tests.train import whole_runs
from clinometer.train import main
from clinometer.train.downstream import evaluation
from clinometer.train.downstream import finetune
from clinometer.train.downstream import item_scores
from clinometer.train.run import directory as run_directory
from clinometer.train.run import lease

_SMALL = (
    "train_steps=8",
    "data.batch_size=4",
    "data.encoder_length=32",
    "data.decoder_length=8",
    "eval.every_steps=4",
    "eval.batch_size=4",
    "checkpoint.every_steps=100",  # The best checkpoints are saved anyway.
    "checkpoint.keep_last=1",
    "log.every_steps=4",
    "log.health_every_steps=0",
    "log.trackers=",
)

# Other files that may be in the folder of a run's predictions.
_STRAY = (".ipynb_checkpoints", "3b", "8 copy", "notes.txt", "\u0663")


@pytest.fixture(scope="module")
def pretrained(arguments, tmp_path_factory):
    """A run of 8 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    assert main.main([*arguments(), f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Task releases in the format of GLUE with hand-written rows."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "RTE").mkdir()
    (folder / "CoLA").mkdir()
    for name, count in (("train", 12), ("dev", 6)):
        rows = ["index\tsentence1\tsentence2\tlabel"]
        for i in range(count):
            label = "entailment" if i % 3 else "not_entailment"
            rows.append(f"{i}\tabc {i} def.\tghi {i} jkl.\t{label}")
        (folder / f"RTE/{name}.tsv").write_text("\n".join(rows) + "\n")
        rows = [
            f"x{i}\t{i % 2}\t{'' if i % 2 else '*'}\tabc {i}." for i in range(count)
        ]
        (folder / f"CoLA/{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def command(pretrained, folder, workdir, *overrides, flags=(), mixture="rte,cola"):
    return [
        f"--from={pretrained}",
        f"--mixture={mixture}",
        f"--data={folder}",
        f"--workdir={workdir}",
        *flags,
        *(f"--config.{field}" for field in (*_SMALL, *overrides)),
    ]


@pytest.fixture(scope="module")
def finetuned(pretrained, folder, tmp_path_factory):
    """A fine-tuning of 8 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("finetuned") / "run"
    for name in _STRAY:
        (workdir / "predictions" / name).mkdir(parents=True)
    assert finetune.main(command(pretrained, folder, workdir)) == 0
    return workdir


def test_a_run_is_scored_and_says_what_it_learned_from(finetuned, pretrained):
    record = whole_runs.record(finetuned)
    assert record["status"] == "finished"
    assert record["initial"]["step"] == 8
    assert record["config"]["model"]["d_model"] == 16  # That of the pretrained run.
    assert record["config"]["model"]["dropout_rate"] == 0.1
    assert record["config"]["schedule"]["learning_rate"] == 1e-3
    tasks = record["data"]["tasks"]
    # 8 steps of 4 examples, 8551 to 2490: 24.8 of CoLA's and 7.2 of RTE's.
    assert tasks["cola"]["epochs"] * 12 == pytest.approx(24.8, abs=1)
    assert tasks["rte"]["epochs"] * 12 == pytest.approx(7.2, abs=1)
    found = record["downstream"]["tasks"]
    assert set(found) == {"rte", "cola"}
    # Of 6 rows each: entailment where i % 3 is not 0; half of CoLA's are acceptable.
    assert tasks["rte"]["majority"] == pytest.approx(100 * 4 / 6)
    assert tasks["cola"]["majority"] == 0
    log = whole_runs.log(finetuned)
    values = [r["downstream/rte"] for r in log if "downstream/rte" in r]
    assert len(values) == 2 and found["rte"]["best"] == max(values)
    assert found["rte"]["last"] == values[-1]
    predictions = (finetuned / "predictions/8/rte.jsonl").read_text().splitlines()
    assert len(predictions) == 6
    first = json.loads(predictions[0])
    assert first["inputs"] == "rte sentence1: abc 0 def. sentence2: ghi 0 jkl."
    assert first["targets"] == "not_entailment"
    # The scores of the same items, with a Wilson interval.
    items = item_scores.of_run(
        run_directory.RunDirectory(finetuned), "rte", 8, found["rte"]["last"]
    )
    right = [
        json.loads(x)["prediction"] == json.loads(x)["targets"] for x in predictions
    ]
    np.testing.assert_array_equal(items.metrics["accuracy"].terms[:, 0], right)
    wilson = stats.binomtest(round(found["rte"]["best"] * 6 / 100), 6).proportion_ci(
        method="wilson"
    )
    assert found["rte"]["low"] == pytest.approx(100 * wilson.low)
    assert found["rte"]["high"] == pytest.approx(100 * wilson.high)


def test_each_task_s_best_is_kept_whatever_is_saved_when(finetuned):
    """Both tasks score the same at every step, so the earliest step is the best."""
    best = whole_runs.record(finetuned)["downstream"]["tasks"]
    steps = {entry["best_step"] for entry in best.values()}
    assert steps == {4}
    kept = {path.name for path in (finetuned / "checkpoints").iterdir()}
    assert kept == {"4", "8"}
    predictions = {path.name for path in (finetuned / "predictions").iterdir()}
    assert predictions == {*kept, *_STRAY}


def test_scores_are_those_of_the_predictions(finetuned):
    record = whole_runs.record(finetuned)
    lines = (finetuned / "predictions/8/rte.jsonl").read_text().splitlines()
    right = [r["prediction"] == r["targets"] for r in map(json.loads, lines)]
    metric = record["metrics"]["downstream/rte/accuracy"]
    assert metric == pytest.approx(100 * sum(right) / len(right))


def test_from_scratch_takes_the_model_but_no_parameters(pretrained):
    scratch, tuned = (
        finetune.make_config(str(pretrained), "rte", None, from_scratch=value)
        for value in (True, False)
    )
    assert (scratch.initial.run, tuned.initial.run) == (None, str(pretrained))
    assert scratch.model.d_model == 16
    assert scratch.data == tuned.data


@pytest.mark.slow
def test_a_stopped_run_goes_on_exactly(finetuned, pretrained, folder, tmp_path):
    half = command(pretrained, folder, tmp_path / "run", "train_steps=4")
    assert finetune.main(half) == 0
    assert finetune.main(command(pretrained, folder, tmp_path / "run")) == 0
    assert whole_runs.records(tmp_path / "run") == whole_runs.records(finetuned)


def test_evaluation_gives_the_runs_own_scores(finetuned, folder, capsys):
    argv = [str(finetuned), "--step", "8", "--json", "--batch-size", "4"]
    assert evaluation.main(argv) == 0
    added = json.loads(capsys.readouterr().out)
    record = whole_runs.record(finetuned)
    for name in ("rte", "cola"):
        assert added["tasks"][name]["score"] == record["metrics"][f"downstream/{name}"]
        assert added["tasks"][name]["examples"] == 6
    assert record["evaluations"][-1]["tasks"] == added["tasks"]
    assert evaluation.main([str(finetuned), "--step", "best", "--batch-size=4"]) == 0
    assert "between-seed error unknown" in capsys.readouterr().out


def test_ranking_takes_a_label(finetuned, capsys):
    argv = [str(finetuned), "--mixture", "rte", "--decoding", "rank", "--json"]
    assert evaluation.main([*argv, "--batch-size", "4"]) == 0
    added = json.loads(capsys.readouterr().out)
    path = finetuned / "evaluation-rank-8/rte.jsonl"
    predictions = [json.loads(x)["prediction"] for x in path.read_text().splitlines()]
    assert set(predictions) <= {"entailment", "not_entailment"}
    truth = ["entailment" if i % 3 else "not_entailment" for i in range(6)]
    right = sum(a == b for a, b in zip(predictions, truth, strict=True))
    assert added["tasks"]["rte"]["score"] == pytest.approx(100 * right / 6)


_BLANKS = """
from clinometer.data.tasks import classes
from clinometer.data.tasks import readers
from clinometer.data.tasks.task import Task

LABELS = ("<extra_id_1> b", "<extra_id_0> a")
TASK = Task(
    name="blanks",
    benchmark=None,
    files={"train": ("blanks.jsonl",), "validation": ("blanks.jsonl",)},
    read=readers.jsonl,
    examples=classes.template("", ["<extra_id_2>"], LABELS),
    labels=LABELS,
    score=classes.score(LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=6,
    sentinels=True,
)
"""


@pytest.mark.slow
def test_a_users_task_has_sentinels(pretrained, tmp_path, capsys):
    """A sentinel is one token, so that a blank and its filling fit in 4 with EOS."""
    (tmp_path / "blanks.py").write_text(_BLANKS)
    row = {"<extra_id_2>": "a", "label": 1}
    (tmp_path / "blanks.jsonl").write_text(6 * f"{json.dumps(row)}\n")
    workdir, task = tmp_path / "run", str(tmp_path / "blanks.py")
    lengths = ("data.encoder_length=8", "data.decoder_length=4")
    learned = ("train_steps=24", "eval.every_steps=24", "schedule.learning_rate=0.1")
    scored = "eval.likelihood=true"
    settings = (*learned, *lengths, scored)
    argv = command(pretrained, tmp_path, workdir, *settings, mixture=task)
    assert finetune.main(argv) == 0
    record = whole_runs.record(workdir)
    taught = record["data"]["tasks"]["blanks"]
    assert (taught["truncated_inputs"], taught["truncated_targets"]) == (0, 0)
    assert taught["majority"] == record["downstream"]["tasks"]["blanks"]["best"] == 100
    likelihood = record["downstream"]["tasks"]["blanks"]["likelihood"]
    assert 50 < likelihood < 100  # Of two answers, it has learned the right one.
    for decoding in ("greedy", "rank"):
        argv = [str(workdir), "--mixture", task, "--batch-size=4", "--json"]
        capsys.readouterr()
        assert evaluation.main([*argv, f"--decoding={decoding}", "--likelihood"]) == 0
        found = json.loads(capsys.readouterr().out)["tasks"]["blanks"]
        assert (found["score"], found["truncated"]) == (100, 0)
        assert found["metrics"]["likelihood"] == pytest.approx(likelihood)


def test_what_cannot_be_recorded_is_printed(finetuned, tmp_path, capsys, caplog):
    """Uses files in the place of folders, which fail even for root."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "checkpoints"):
        (run / name).symlink_to(finetuned / name)
    (run / "evaluation-sample-8").touch()
    (run / "lease").touch()
    before = whole_runs.record(finetuned)
    argv = [str(run), "--decoding=sample", "--json", "--batch-size=4", "--step=8"]
    assert evaluation.main(argv) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]
    assert set(found) == {"rte", "cola"}
    assert f"{run / 'evaluation-sample-8'}: predictions could not be" in caplog.text
    assert f"{run}: scores could not be recorded" in caplog.text
    assert whole_runs.record(finetuned) == before
    with lease.Lease(finetuned):
        assert evaluation.main([str(finetuned), *argv[1:]]) == 43
    captured = capsys.readouterr()
    assert json.loads(captured.out)["tasks"] == found
    assert "not recorded" in captured.err and "is being trained by" in captured.err
    assert whole_runs.record(finetuned) == before


@pytest.mark.slow
def test_several_seeds_and_rates_are_one_command(pretrained, folder, tmp_path, capsys):
    flags = ["--seeds=0 1", "--learning-rates=1e-3 5e-3"]
    argv = command(pretrained, folder, tmp_path, flags=flags, mixture="rte")
    assert finetune.main(argv) == 0
    text = capsys.readouterr().out
    assert "lr 0.005, 2 seeds" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [entry["seeds"] for entry in summary] == [[0, 1], [0, 1]]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        "lr-0.001_seed-0",
        "lr-0.001_seed-1",
        "lr-0.005_seed-0",
        "lr-0.005_seed-1",
    ]


@pytest.mark.slow
def test_packed_rows_train(pretrained, folder, tmp_path):
    argv = command(pretrained, folder, tmp_path / "run", "data.packing=true")
    assert finetune.main(argv) == 0
    assert whole_runs.record(tmp_path / "run")["status"] == "finished"


def refused(capsys, argv, code=1):
    assert finetune.main(argv) == code
    error = capsys.readouterr().err
    assert error.startswith("clinometer finetune: error: "), error
    return error


def test_bad_input_is_refused_before_training(pretrained, folder, tmp_path, capsys):
    def of(*overrides, code=1, **kwargs):
        argv = command(pretrained, folder, tmp_path / "run", *overrides, **kwargs)
        return refused(capsys, argv, code)

    def bad_option(*flags):
        return of(flags=flags, code=2)

    assert "No task or mixture 'rtee' (did you mean 'rte'?)" in of(
        code=2, mixture="rtee"
    )
    assert "has the rate 0" in of(code=2, mixture="rte=0,cola")
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(_BLANKS)
    message = of(mixture=f"{tmp_path / 'a.py'},{tmp_path / 'b.py'}", code=2)
    assert "b.py both declare a task named 'blanks'" in message
    message = of(mixture="boolq")
    assert "boolq" in message and "BoolQ/train.jsonl" in message
    assert "--seeds: got 'one'" in bad_option("--seeds=one")
    assert "--seeds: must be at most" in bad_option("--seeds=0 4294967303")
    assert "--learning-rates: must be positive" in bad_option("--learning-rates=0")
    assert "--learning-rates: must be a finite" in bad_option("--learning-rates=nan")
    assert "eval.decoding: unknown 'best'" in of("eval.decoding=best", code=2)
    assert "has no checkpoint of step 3; it has 4, 8" in bad_option("--steps=3")
    both = ("--steps=4", "--from-scratch")
    assert "--steps: must not be given with --from-scratch" in bad_option(*both)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/predictions").touch()
    assert "run/predictions is a file, not a folder" in of(code=2)
    shutil.rmtree(tmp_path / "run")
    (folder / "bad/RTE").mkdir(parents=True)
    (folder / "bad/RTE/train.tsv").write_text("index\tsentence1\tlabel\n0\ta\tb\n")
    argv = command(pretrained, folder / "bad", tmp_path / "run", mixture="rte")
    assert "train.tsv" in refused(capsys, argv)
    assert not (tmp_path / "run").exists()


def test_evaluation_refuses_bad_input(finetuned, capsys):
    for flag, message in (
        ("--step=first", "got 'first', accepted: a whole number, at least 0, or best"),
        ("--step=" + "9" * 5000, "got "),
        ("--step=1e30", "must be at most 2147483647, got 1"),
        ("--beam-size=0", "must be at least 1, got 0"),
        ("--length-penalty=nan", "must be a finite number, got nan"),
        ("--length-penalty=6", "must be at most 5, got 6"),
        ("--temperature=0", "must be at least 1e-06, got 0"),
        ("--top-p=0", "must be positive, got 0"),
        ("--seed=4294967296", "must be at most 4294967295, got 4294967296"),
        ("--batch-size=18446744073709551616", "must be at most 65536"),
        ("--decoder-length=0", "must be at least 1, got 0"),
        ("--encoder-length=1", "must be at least 2, got 1"),
    ):
        with pytest.raises(SystemExit, match="2"):
            evaluation.main([str(finetuned), flag])
        error = capsys.readouterr().err
        assert f"argument {flag.partition('=')[0]}: {message}" in error
    for flag, message in (
        ("--step=7", "has no checkpoint of step 7; it has"),
        ("--top-k=201", "--top-k: must be at most 200, got 201"),
        ("--beam-size=201", "--beam-size: must be at most 200, got 201"),
        ("--mixture=copaa", "did you mean 'copa'"),
    ):
        assert evaluation.main([str(finetuned), flag]) == 2
        assert message in capsys.readouterr().err
    assert evaluation.main([str(finetuned.parent)]) == 1
    assert "is not a run directory" in capsys.readouterr().err
