"""Tests `clinometer plan`, which needs libtpu to compile."""

import importlib.util
import json
import math

import pytest

from clinometer.models.counting import counts
from clinometer.tests.kernels import child
from clinometer.tools import cli
from clinometer.tools.plan import compiler

HAS_COMPILER = importlib.util.find_spec("libtpu") is not None
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="libtpu is not installed")
PICO = [
    *("--models", "transformer-pico", "--topology", "v3", "--batch-size", "8"),
    *("--encoder-length", "16", "--decoder-length", "8"),
]
# Every architecture but Switch, which has a mesh of its own.
ARCHITECTURES = (
    *("transformer", "evolved", "universal", "performer", "funnel", "albert"),
    *("mos", "glu", "lconv", "dconv", "mixer"),
)
PRICES = "[v3]\nprice_per_chip_hour = 2\nwatts_per_chip = 250\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path / "cache"))


def plans(capsys, *arguments):
    assert cli.main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@needs_compiler
def test_a_step_is_compiled_once(tmp_path, capsys):
    (tmp_path / "prices.toml").write_text(PRICES)
    prices = ["--prices", str(tmp_path / "prices.toml"), "--steps", "1000"]
    (first,) = plans(capsys, *PICO, *prices)
    assert not first["cached"]
    assert (first["devices"], first["chips"]) == (8, 4)
    assert first["mesh"] == {"data": 8, "fsdp": 1, "expert": 1, "model": 1}
    found = counts.count(
        "transformer-pico",
        batch_size=8,
        encoder_length=16,
        decoder_length=8,
        trace=False,
    )
    assert first["params"] == found.params_total
    assert first["flops_per_device"] == found.flops_train_step / 8
    # Parameters in float32, their second moments (factored where both axes have 128
    # elements), and some hundred bytes.
    arguments = first["memory"]["argument_bytes"]
    assert 4 * found.params_total < arguments < 9 * found.params_total
    assert first["fits"] and first["estimated_cycles"] > 100_000
    # Gradients are summed over the 8 devices in bfloat16 or float32, that of the tied
    # table once for the lookups and once for the logits.
    (reduced,) = first["collectives"].values()
    least = 2 * found.params_total
    assert least <= reduced["payload_bytes"] <= 4 * least
    ring = 2 * 7 / 8 * reduced["payload_bytes"]
    assert reduced["wire_bytes"] == pytest.approx(ring)
    assert first["chip_hours"] == pytest.approx(4000 * first["step_seconds"] / 3600)
    assert first["cost"] == pytest.approx(2 * first["chip_hours"])
    assert first["kwh"] == pytest.approx(first["chip_hours"] / 4)
    (second,) = plans(capsys, *PICO, *prices)
    assert second == first | {"cached": True}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--topology", "v9"], "known are v2, v3, v4, v5e, v5p, v6e, 7x"),
        (["--topology", "v3:4"], "known are v2, v3"),
        (["--gpu", "h100"], "argument --gpu: not allowed with argument --topology"),
        (["--models", ","], "--models: got ','; accepted: NAME,..."),
        (["--models", "transformer-pio"], "did you mean 'pico'?"),
        (["--override", "d_f=7"], "unknown option 'd_f' (did you mean 'd_ff'?)"),
        (["--override", "d_ff"], "--override: got 'd_ff'; accepted: FIELD=VALUE"),
        (["--mesh", "rows=2"], "data, fsdp, expert, model"),
        (["--remat", "all"], "invalid choice: 'all'"),
        (["--prices", "nowhere.toml"], "nowhere.toml: No such file or directory"),
    ],
)
def test_bad_options_are_one_line(changed, said, capsys):
    try:
        code = cli.main(["plan", *PICO, *changed])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("clinometer plan: ") and said in last


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "one of the arguments --topology --gpu is required"),
        (["--gpu", "v100"], "--gpu: got 'v100'; known are a100-40gb, a100, h100"),
        (["--gpu", "h100:9"], "a number up to 8"),
        (["--gpu", "h100", "--fit"], "--fit: not with --gpu"),
    ],
)
def test_bad_gpus_are_one_line(given, said, capsys):
    try:
        code = cli.main(["plan", "--models", "transformer-pico", *given])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("clinometer plan: ") and said in last


