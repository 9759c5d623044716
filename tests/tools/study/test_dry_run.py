"""Tests the table of `clinometer study --dry-run`."""

import dataclasses
import re

import pytest

from clinometer.models.counting import counts
from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import compiler
from clinometer.tools.plan import planning
from clinometer.tools.plan import run_plan
from clinometer.tools.study import main

RATE = ["--dry-run", "--learning-rate", "0.006"]
LONG = "DM128-NH8-FF512-EL12-DL4-KV16-PI"


@pytest.fixture(name="dry_run")
def fixture_dry_run(tmp_path, capsys):
    """Returns a function that returns the lines that a dry run prints."""

    def dry_run(*arguments):
        out = tmp_path / "study"
        assert main.main([*RATE, "--out", str(out), *arguments]) == 0
        assert not out.exists()
        return capsys.readouterr().out.splitlines()

    return dry_run


def plans(requests, target, *, steps, jobs, timeout):
    """Takes the place of `planning.plans`, which compiles."""
    assert (jobs, timeout) == (1, 3600)
    return [
        run_plan.make(
            request, compiled.step(), target.chip, steps=steps, prices=target.prices
        )
        for request in requests
    ]


def test_a_row_for_each_run_and_the_total(dry_run):
    head, *lines = dry_run("--sizes", "PI nl4-na", "--steps", "1000")
    assert head.split() == ["run", "parameters", "FLOPs"]
    rows = [re.split(r"  +", line) for line in lines[:5]]
    assert [row[0] for row in rows] == [
        "transformer-pico-o1-s100",
        "transformer-pico-o2-s200",
        "transformer-NL4-NA-o1-s100",
        "transformer-NL4-NA-o2-s200",
        "total of 4 runs",
    ]
    flops = 0
    for model, row in zip(("pico", "NL4-NA"), rows[::2]):
        count = counts.count(
            f"transformer-{model}",
            batch_size=4,
            encoder_length=128,
            decoder_length=29,
            vocab_size=2048,
            trace=False,
        )
        assert row[1] == f"{count.params_total:,}"
        assert float(row[2]) == pytest.approx(1000 * count.flops_train_step, rel=5e-3)
        flops += 2 * 1000 * count.flops_train_step
    assert float(rows[4][1]) == pytest.approx(flops, rel=5e-3)
    text = " ".join(" ".join(lines).split())
    assert "device-hours and cost are unknown without a topology: --topology N" in text
    tuned = sum(
        600
        * counts.count(
            f"transformer-{model}",
            batch_size=8,
            encoder_length=128,
            decoder_length=32,
            vocab_size=2048,
            trace=False,
        ).flops_train_step
        for model in ("pico", "NL4-NA")
    )
    said = f"Fine-tuning study on cloze: 4 runs of 300 steps, {tuned:.2e} FLOPs."
    assert said in text


def test_hours_and_cost_are_those_of_the_plans(dry_run, monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "plans", plans)
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[v3]\nprice_per_chip_hour = 1e6\n')
    arguments = ["--sizes", f"pico {LONG}", "--steps", "1000", "--topology", "v3"]
    head, *lines = dry_run(*arguments, "--prices", str(prices))
    assert head.split() == [
        *("run", "parameters", "FLOPs", "hours", "chip-hours", "cost", "EUR")
    ]
    assert max(map(len, (head, *lines))) <= 80
    # A name that leaves no room is cut in the middle.
    assert re.match(r"transformer-\.\.\.\S*-PI-o1-s100  ", lines[2])
    target = planning.target("v3", None)
    planned = 0.0
    for model in ("transformer-pico", f"transformer-{LONG}"):
        request = dataclasses.replace(
            compiled.REQUEST,
            model=model,
            batch_size=4,
            encoder_length=128,
            decoder_length=29,
            fields={"vocab_size": 2048},
        )
        (record,) = plans([request], target, steps=1000, jobs=1, timeout=3600)
        planned += 2 * record["hours"]
    hours, chips, cost = (float(x.replace(",", "")) for x in lines[4].split()[-3:])
    assert hours == pytest.approx(planned, rel=5e-3)
    # Of 4 chips.
    assert chips == pytest.approx(4 * planned, rel=5e-3)
    assert cost == pytest.approx(4 * 1e6 * planned, rel=5e-3)
    text = " ".join(" ".join(lines).split())
    assert "Hours: on v3:2x2x1, 4 chips, one run at a time; those of" in text
    assert "(tools/plan/VALIDATION.md)" in text
    head, *_ = dry_run(*arguments)
    assert head.split() == ["run", "parameters", "FLOPs", "hours", "chip-hours"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--topology", "v9"], "--topology: got 'v9'; known are v2, v3"),
        (["--topology", "v3", "--prices", "x.toml"], "--prices: x.toml: No such file"),
        (["--prices", "x.toml"], "--prices: needs --topology"),
        (["--dry-run=commands", "--topology", "v3"], "--topology: needs --dry-run"),
        (["--dry-run=text"], "invalid choice: 'text'"),
    ],
)
def test_bad_options_are_one_line(arguments, said, tmp_path, capsys):
    try:
        code = main.main([*RATE, "--out", str(tmp_path / "study"), *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("clinometer study: ") and said in last


def test_without_the_compiler_it_says_which_extra_has_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    given = [*RATE, "--out", str(tmp_path / "study"), "--topology", "v3"]
    assert main.main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'libtpu' is not installed; pip install 'clinometer[tpu]'" in line
