"""Tests of `clinometer study`: errors, and a study that is stopped and resumed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from clinometer.tools.study import main
from clinometer.tools.study.engines import environment
from clinometer.tools.study.tuning import table


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "study"
    given = ["--dry-run=commands", "--out", str(out), "--learning-rate", "0.006"]
    assert main.main([*given, "--sizes", "PI nl4-na"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "transformer-pico-o1-s100",
        "transformer-pico-o1-s100 fine-tuning",
        "transformer-pico-o2-s200",
        "transformer-pico-o2-s200 fine-tuning",
        "transformer-NL4-NA-o1-s100",
        "transformer-NL4-NA-o1-s100 fine-tuning",
        "transformer-NL4-NA-o2-s200",
        "transformer-NL4-NA-o2-s200 fine-tuning",
    ]
    assert "-m clinometer.train.main" in lines[0]
    assert "--config.schedule.learning_rate=0.006" in lines[0]
    assert "-m clinometer.train.downstream.finetune" in lines[1]
    assert f"--from={out}/runs/transformer-pico-o1-s100" in lines[1]
    assert main.main([*given, "--downstream", ""]) == 0
    assert "finetune" not in capsys.readouterr().out
    assert not out.exists()


def test_without_a_tuned_rate_the_study_says_what_to_do(tmp_path, capsys):
    rates = tmp_path / "rates.json"
    table.write(rates, table.Table())
    out = tmp_path / "study"
    argv = ["--out", str(out), "--rates", str(rates), "--store", "nowhere"]
    for more in ([], ["--dry-run"]):
        assert main.main([*argv, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "--tune" in line and "--learning-rate X" in line
        assert "transformer-DM16-NH1-FF64-PI" in line and "3000 steps" in line
    assert not out.exists()


def test_claims_that_cannot_be_read_are_said_before_anything_runs(tmp_path, capsys):
    argv = ["--out", str(tmp_path / "study"), "--learning-rate", "0.006"]
    assert main.main([*argv, "--config.claims=nowhere.py"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "config.claims: nowhere.py: No such file" in line


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--sizes", "pico nanno"], "did you mean 'nano'"),
        (["--archs", "transfomer"], "transformer"),
        (["--archs", "switch", "--sizes", "NL3-PI"], "switch-NL3-PI: num_encoder_la"),
        (["--archs", "funnel", "--sizes", "NL5-PI"], "funnel-NL5-PI: num_blocks: 2"),
        (["--sizes", "NL99999999999-pico"], "'NL99999999999' must be at most 1024"),
        (["--sizes", "NL1K-DM64K-FF1024K-PI"], "parameters; at most"),
        (["--archs", "switch", "--sizes", "NL3-PI", "--dry-run"], "must be even"),
        (["--store", "nowhere/at/all"], "nowhere"),
        (["--downstream", "rtee"], "did you mean 'rte'"),
        (["--downstream", "rte"], "rte needs the files of its release; give"),
        (["--downstream", "rte", "--data", "nowhere"], "looked for"),
    ],
)
def test_bad_input_is_told_before_anything_runs(tmp_path, capsys, argv, words):
    given = ["--out", str(tmp_path / "study"), "--learning-rate", "0.006"]
    assert main.main([*given, *argv]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "study" / "runs").exists()


def _corpus(path):
    """Tokenizes about 200 kB of random sentences, with one document per line."""
    rng = random.Random(0)
    words = [
        "".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(800)
    ]
    path.write_text(
        "".join(" ".join(rng.choices(words, k=60)) + ".\n" for _ in range(600))
    )


def _rte(folder):
    """Writes a few rows in the format of RTE's release."""
    (folder / "RTE").mkdir(parents=True)
    for name, count in (("train", 200), ("dev", 6)):
        rows = ["index\tsentence1\tsentence2\tlabel"]
        for i in range(count):
            label = "entailment" if i % 2 else "not_entailment"
            rows.append(f"{i}\tabcd {i} efg.\thij {i} ab.\t{label}")
        (folder / f"RTE/{name}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def _python(*arguments, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment.of_run(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **kwargs,
    )


def _wait(condition, process):
    # Two runs start in it, beside other work; only a study that hangs takes longer.
    end = time.monotonic() + 1200
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_real_study_stopped_continued_and_skipped(tmp_path):
    _corpus(tmp_path / "text.txt")
    store = tmp_path / "store"
    tokenize = _python(
        "clinometer.tools.tokenization.main",
        str(tmp_path / "text.txt"),
        "--document-per-line",
        f"--output={store}",
        "--vocab-size=640",
        "--validation-fraction=0.1",
    )
    assert tokenize.wait() == 0, tokenize.stdout.read()

    # A working directory with the names of standard modules and of our folders.
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "train" / "configs").mkdir(parents=True)
    for name in ("random", "json", "types", "queue", "train/configs/pretrain"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit(__file__)")
    out = tmp_path / "study"
    sizes = ("DM16-NH1-FF64-PI", "pico")
    command = [
        "clinometer.tools.study.main",
        f"--out={out}",
        f"--store={store}",
        f"--sizes={' '.join(sizes)}",
        "--learning-rate=0.006",
        "--seeds=0",
        "--downstream=rte",
        f"--data={_rte(tmp_path / 'data')}",
        "--downstream-steps=6",
        "--config.design.margin=0.03",
        "--steps=600",  # Long enough to be stopped midway.
    ]
    first = _python(*command, cwd=elsewhere)
    _wait((out / "study.lock").exists, first)
    second = _python(*command, cwd=elsewhere)
    assert second.wait() == 1
    assert "another study is running" in second.stdout.read()

    logs = [out / "runs" / f"transformer-{s}-s0" / "metrics.jsonl" for s in sizes]

    def has_trained():
        return any(log.exists() and log.read_text().count("\n") > 1 for log in logs)

    _wait(has_trained, first)
    first.send_signal(signal.SIGINT)
    said = first.communicate()[0]
    assert first.returncode == 42, said
    assert "To resume:" in said
    states = [json.loads((log.parent / "run.json").read_text()) for log in logs]
    assert "stopped" in {state["status"] for state in states}

    again = _python(*command, cwd=elsewhere)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    with open(out / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert [row["step"] for row in rows] == ["600"] * 2
    assert [row["downstream_tasks"] for row in rows] == ["rte"] * 2
    assert {row["downstream_score"] for row in rows} <= {
        str(100 * n / 6) for n in range(7)
    }
    settings = json.loads((out / "study.json").read_text())["settings"]
    assert settings["design.margin"] == 0.03
    page = (out / "report.html").read_bytes()
    records = [(log.parent / "run.json").read_bytes() for log in logs]

    third = _python(*command, cwd=elsewhere)
    said = third.communicate()[0]
    assert third.returncode == 0, said
    assert "2 runs: 2 already finished, 0 to do" in said
    assert "2 fine-tunings: 2 already finished, 0 to do" in said
    assert (out / "report.html").read_bytes() == page
    assert [(log.parent / "run.json").read_bytes() for log in logs] == records

    other = _python(*command, "--steps=601")
    assert other.wait() == 1
    assert "train_steps = 600; this one has 601" in other.stdout.read()
