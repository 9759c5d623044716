"""Tests that the examples in README files work."""

import contextlib
import io
import re

import pytest

from clinometer.models.counting import counts
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import records
from clinometer.tools.study.claims import file as claims_file
from clinometer.tools.study.claims import verdicts


@pytest.mark.slow
def test_the_library_snippet_runs_as_written(repo_root):
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    assert names["logits"].shape == (1, 3, 1024)
    assert names["tokens"].shape == (1, 64)
    assert int(printed.getvalue()) == counts.count("transformer-xxl").params_total


def test_the_example_of_claims_runs_as_written(repo_root, tmp_path):
    text = (repo_root / "tools/README.md").read_text(encoding="utf-8")
    codes = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (code,) = (code for code in codes if "runs.design()" in code)
    (tmp_path / "claims.py").write_text(code, encoding="utf-8")
    source = claims_file.read(tmp_path / "claims.py")
    for name, shift in (("transformer", 0.0), ("glu", -0.06)):
        for i, size in enumerate(synthetic_study.SIZES):
            for seed in range(2):
                record = synthetic_study.record(
                    size,
                    seed,
                    name,
                    config__study={"role": "final", "claims": source.sha256},
                    **{"metrics__validation/loss": 4.5 - 0.1 * i + shift + 0.01 * seed},
                )
                folder = tmp_path / "runs" / f"{name}-{size}-s{seed}"
                synthetic_study.write_run(folder, record)
    judgement = verdicts.of_folder(
        tmp_path, records.load_runs(tmp_path), synthetic_study.rows(tmp_path)
    )
    outcomes = {one.claim.name: one.verdict.outcome for one in judgement.claims}
    assert outcomes == {"gain": "supported", "glu": "supported"}
    assert judgement.margin == 0.027
