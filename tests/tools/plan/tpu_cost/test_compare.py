"""Tests of `tpu-cost --compare`, and that kernels need no more cycles than they did."""

import importlib.util
import json

import pytest

from clinometer.tools import cli
from clinometer.tools.plan.tpu_cost import compare

# Of one operation each, the pass that compiles in a few seconds.
CHECKED = (
    ("relative_attention", "forward"),
    ("performer_attention", "forward"),
    ("light_conv", "forward"),
    ("switch_route", "backward"),
)
CYCLES = "tools/plan/tpu_cost/cycles.json"


def record(op="light_conv", cycles=1000, implementation="tpu", **changes):
    return {
        "op": op,
        "pass": "forward",
        "shape": "b8",
        "dtype": "bfloat16",
        "topology": "v5e:2x2",
        "implementation": implementation,
        "status": "simulated",
        "cycles": cycles,
        "libtpu_version": "0.0.51",
        **changes,
    }


def _text(old, new, tolerance=0.02):
    text, risen = compare.text(old, new, tolerance)
    return " ".join(text.split()), risen


def test_cycles_may_rise_by_the_tolerance_and_no_further():
    old = [record("a"), record("b"), record("c")]
    new = [record("a", 1020), record("b", 1021), record("c", 900)]
    text, risen = _text(old, new)
    assert risen == 1
    assert "1,000 1,020 +2.0% a forward" in text
    assert "1,000 1,021 +2.1% ROSE b forward" in text
    assert "1,000 900 -10.0% c forward" in text
    assert text.endswith("1 of 3 kernels need more cycles by over 2%")


def test_a_kernel_without_cycles_counts_as_risen():
    new = [record(cycles=None, status="failed")]
    text, risen = _text([record()], new)
    assert risen == 1 and "(was simulated, is failed)" in text
    assert _text(new, [record()])[1] == 0  # Nothing was known before.


def test_only_our_kernels_are_compared():
    new = [record(cycles=5000, implementation="reference"), record(), record("new")]
    text, risen = _text([record()], new)
    assert risen == 0 and "1 of 2 kernels are not in the earlier run" in text
    with pytest.raises(ValueError, match="no kernel of the earlier run matches"):
        compare.text([record("other")], new, 0.02)


def test_another_compiler_is_told():
    text, _ = _text([record()], [record(libtpu_version="0.0.60")])
    assert "note: libtpu_version was 0.0.51, is 0.0.60" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "must hold a list"),
        (json.dumps([{**record(), "op": 1} | {"cycles": "many"}]), "got 'many'"),
        (json.dumps([{"op": "light_conv"}]), "record 0 has no pass, shape"),
        (json.dumps([record(implementation="reference")]), "no record of the impl"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_compiled(
    tmp_path, capsys, content, words
):
    path = tmp_path / "old.json"
    path.write_text(content)
    assert cli.main(["tpu-cost", "--compare", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and words in said


def test_the_committed_cycles_are_those_of_all_kernels_on_v5e(repo_root):
    kept = compare.read(str(repo_root / CYCLES))
    assert {(r["op"], r["pass"]) for r in kept} >= set(CHECKED)
    assert {r["topology"] for r in kept} == {"v5e:2x2"}


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_kernels_need_no_more_cycles_than_the_committed_ones(repo_root, capsys):
    for op, pass_name in CHECKED:
        asked = ["--op", op, "--pass", pass_name, "--topology", "v5e"]
        asked += ["--form", "ours", "--compare", str(repo_root / CYCLES)]
        failed = cli.main(["tpu-cost", *asked])
        said = capsys.readouterr().out
        assert not failed, said
        assert "kernels need more cycles" in said
