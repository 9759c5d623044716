"""Tests that a step that does not fit is tried with rematerialization."""

import dataclasses

from clinometer.kernels.tpu import chips
from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import recommended
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import table


def _tried(steps, request=compiled.REQUEST):
    """Tries a step; `steps` is what is compiled by policy. Returns the requests too."""
    asked = []

    def make(step):
        asked.append(step)
        found = steps[step.fields.get("remat", "none")]
        if isinstance(found, Exception):
            raise found
        return run_plan.make(step, found, chips.CHIPS["v3"], steps=1000)

    return recommended.tried(request, make(request), make), asked


def _text(record):
    return " ".join(" ".join(table.text([record])).split())


def test_a_step_that_fits_is_not_compiled_again():
    record, asked = _tried({"none": compiled.step()})
    assert record["with_remat"] is None and len(asked) == 1
    assert "--remat" not in _text(record)


def test_it_fits_with_rematerialization():
    steps = {
        "none": compiled.step(reason="Ran out of memory"),
        "layer": compiled.step(temporary_bytes=3 * 2**30),
    }
    record, asked = _tried(steps)
    assert asked[1] == dataclasses.replace(
        compiled.REQUEST, fields={"dtype": "bfloat16", "remat": "layer"}
    )
    told = record["with_remat"]
    assert (told["policy"], told["fits"], told["reason"]) == ("layer", True, None)
    # Arguments and results of 2^20 and 2^10 bytes beside the temporaries.
    assert told["memory"]["total_bytes"] == 3 * 2**30 + 2**20 + 2**10
    assert told["step_seconds"] > 0
    assert not record["fits"] and record["step_seconds"] is None
    assert "it fits with --remat layer: 3.0 GiB," in _text(record)


def test_it_does_not_fit_either():
    reason = compiled.step(reason="Ran out of memory")
    record, _ = _tried({"none": reason, "layer": reason})
    assert not record["with_remat"]["fits"]
    assert "it does not fit with --remat layer either" in _text(record)


def test_a_step_that_has_the_policy_is_not_compiled_again():
    reason = compiled.step(reason="Ran out of memory")
    has_it = dataclasses.replace(compiled.REQUEST, fields={"remat": "layer"})
    record, asked = _tried({"layer": reason}, has_it)
    assert record["with_remat"] is None and len(asked) == 1


def test_the_plan_stands_if_the_second_compilation_is_lost():
    lost = step_compiler.LostError("the compiler ended")
    record, _ = _tried({"none": compiled.step(reason="no memory"), "layer": lost})
    told = record["with_remat"]
    assert (told["fits"], told["reason"]) == (None, "the compiler ended")
    assert "with --remat layer it could not be compiled" in _text(record)
    assert record["reason"] == "no memory"
