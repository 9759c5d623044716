"""Tests that the README's examples work."""

import contextlib
import io
import re

import pytest

from clinometer.models.counting import counts


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
