"""A converted t5-small on real rows of GLUE and SuperGLUE, with T5's vocabulary.

The rows and the vocabulary are not in the repository. They are looked for in
`shared/data` beside it or beside a folder above it.
"""

import json
import shutil

import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools import cli
from clinometer.train import initial

# Row files there -> places of the official releases.
_ROWS = {
    "superglue/BoolQ/val.jsonl": "BoolQ/val.jsonl",
    "superglue/CB/val.jsonl": "CB/val.jsonl",
    "glue/RTE/dev.tsv": "RTE/dev.tsv",
}


@pytest.fixture
def shared(repo_root):
    for folder in repo_root.parents:
        if (folder / "shared" / "data" / "t5" / "spiece.model").is_file():
            return folder / "shared" / "data"
    pytest.skip("needs T5's vocabulary and rows of the tasks in shared/data")


@pytest.mark.slow
def test_t5_small_is_evaluated_on_real_rows(shared, tmp_path, capsys):
    release = tmp_path / "t5-small"
    shutil.copytree(shared / "t5" / "t5-small", release)
    shutil.copy(shared / "t5" / "spiece.model", release)
    for path in (release, *release.iterdir()):  # The originals are read-only.
        path.chmod(0o755)
    config = json.loads((release / "config.json").read_text())
    rng = np.random.default_rng(0)
    drawn = {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in hub.shapes(config).items()
    }
    weights = hub.packed(*hub.header(drawn))
    (release / "model.safetensors").write_bytes(weights)
    run = tmp_path / "run"
    assert cli.main(["convert", "--from", str(release), "--to", str(run)]) == 0
    record = initial.read_record(run)
    assert record.model == "transformer-small"
    # 27 rows fewer than the published 60,506,624 of a table of 32,128 rows.
    assert record.counts.params_total == 60_506_624 - 27 * 512

    data = tmp_path / "data"
    for there, here in _ROWS.items():
        (data / here).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / there, data / here)
    tasks = ["boolq", "cb", "rte"]
    command = ["evaluate", str(run), "--mixture", ",".join(tasks), "--data", str(data)]
    small = ["--encoder-length", "64", "--decoder-length", "6", "--batch-size", "4"]
    capsys.readouterr()
    assert cli.main([*command, *small, "--max-examples", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(printed["tasks"]) == tasks
    for name in tasks:
        assert printed["tasks"][name]["examples"] == 4
        assert 0 <= printed["tasks"][name]["score"] <= 100
        lines = (run / "evaluation-greedy-0" / f"{name}.jsonl").read_text().splitlines()
        assert len(lines) == 4
    assert len(initial.read_record(run).evaluations) == 1
