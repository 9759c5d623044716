"""Tests that the summary has all runs, comparisons of sizes, slopes and paths."""

from clinometer.tests.tools.report import synthetic_study
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
    assert sum("better" in line for line in lines) == 3
    assert "nats per 10x training FLOPs (95 % Student-t interval" in text
    assert str(tmp_path / "report.html") in lines[-2]
