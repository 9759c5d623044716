"""Tests the parser of compiled modules with programs written by hand."""

import pytest

from clinometer.tests.tools.plan import programs
from clinometer.tools.plan import hlo_text

BOUND = "%bound = s32[] constant(12)"


def fusions(module):
    return {x.name: n for _, x, n in module.reached() if x.opcode == "fusion"}


def test_what_is_in_a_loop_runs_as_often_as_the_loop_turns():
    module = hlo_text.parse(programs.LOOP)
    assert fusions(module) == {"fusion.1": 12, "fusion.2": 12, "fusion.3": 1}
    assert module.unknown_loops == 0


def test_a_known_trip_count_comes_before_the_bound_in_the_condition():
    known = 'body=%body, backend_config={"known_trip_count":{"n":"5"}}'
    module = hlo_text.parse(programs.LOOP.replace("body=%body\n", f"{known}\n"))
    assert fusions(module)["fusion.1"] == 5


def test_a_loop_of_unknown_length_counts_once_and_is_counted():
    module = hlo_text.parse(programs.LOOP.replace(BOUND, "%bound = s32[] parameter(1)"))
    assert fusions(module)["fusion.1"] == 1
    assert module.unknown_loops == 1


def test_the_parts_of_a_statement():
    module = hlo_text.parse(programs.LOOP)
    found = {x.name: x for x in module.computations["body"]}
    reduce = found["all-reduce.1"]
    assert (reduce.type, reduce.opcode) == ("bf16[4,8]{1,0}", "all-reduce")
    assert reduce.operands == ("fusion.1",)
    assert reduce.called == ["add"]
    assert "metadata" not in reduce.attributes and "metadata" in reduce.line
    assert found["next"].type == "(s32[], bf16[4,8]{1,0})"


def test_a_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        hlo_text.parse(programs.LOOP.replace("ENTRY ", ""))
