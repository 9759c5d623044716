"""Tests the text of a simulated study against numbers given to it."""

import numpy as np

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import power as power_lib
from clinometer.tools.inference import power_measures
from clinometer.tools.study.power import inputs as inputs_lib
from clinometer.tools.study.power import text

_LEVEL = {
    "equivalent": 0.25,
    "different, negligibly": 0.0,
    "undecided": 0.74,
    "better": 0.003,
    "worse": 0.997,
}


def _power(**changes):
    compared = power_lib.Comparable("b", 0.021, 0.0284, (_LEVEL, _LEVEL), ("worse",))
    gain = power_lib.Gain("b", "d16 to d32", 0.03, (0.025, 0.5), 0.1, 1.0)
    values = {
        "draws": 400,
        "margin": 0.03,
        "effects": (0.0, 0.03),
        "reference": "a",
        "levels": (compared,),
        "gains": (compared,),
        "multipliers": (
            power_lib.Multiplier("b", ((1, 0.5, 2), (1.26, 0.1, np.inf)), 0.5),
        ),
        "crossovers": {"b": (0.0, 0.123)},
        "own_gains": (gain,),
        "steps": (gain,),
        "held_out": power_lib.HeldOut(
            power_measures.HeldOutSize(256, 3.95e13, 2),
            0.0081,
            0.06,
            ({"contradicted": 0.05, "supported": 0, "uninformative": 0.95},) * 2,
            ("supported",),
        ),
        "has_slope": True,
        "unknown": (),
    }
    return power_lib.Power(**{**values, **changes})


def _lines(**changes):
    design = studies.ladder(3, 2)
    told = ("design: one", "margin: two")
    inputs = inputs_lib.Inputs(design, "a", studies.bent(), {}, 0, 0.03, None, told)
    return text.lines(inputs, _power(**changes), 7)


def test_all_families_and_their_numbers():
    lines = _lines()
    assert lines[:2] == ["design: one", "margin: two"]
    # Half a share, 1.96 standard errors of 400 studies.
    assert "400 studies, seed 7; shares are exact to 4.9 points" in lines[2]
    assert max(map(len, lines)) < 110
    cells = [line.split() for line in lines]
    level = ["b", "0.021", "0.028", "0.000", "25", "%", "0", "%", "74", "%"]
    assert cells.count([*level, "<1", "%", ">99", "%"]) == 2
    assert ["b", "0", "%", "12", "%"] in cells
    factor = ["b", "1.00x", "[0.50,", "2.00]", "1.26x,", "unbounded", "50", "%"]
    assert factor in cells
    gain = ["b", "d16", "to", "d32", "0.030", "2", "%", "50", "%", "0.100", "100", "%"]
    assert cells.count(gain) == 2
    assert ["0.030", "(m)", "5", "%", "0", "%", "95", "%"] in cells
    assert "On the curve it gains 0.0081 nats" in " ".join(map(str.strip, lines))
    assert not any("cannot tell" in line for line in lines)
    for words in ('level "worse": all', 'size held out "supported"'):
        assert f"  {words}" in lines


def test_what_cannot_be_told_leads():
    lines = _lines(
        unknown=("order: one",),
        reference=None,
        has_slope=False,
        levels=(),
        gains=(),
        multipliers=(),
        crossovers={},
        held_out=None,
    )
    start = lines.index("This design cannot tell:")
    assert lines[start + 1] == "  order: one"
    told = " ".join(map(str.strip, lines[start:]))
    assert "transformer is not among them" in told
    assert "one sd is assumed for all" in told
    assert not any(line.startswith(("Level", "Outcomes", "Size")) for line in lines)
