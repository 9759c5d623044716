"""Tests the cost of compiled programs that are written by hand."""

import pytest

from clinometer.tests.tools.plan import programs
from clinometer.tools.plan import step_cost
from clinometer.tools.plan.step_cost import Collective


def test_cycles_and_bytes_count_as_often_as_their_loop_turns():
    cost = step_cost.read(programs.LOOP)
    assert cost.cycles == 12 * (1000 + 70) + 30
    assert cost.estimates == 3
    payload = 12 * 4 * 8 * 2
    wire = pytest.approx(payload * 2 * 7 / 8)
    assert cost.collectives == {"all-reduce": Collective(12, payload, wire)}
    assert cost.wire_bytes == wire
    assert (cost.pallas_calls, cost.unknown_loops) == ({}, 0)


def test_an_all_reduce_inside_of_a_fusion_that_slices_it_is_a_reduce_scatter():
    cost = step_cost.read(programs.exchange())
    payload = 36 * 16 * 4
    found = Collective(1, payload, pytest.approx(payload / 2))
    assert cost.collectives == {"reduce-scatter": found}


@pytest.mark.parametrize(
    ("statement", "kind", "payload", "wire"),
    [
        # Groups of 4 in all the forms that the compiler writes.
        (
            "%x = bf16[400]{0} all-gather(%b), replica_groups=[4,4]<=[16]",
            *("all-gather", 4 * 200, 3 * 200),
        ),
        (
            "%x = bf16[100]{0} all-to-all(%b), replica_groups={{0,4,8,12},{1,5,9,13}}",
            *("all-to-all", 200, 150),
        ),
        (
            "%x = bf16[25]{0} reduce-scatter(%b), "
            "replica_groups=mesh['x'=4,'y'=4] {'y'}, to_apply=%add",
            *("reduce-scatter", 200, 150),
        ),
        (
            "%x = bf16[100]{0} all-reduce(%b), "
            "replica_groups=mesh['x'=2,'y'=8] {'x','y':(1)2}, to_apply=%add",
            *("all-reduce", 200, 300),
        ),
        # Of a pair, the operand counts, not the tuple of operand and result.
        (
            "%x = (bf16[100]{0}, bf16[400]{0}) all-gather-start(%b), "
            "replica_groups=[4,4]<=[16]",
            *("all-gather", 4 * 200, 3 * 200),
        ),
        (
            "%x = bf16[100]{0} collective-permute(%b), source_target_pairs={{0,1}}",
            *("collective-permute", 200, 200),
        ),
        # Several operands.
        (
            "%x = (f32[36,16]{1,0}, bf16[100]{0}) all-reduce(%a, %b), "
            "replica_groups=[4,4]<=[16], to_apply=%add",
            *("all-reduce", 36 * 16 * 4 + 200, 1.5 * (36 * 16 * 4 + 200)),
        ),
    ],
)
def test_bytes_of_each_kind_of_collective(statement, kind, payload, wire):
    plain = step_cost.read(programs.exchange()).collectives
    found = dict(step_cost.read(programs.exchange(statement)).collectives)
    if kind in plain:
        (before,) = plain.values()
        payload, wire = payload + before.payload_bytes, wire + before.wire_bytes
    assert found[kind].payload_bytes == payload
    assert found[kind].wire_bytes == pytest.approx(wire)


def test_groups_in_an_unknown_form_are_an_error():
    text = programs.exchange("%x = bf16[100]{0} all-reduce(%b), replica_groups=#7")
    with pytest.raises(ValueError, match="groups are not known: %x = bf16"):
        step_cost.read(text)


def test_pallas_calls_are_counted_by_name():
    call = (
        '%kernel.1 = bf16[4,8]{1,0} custom-call(%value), custom_call_target="tpu_'
        'custom_call"'
    )
    text = programs.LOOP.replace("  %fusion.1 =", f"  {call}\n  %fusion.1 =")
    assert step_cost.read(text).pallas_calls == {"kernel.1": 12}


@pytest.mark.parametrize(
    ("type_", "size"),
    [
        ("f32[2,3]{1,0:T(8,128)}", 24),
        ("bf16[]", 2),
        ("pred[7]", 7),
        ("s4[10]", 10),  # The compiler unpacks it.
        ("(u8[3], f8e4m3fn[5], s64[2])", 3 + 5 + 16),
        ("token[]", 0),
    ],
)
def test_sizes_of_types(type_, size):
    assert step_cost.size(type_) == size
