"""The command: bad input, a machine without libtpu, and a run where there is one."""

import importlib.util
import json

import pytest

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu_cost import cases
from clinometer.kernels.tpu_cost import compiler
from clinometer.kernels.tpu_cost import topologies
from clinometer.tools import cli

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
    for case in listed:
        assert case.kernel.pass_name == case.pass_name
        assert case.kernel.op == case.op


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
def test_a_report_of_one_operation(tmp_path, capsys):
    out, drawn = tmp_path / "cost.json", tmp_path / "cost.html"
    asked = ["--op", "switch_route", "--pass", "forward", "--topology", "v5e", "--json"]
    assert cli.main(["tpu-cost", *asked, "--out", str(out), "--page", str(drawn)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    for record in printed:
        assert all(key in record for key in NEEDED)
        assert record["compiled"] and record["cycles"] > 1000
        assert record["libtpu_version"] == compiler.libtpu_version()
    assert "<svg" in drawn.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cost.html", "cost.json"]