def test_prices_of_another_device_are_refused(tmp_path, capsys):
    (tmp_path / "prices.toml").write_text(PRICES.replace("v3", "v4"))
    arguments = [*PICO, "--prices", str(tmp_path / "prices.toml")]
    assert cli.main(["plan", *arguments]) == 2
    assert "has no table [v3]; it has v4" in capsys.readouterr().err


def test_without_the_compiler_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(
        compiler.importlib.util, "find_spec", lambda name: None, raising=True
    )
    assert cli.main(["plan", *PICO]) == 1
    said = capsys.readouterr().err
    assert "'libtpu' is not installed; pip install 'clinometer[tpu]'" in said


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--mesh", "model=3"], "model 3 are 6 devices, but there are 8"),
        (["--batch-size", "9"], "9 is not a multiple of 8"),
        (["--topology", "v3:3x5"], "the compiler has no such topology"),
    ],
)
def test_what_the_devices_do_not_allow_is_one_line(changed, said, capsys):
    assert cli.main(["plan", *PICO, *changed]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("clinometer plan: transformer-pico: ") and said in line


@needs_compiler
@pytest.mark.slow
def test_a_compiler_that_takes_too_long_is_ended(capsys):
    assert cli.main(["plan", *PICO, "--timeout", "1"]) == 1
    said = capsys.readouterr().err
    assert said == "clinometer plan: transformer-pico: not compiled after 1 seconds\n"


@needs_compiler
@pytest.mark.slow
def test_the_kernels_are_inside_and_have_costs(capsys):
    arguments = [*PICO, "--topology", "v5e", "--mesh", "model=2"]
    (record,) = plans(capsys, *arguments)
    assert record["mesh"] == {"data": 2, "fsdp": 1, "expert": 1, "model": 2}
    assert record["pallas_calls"] > 0 and not record["pallas_calls_without_cost"]
    assert record["work_seconds"]["pallas"] > 0
    assert "relative_attention (forward): tpu" in record["choices"]
    (reference,) = plans(capsys, *arguments, "--implementation", "reference")
    assert reference["pallas_calls"] == 0
    assert reference["program"] != record["program"]


@needs_compiler
@pytest.mark.slow
def test_the_papers_models_on_v3(capsys):
    names = [f"transformer-{x}" for x in ("small", "base", "NL36-BA", "large", "xl")]
    options = ["--topology", "v3:4x4", "--models", ",".join(names)]
    found = plans(capsys, *options)
    assert [record["fits"] for record in found] == [True] * 4 + [False]
    assert "Ran out of memory" in found[-1]["reason"]
    assert [record["mesh"]["model"] for record in found] == [1, 1, 1, 2, 8]
    # Layers are scanned, so that a model with more of them has the same program.
    for record in found[:4]:
        assert record["memory"]["total_bytes"] < 16 * 2**30
        assert 0 < record["mfu"] < 1
        assert math.prod(record["mesh"].values()) == record["devices"] == 32
    deep, shallow = found[2], found[1]
    assert deep["estimated_cycles"] == pytest.approx(
        3 * shallow["estimated_cycles"], rel=0.1
    )


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v3:4x4", "v5e:4x4"])
def test_the_largest_models_fit(capsys, topology):
    options = ["--topology", topology]
    (xl,) = plans(capsys, *options, "--models", "transformer-xl", "--remat", "layer")
    assert xl["fits"] and xl["mesh"]["model"] == 8
    (switch,) = plans(
        capsys,
        *(*options, "--models", "switch-base"),
        *("--mesh", f"expert={xl['devices']}", "--override", "sequences_per_group=4"),
    )
    assert switch["fits"] and switch["collectives"]["all-to-all"]["count"] > 0


@needs_compiler
@pytest.mark.slow
def test_all_architectures_at_base_on_v5e(capsys):
    names = ",".join(f"{name}-base" for name in ARCHITECTURES)
    for record in plans(capsys, "--topology", "v5e:4x4", "--models", names):
        assert record["fits"] or "Ran out of memory" in record["reason"]
        if record["fits"]:
            assert 0 < record["mfu"] < 1
            ours = any(": tpu" in choice for choice in record["choices"])
            assert ours == (record["pallas_calls"] > 0)
            assert not record["pallas_calls_without_cost"]


def test_the_command_runs_as_a_module():
    finished = child.run(
        "import sys; from clinometer.tools.plan import main; "
        "sys.exit(main.main(['--models', 'transformer-pico', '--topology', 'v9']))"
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("clinometer plan: --topology: got 'v9'")
