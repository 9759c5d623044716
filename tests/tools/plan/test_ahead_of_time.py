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
        "transformer-pico", *SMALL, "--topology", "v5e", "--mesh", "model=2", "--json"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    ours, xla = json.loads(finished.stdout)
    assert (ours["implementation"], xla["implementation"]) == ("auto", "reference")
    assert ours["pallas_calls"] > 0 and xla["pallas_calls"] == 0
    assert "relative_attention (forward): tpu" in ours["choices"]
    for record in (ours, xla):
        assert record["topology"] == "v5e:2x2"
        assert record["mesh"] == {"data": 2, "fsdp": 1, "expert": 1, "model": 2}
        # Parameters, Adafactor's moments and the tokens.
        assert record["hbm_temp_bytes"] > 0 and record["hbm_argument_bytes"] > 0


@pytest.mark.skipif(not HAS_COMPILER, reason="libtpu is not installed")
def test_an_unknown_topology_is_one_line():
    finished = run("transformer-pico", *SMALL, "--topology", "v9")
    assert finished.returncode == 2
    assert "known are v2, v3, v4, v5e" in finished.stderr
    finished = run("transformer-pico", *SMALL, "--topology", "v5e", "--mesh", "model=3")
    assert finished.returncode == 2
    assert "model 3 are 3 devices, but there are 4" in finished.stderr


# The papers' batch of 128 x 512 tokens. HBM of a v3 core is 16 GiB, as of a v5e chip.
@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="libtpu is not installed")
@pytest.mark.parametrize("topology", ["v3:4x4", "v5e:4x4"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transformer-xl", ["--mesh=model=8", "--model-field=remat=layer"]),
        ("switch-base", ["--model-field=sequences_per_group=4"]),
    ],
)
def test_the_papers_largest_models_fit(name, options, topology):
    if name == "switch-base":
        options = [*options, f"--mesh=expert={32 if topology == 'v3:4x4' else 16}"]
    finished = run(name, "--topology", topology, *options, "--json")
    assert finished.returncode == 0, finished.stderr[-3000:]
    for record in json.loads(finished.stdout):
        held = record["hbm_argument_bytes"] + record["hbm_temp_bytes"]
        assert held < 16 * 2**30
        if name == "switch-base":
            assert record["collectives"]["all-to-all"] > 0


@pytest.mark.skipif(HAS_COMPILER, reason="libtpu is installed")
def test_without_the_compiler_it_says_so(capsys):
    assert ahead_of_time.main(["transformer-pico"]) == 1
    assert "pip install 'clinometer[tpu]'" in capsys.readouterr().err
