"""Tests of `clinometer bench`: records, comparison and errors."""

import copy
import dataclasses
import json

import jax
import pytest

from clinometer.kernels import terminal
from clinometer.kernels.bench import cases
from clinometer.kernels.bench import main as bench
from clinometer.kernels.bench import records
from clinometer.kernels.bench import runner
from clinometer.kernels.bench import timer
from clinometer.kernels.bench import torch_baselines
from clinometer.kernels.cpu import native
from clinometer.tools import cli

_QUICK = ["--quick", "--op", "dynamic_conv", "--rounds", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the benchmark once, quickly; returns its folder."""
    folder = tmp_path_factory.mktemp("bench")
    assert cli.main(["bench", *_QUICK, "--out", str(folder / "new.json")]) == 0
    return folder


@pytest.fixture
def found(run):
    return json.loads((run / "new.json").read_text())


def test_records_hold_what_others_rely_on(found):
    cells = {(r["pass"], r["implementation"]) for r in found}
    names = ("reference", "cpu", "shift-sum", "unfold")
    assert cells == {(p, n) for p in runner.PASSES for n in names}
    for record in found:
        assert record["op"] == "dynamic_conv"
        assert record["shape"] == "b2s64d32h2k7-causal"
        assert record["dtype"] == "float32"
        assert record["median_seconds"] > 0 and record["iqr_seconds"] >= 0
        assert record["rounds"] == 2 and record["threads"] >= 1
        assert record["isa"] == native.active_isa()
        assert record["device"] == "cpu" and record["versions"]["jax"]
        assert 0 <= record["difference"] <= runner.TOLERANCES["float32"]


def test_ratios_are_to_the_best_jnp_form_of_the_same_run(found):
    for pass_name in runner.PASSES:
        seconds = {
            r["implementation"]: r["median_seconds"]
            for r in found
            if r["pass"] == pass_name
        }
        best = min((n for n in seconds if n != "cpu"), key=seconds.get)
        for record in found:
            if record["pass"] == pass_name:
                ratio = seconds[best] / seconds[record["implementation"]]
                assert record["best_reference"] == best
                assert record["ratio_to_best_reference"] == pytest.approx(ratio)


def test_nothing_is_left_beside_the_files(run):
    assert sorted(p.name for p in run.iterdir()) == ["new.json"]


def test_json_alone_goes_to_standard_output(capsys):
    arguments = ["--quick", "--op", "switch_combine", "--pass", "forward", "--json"]
    arguments += ["--implementation", "cpu", "--rounds", "2", "--dtype", "bfloat16"]
    assert bench.main(arguments) == 0
    output = capsys.readouterr()
    names = [r["implementation"] for r in json.loads(output.out)]
    assert names == ["reference", "cpu"]
    assert "median ms" in output.err
    if not torch_baselines.is_installed():
        assert "torch is not installed" in output.err


def test_a_run_is_compared_with_an_older_one(found, capsys, monkeypatch, run, tmp_path):
    monkeypatch.setattr(bench.runner, "run_case", lambda *args: copy.deepcopy(found))
    arguments = [*_QUICK, "--pass", "forward", "--compare"]
    assert bench.main([*arguments, str(run / "new.json")]) == 0
    assert "0 of 8 ratios fell by more than 25%" in capsys.readouterr().out
    for record in found:
        if record["implementation"] == "cpu":
            record["ratio_to_best_reference"] *= 0.7
        if record["implementation"] == "unfold":
            record["ratio_to_best_reference"] *= 0.1  # Not ours: shown only.
    assert bench.main([*arguments, str(run / "new.json")]) == 1
    output = capsys.readouterr().out
    assert "2 of 8 ratios fell" in output and output.count("FELL") == 2
    assert "-30%  FELL  dynamic_conv forward cpu" in output
    assert bench.main([*arguments, str(run / "new.json"), "--tolerance", "31"]) == 0
    other = [{**r, "op": "light_conv"} for r in found]
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert bench.main([*arguments, str(tmp_path / "other.json")]) == 2


def test_other_conditions_are_told(found):
    old = [{**r, "isa": "avx512"} for r in found]
    text, fallen = records.compare(old, found[:3], 0.25, cases.OURS)
    expected = f"note: isa was avx512, is {native.active_isa()}"
    assert fallen == 0
    assert (expected in text) == (native.active_isa() != "avx512")


def test_disagreeing_forms_are_refused(capsys, monkeypatch, tmp_path):
    (case,) = [c for c in _all("float32") if c.op == "dynamic_conv"]
    wrong = {"wrong": lambda x, weights: 1.01 * case.ours("reference")(x, weights)}
    case = dataclasses.replace(case, baselines=wrong)
    monkeypatch.setattr(bench.cases_lib, "cases", lambda **settings: [case])
    arguments = ["--implementation", "wrong", "--out", str(tmp_path / "a.json")]
    assert bench.main([*arguments, "--rounds", "2"]) == 1
    error = capsys.readouterr().err
    assert "dynamic_conv b2s64d32h2k7-causal forward: wrong: differs" in error
    assert not (tmp_path / "a.json").exists()


def test_a_wrong_gradient_is_refused():
    (case,) = [c for c in _all("float32") if c.op == "light_conv"]
    right = case.ours("reference")

    def wrong(x, weights):  # The right value, and one more in the gradient.
        extra = weights.sum()
        return right(x, weights) + extra - jax.lax.stop_gradient(extra)

    case = dataclasses.replace(case, baselines={"wrong": wrong})
    rest = ("float32", ["wrong"], 2, {"threads": 1}, terminal.Line(seconds=60))
    runner.run_case(case, "forward", *rest)
    with pytest.raises(timer.DisagreementError, match="backward: wrong: differs"):
        runner.run_case(case, "forward+backward", *rest)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arguments_are_the_same_at_each_call(dtype):
    for case in _all(dtype):
        first, second = case.arguments(), case.arguments()
        assert all((a == b).all() for a, b in zip(first, second, strict=True))
        assert first[0].dtype == dtype


def test_shapes_are_those_of_the_targets():
    shapes = {(c.op, c.shape) for c in cases.cases(quick=False, dtype="float32")}
    assert shapes >= {
        ("relative_attention", "b8h8s512d64"),
        ("relative_attention", "b8h8s512d64-causal"),
        ("relative_attention", "b1h8s4096d64"),
        ("performer_attention", "b8h8s512d64-causal"),
        ("light_conv", "b8s512d512h8k31-causal"),
        ("light_conv", "b8s512d512h8k7-causal"),
        ("dynamic_conv", "b8s512d512h8k31-causal"),
        ("switch_route", "n4096e32c160"),
        ("switch_layer", "n4096e32c160d512f2048"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "light_con"], "got 'light_con'; accepted: relative_attention, "),
        (["--implementation", "numpy"], "got 'numpy'; accepted for these op"),
        (["--op", "switch_route", "--implementation", "unfold"], "got 'unfold'"),
        (["--out", "/nonexistent/a.json"], "there is no folder /nonexistent"),
        (["--compare", "/nonexistent.json"], "/nonexistent.json: cannot be read"),
    ],
)
def test_bad_input_is_told_before_anything_runs(arguments, message, capsys):
    assert bench.main(["--quick", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("clinometer bench: ") and message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "1"], "must be at least 2, got 1"),
        (["--rounds", "many"], "got 'many'"),
        (["--tolerance", "100"], "must be below 100, got 100"),
        (["--pass", "backward"], "invalid choice: 'backward'"),
        (["--dtype", "float16"], "invalid choice: 'float16'"),
    ],
)
def test_bad_options_are_usage_errors(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "at least one"),
        ('{"op": 1}', "must hold a list"),
        ("[1]", "record 0 has no op"),
        ('[{"op": "a", "pass": "forward"}]', "has no implementation, shape, dtype"),
    ],
)
def test_a_bad_older_file_is_told(tmp_path, text, message):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        records.read(str(path))


def test_a_ratio_must_be_a_number(tmp_path, found):
    path = tmp_path / "old.json"
    path.write_text(json.dumps([{**found[0], "ratio_to_best_reference": "high"}]))
    with pytest.raises(ValueError, match="above 0, got 'high'"):
        records.read(str(path))


def test_without_the_extension_the_error_says_so(monkeypatch, capsys):
    monkeypatch.setattr(bench.wrap, "unavailable", lambda: "it was not built")
    assert bench.main(_QUICK) == 2
    assert "it was not built" in capsys.readouterr().err


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for word in ("ratio", "--compare", "examples:", "switch_layer", "exit codes"):
        assert word in text


def _all(dtype):
    return cases.cases(quick=True, dtype=dtype)
