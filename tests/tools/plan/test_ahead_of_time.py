"""Tests that whole train steps compile for TPUs."""

import importlib.util
import json

import pytest

from clinometer.tests.kernels import child
from clinometer.tools.plan import ahead_of_time

SMALL = ["--batch-size", "8", "--encoder-length", "64", "--decoder-length", "32"]
HAS_COMPILER = importlib.util.find_spec("libtpu") is not None


def run(*arguments):
    """Runs the command in its own process, since a process loads libtpu only once."""
    code = "import sys; from clinometer.tools.plan import ahead_of_time as a; " + (
        f"sys.exit(a.main({[*arguments]!r}))"
    )
    return child.run(code)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="libtpu is not installed")
def test_a_step_over_four_chips_compiles_with_the_kernels_inside():
    finished = run(
        "transformer-pico", *SMALL, "--topology", "v5e", "--head-parts", "2", "--json"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    ours, xla = json.loads(finished.stdout)
    assert (ours["implementation"], xla["implementation"]) == ("auto", "reference")
    assert ours["pallas_calls"] > 0 and xla["pallas_calls"] == 0
    assert "relative_attention (forward): tpu" in ours["choices"]
    for record in (ours, xla):
        assert record["topology"] == "v5e:2x2" and record["head_parts"] == 2
        # Parameters, Adafactor's moments and the tokens, replicated on each chip.
        assert record["hbm_temp_bytes"] > 0 and record["hbm_argument_bytes"] > 0


@pytest.mark.skipif(not HAS_COMPILER, reason="libtpu is not installed")
def test_an_unknown_topology_is_one_line():
    finished = run("transformer-pico", *SMALL, "--topology", "v9")
    assert finished.returncode == 2
    assert "known are v2, v3, v4, v5e" in finished.stderr
    finished = run("transformer-pico", *SMALL, "--topology", "v5e", "--head-parts", "3")
    assert "head_parts: must divide the 4 chips of v5e:2x2, got 3" in finished.stderr


@pytest.mark.skipif(HAS_COMPILER, reason="libtpu is installed")
def test_without_the_compiler_it_says_so(capsys):
    assert ahead_of_time.main(["transformer-pico"]) == 1
    assert "pip install 'clinometer[tpu]'" in capsys.readouterr().err
