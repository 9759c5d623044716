"""Tests of `clinometer tpu-cost`: bad input, and runs with and without libtpu."""

import importlib.util
import json

import jax
import pytest

from clinometer.kernels.tpu import chips
from clinometer.tools import cli
from clinometer.tools.plan import compiler
from clinometer.tools.plan import topologies
from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import cases
from clinometer.tools.plan.tpu_cost import steps

# Parts of `switch_layer`, which has a case with gradients.
PARTS = ("switch_dispatch", "switch_combine", "expert_matmul", "expert_feed_forward")
NEEDED = (
    *("op", "pass", "implementation", "shape", "dtype", "topology", "compiled"),
    *("reason", "sim_cycles", "bundles", "vmem_bytes", "hbm_temp_bytes", "spills"),
    *("roofline_cycles", "fraction_of_roofline", "libtpu_version", "status"),
)


def test_topologies_by_chip_and_by_shape():
    assert topologies.resolve("v5e") == (chips.CHIPS["v5e"], "v5e:2x2")
    assert topologies.resolve("v5e:4x4") == (chips.CHIPS["v5e"], "v5e:4x4")
    assert topologies.resolve("7x:2x2x1") == (chips.CHIPS["7x"], "tpu7x:2x2x1")
    assert topologies.resolve("tpu7x")[1] == "tpu7x:2x2x1"


@pytest.mark.parametrize("name", ["v9", "v5e:", "v5e:big", "v5e:0x2", ""])
def test_unknown_topologies_are_told_the_known(name, capsys):
    assert cli.main(["tpu-cost", "--topology", name]) == 2
    said = capsys.readouterr().err
    assert f"got {name!r}; known are v2, v3, v4, v5e, v5p, v6e, 7x" in said


def test_bad_input_is_named(capsys, tmp_path):
    assert cli.main(["tpu-cost", "--op", "attention"]) == 2
    assert "accepted: relative_attention, performer" in capsys.readouterr().err
    assert cli.main(["tpu-cost", "--out", str(tmp_path / "no/x.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    for flag, value in (("--jobs", "0"), ("--timeout", "x"), ("--form", "best")):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["tpu-cost", flag, value])


def test_without_libtpu_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["tpu-cost", "--op", "switch_route"]) == 1
    assert "pip install 'clinometer[tpu]'" in capsys.readouterr().err


def test_cases_have_one_name_each():
    listed = cases.cases()
    assert len({case.key for case in listed}) == len(listed)
    passes: dict[str, set[str]] = {}
    for case in listed:
        passes.setdefault(case.op, set()).add(case.pass_name)
        if isinstance(case, case_lib.CostCase):
            assert case.kernel.pass_name == case.pass_name
            assert case.kernel.op == case.op
    for op, found in passes.items():
        if op not in PARTS:
            assert case_lib.STEP in found, op


@pytest.mark.parametrize("step", steps.steps(), ids=lambda x: " ".join(x.key))
def test_steps_give_what_their_jnp_forms_give(step):
    """All implementations return the output and a gradient of every input."""
    with jax.numpy_rank_promotion("allow"):  # as users have it, and other code
        ours, *others = [
            jax.eval_shape(*_called(case_lib.program(step, name, "bfloat16")))
            for name in step.implementations()
        ]
    outputs = len(ours) - step.num_gradients
    assert outputs >= 1
    for other in others:
        assert len(other) == len(ours)
        # An implementation may have another table or bias as input and gradient.
        assert other[:outputs] == ours[:outputs]
        assert len(ours[outputs:]) == step.num_gradients


def _called(program):
    function, shapes = program
    return function, *shapes


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_a_report_of_one_operation(tmp_path, capsys):
    out, drawn = tmp_path / "cost.json", tmp_path / "cost.html"
    files = ["--out", str(out), "--page", str(drawn)]
    files += ["--markdown", str(tmp_path / "cost.md")]
    asked = ["--op", "switch_route", "--pass", "forward", "--topology", "v5e", "--json"]
    assert cli.main(["tpu-cost", *asked, *files]) == 0
    printed = json.loads(capsys.readouterr().out)
    again = ["tpu-cost", *asked, "--timeout", "90", "--form", "ours"]
    assert cli.main(again) == 0
    (ours,) = json.loads(capsys.readouterr().out)
    assert ours["cycles"] == printed[0]["cycles"]
    assert printed == json.loads(out.read_text())
    for record in printed:
        assert all(key in record for key in NEEDED)
        assert record["compiled"] and record["cycles"] > 1000
        assert record["libtpu_version"] == compiler.libtpu_version()
    assert "<svg" in drawn.read_text()
    written = sorted(p.name for p in tmp_path.iterdir())
    assert written == ["cost.html", "cost.json", "cost.md"]
    assert len((tmp_path / "cost.md").read_text().splitlines()) == 2 + len(printed)
