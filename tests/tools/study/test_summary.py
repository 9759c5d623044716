"""Tests that the summary has all runs, gains, comparisons, claims and paths."""

import pathlib

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tools.report import build
from clinometer.tools.study import summary


def test_says_what_there_is_to_say(tmp_path):
    synthetic_study.write_study(tmp_path)
    text = summary.render(build.build(tmp_path))
    lines = text.splitlines()
    # Smallest first; losses as the records have them.
    assert [line.split()[0] for line in lines[1:6]] == [
        "transformer-pico-s0",
        "transformer-pico-s1",
        "transformer-nano-s0",
        "transformer-micro-s0",
        "transformer-milli-s0",
    ]
    loss = synthetic_study.record("milli")["metrics"]["validation/loss"]
    assert f"{loss:.4f}" in lines[5]
    assert sum(line.endswith(", better") for line in lines) == 3
    gain = synthetic_study.record("pico", 0.5)["metrics"]["validation/loss"] - loss
    assert f"transformer: +{gain:.4f} (" in text
    assert " nats from pico to milli, +" in text
    assert "Note: All runs share one order of the data" in text
    assert "Note: No claims were written down before the runs" in text
    assert str(tmp_path / "report.html") in lines[-2]


def test_what_is_unknown_is_said(tmp_path):
    losses = {
        (name, size, 0, 0): 4.5 + sign * 0.1 * i
        for name, sign in (("transformer", 1), ("glu", -1))
        for i, size in enumerate(("pico", "nano"))
    }
    synthetic_study.write_losses(tmp_path, losses)
    lines = summary.render(build.build(tmp_path)).splitlines()
    assert "glu nano vs. pico: loss lower by 0.1000, error unknown" in lines
    assert "transformer nano vs. pico: loss higher by 0.1000, error unknown" in lines
    assert any(
        line.startswith("glu vs. transformer at equal training FLOPs: not compared: ")
        and "needs 3 or more sizes" in line
        for line in lines
    )
    assert any(line.startswith("Note: The error between runs") for line in lines)


def test_claims_are_printed(tmp_path):
    claims = pathlib.Path(example_claims.PATH).read_bytes()
    synthetic_study.write_study_with_claims(tmp_path, claims)
    text = summary.render(build.build(tmp_path))
    assert "supported: vanilla gains with size (gain 0.3" in text
