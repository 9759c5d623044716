"""Tests the tables of findings: every number is shown, and what is unknown is said."""

import dataclasses

from clinometer.tools.inference import crossover
from clinometer.tools.inference import design
from clinometer.tools.inference import multiplier
from clinometer.tools.report import findings
from clinometer.tools.report import study_page
from clinometer.tools.report.grids import found as found_lib

_PICO = design.Cell("transformer", 32, 3e11, "pico")
_MILLI = design.Cell("transformer", 128, 4e12, "milli")
_FACTOR = multiplier.Factor(1.6, 1.0, 2.9, None)
_UNBOUNDED = multiplier.Factor(3.0, 0.0, float("inf"), (0.2, 0.9))


def _text(found):
    compared = [one for one in found.compared if one.level is not None]
    grids = (
        found_lib.gains(found.gains),
        found_lib.means(found.sizes),
        found_lib.steps(found.steps),
        found_lib.levels(compared),
        found_lib.factors([one for one in compared if one.multiplier]),
    )
    return "\n".join(
        f"[{cell.shown}]" for grid in grids for row in grid.body for cell in row
    )


def _compared(**changes):
    fields = {
        "architecture": "glu",
        "ends": (3e11, 4e12),
        "level": findings.Judged(findings.Estimate(0.02, 0.01, 0.03), "worse"),
        "gain": findings.Judged(findings.Estimate(-0.01, -0.04, 0.02), "undecided"),
        "crossing": crossover.Crossover(
            "glu", 0.01, 0.03, 0.7, crossover.Crossing.NONE
        ),
        "multiplier": multiplier.Multiplier("glu", _FACTOR, _FACTOR, _UNBOUNDED),
    }
    return findings.Compared(**(fields | changes))


def _findings(**changes):
    fields = {
        "notes": ("A <note>.",),
        "steps": (findings.SizeStep(_PICO, _MILLI, 0.3, 0.01, 0.0004),),
        "compared": (_compared(),),
    }
    return findings.Findings(**(fields | changes))


def test_comparisons_with_an_unbounded_multiplier():
    text = _text(_findings())
    for words in ("+0.0200", "+0.0100 to +0.0300", "worse", "undecided"):
        assert words in text
    assert "1.6× [1.0, 2.9]" in text
    assert "unbounded: any factor fits but those from 0.20 to 0.90" in text
    assert "no change of sign between the ends" in text and "0.700" in text
    assert "<0.001" in text and "yes" in text


def test_architectures_have_their_names_for_readers():
    name = "albert"
    pico = dataclasses.replace(_PICO, architecture=name)
    found = _findings(
        steps=(findings.SizeStep(pico, _MILLI, 0.3, 0.01, 0.0004),),
        compared=(_compared(architecture=name),),
    )
    text = _text(found)
    assert text.count("[ALBERT]") == 3 and "albert" not in text


def test_the_margin_stands_beside_the_last_step():
    text = study_page.margin_note(_findings(margin=0.027))
    assert (
        "Margin, committed before the runs: 0.0270 nats; the last step of transformer, "
        "from pico to milli, is +0.3000"
    ) in text
    text = study_page.margin_note(_findings())
    assert "No margin was committed before the runs" in text


def test_what_is_unknown():
    level = findings.Judged(findings.Estimate(0.02), None)
    text = _text(
        _findings(
            steps=(findings.SizeStep(_PICO, _MILLI, 0.3),),
            sizes=(findings.Size(_PICO, 1, 1, findings.Estimate(4.2), None),),
            gains=(findings.Gain("transformer", None, None, None, None, "one size"),),
            compared=(
                _compared(level=level, gain=level, crossing=None, multiplier=None),
                findings.Compared("mos", reason="mos has 2 sizes"),
            ),
        )
    )
    assert text.count("[error unknown]") == 3
    assert "one size" in text and "4.2000" in text
