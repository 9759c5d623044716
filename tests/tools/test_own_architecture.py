"""Tests every command with the architecture of models/README.md in a separate file."""

import csv
import json
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest

from clinometer.models.architectures import own
from clinometer.tools.study.engines import environment

_SETTINGS = (
    "--config.train_steps=4",
    "--config.data.batch_size=4",
    "--config.data.encoder_length=32",
)


class Shell:
    """Runs commands in a folder that contains the architecture's file."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._environment = environment.of_run(os.environ)
        self._environment[own.VARIABLE] = "averaging.py"

    def __call__(self, *command: str) -> str:
        """Runs a command and returns its output; fails if the command does."""
        done = subprocess.run(
            [sys.executable, "-m", "clinometer.tools.cli", *command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(tmp_path, repo_root):
    readme = (repo_root / "models" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(\"\"\".*?)```", readme, re.DOTALL)[1]
    (tmp_path / "averaging.py").write_text(code, encoding="utf-8")
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=5)) for _ in range(300)]
    text = "".join(" ".join(rng.choices(words, k=60)) + ".\n" for _ in range(300))
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "data" / "RTE").mkdir(parents=True)
    for name in ("train", "dev"):
        rows = [f"{i}\tabcd {i}.\tefg.\tnot_entailment" for i in range(40)]
        head = "index\tsentence1\tsentence2\tlabel"
        (tmp_path / f"data/RTE/{name}.tsv").write_text("\n".join([head, *rows]) + "\n")
    return Shell(tmp_path)


@pytest.mark.slow
def test_every_command_takes_it(shell):
    shell(
        *("tokenize", "text.txt", "--document-per-line", "--output", "store"),
        *("--vocab-size", "400", "--validation-fraction", "0.2"),
    )
    counts = json.loads(shell("count", "--model", "averaging-pico", "--json"))
    vanilla = json.loads(shell("count", "--model", "transformer-pico", "--json"))
    # Without self-attention (4 * 32 * 32) in two layers, and without its bias table.
    less = 2 * 4 * 32 * 32 + 32 * 2
    assert vanilla["params_total"] - counts["params_total"] == less

    shell(
        *("train", "--model", "averaging-pico", "--workdir", "run", *_SETTINGS),
        *("--config.data.store", "store", "--config.model.gain", "0.5"),
    )
    record = json.loads((shell.folder / "run" / "run.json").read_text())
    assert record["config"]["model"] == {
        "name": "averaging-pico",
        "vocab_size": 512,
        "gain": 0.5,
    }
    fine = ("--mixture", "rte", "--data", "data")
    shell(
        *("finetune", "--from", "run", *fine, "--workdir", "fine", *_SETTINGS),
        "--config.data.decoder_length=8",
    )
    scores = json.loads(shell("evaluate", "fine", "--data", "data", "--json"))
    assert list(scores["tasks"]) == ["rte"]

    shell(
        *("study", "--archs", "averaging", "--sizes", "pico", "--seeds", "0"),
        *("--steps", "8", "--store", "store", "--out", "study"),
        *("--learning-rate", "0.006"),
        *("--downstream", "rte", "--data", "data", "--downstream-steps", "4"),
    )
    shell("report", "study")
    with open(shell.folder / "study" / "runs.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "finished" and row["downstream_tasks"] == "rte"
