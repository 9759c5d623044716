"""Tests the parser of compiler dumps with stored dumps of a small program.

`testdata` contains the dumps of libtpu 0.0.51 for v5e of a program with two Pallas
calls (one reads HBM, one VMEM), two equal copies and a loop with five iterations. Long
lines were cut.
"""

import pytest

from clinometer.tests.tools.plan import stored
from clinometer.tools.plan import dumps
from clinometer.tools.plan import hlo

# From an XLA gather: a loop of 33 iterations contains a loop with unknown trip count,
# which contains two more; the second begins where the first ends. "{}" are delay slots.
NESTED = """\
LB: loop body
= control target key end

     0   :  { %s11_s9 = smov.u32 0 }
   0x1 LB: > { %11090 = sst [smem:[#allocation4_spill]] }
   0x2   :  {}
   0x3 LB: >> { %s11094_s29 = sld [smem:[#allocation6_spill]] }
   0x4   :  {} /* End region 38 */
   0x5 LB: >>> { %v6608_v58 = vld [vmem:[%s9703_s1] sm:$0xff] }
   0x6   : >>> { %p1 = scmp.ge.s32.totalorder %s1_s1, 4 /* loop exit test */ }
   0x7 LB: >>> { %v6695_v41 = vld [vmem:[%s9719_s27] sm:$0xff] /*
base_bounds: (1, 1) */ }
   0x8   : >>> { %p2 = scmp.ge.s32.totalorder %s2_s2, 7 /* loop exit test */ }
   0x9 PF: >> { %s11109_s6 = sand.u32 31, %s6597_s20 }
   0xa PF: > { %s11113_s7 = sld [smem:[#allocation4_spill]] }
   0xb   : > { %p8_p11 = scmp.ge.s32.totalorder %s11_s9, 33 /* loop exit test */ }
   0xc   :  {}
   0xd   :  { %27 = vsyncpa [#allocation6], 1 } /* exit bundle: %gather_fusion */
"""


def test_bundles_are_counted_as_often_as_their_loops_turn():
    found = dumps.schedule(NESTED)
    # The delay slots at 0x2 and 0x4 have the smaller depth of their neighbors.
    assert found.trips == (
        *(1, 33, 33, 33, 33),
        *(33 * 4, 33 * 4, 33 * 7, 33 * 7),
        *(33, 33, 33, 1, 1),
    )
    assert found.unknown_loops == 1
    assert found.total == 3 + 7 * 33 + 2 * 33 * 4 + 2 * 33 * 7


def test_every_instruction_of_a_program_has_its_cost():
    cycles = dumps.simulated(stored.SIMULATION)
    lines = {line.name: line for line in dumps.read(stored.BUNDLES, cycles)}
    seen = {
        name: (x.kind, x.times, x.cost.bundles, x.cost.sim_cycles)
        for name, x in lines.items()
    }
    assert seen == {
        "scale.2": ("pallas", 1, 303, 2580),
        "scale.3": ("pallas", 1, 163, 118),
        "reduce_sum.7": ("xla", 1, 48, 1219),
        "rev.3": ("xla", 5, 11, 137),  # in the loop
        "sin.3": ("xla", 5, 72, 98),
        "copy": ("copy", 2, 96, 996),  # copy.1 is equal, and has no files
        "broadcast_add_fusion": ("xla", 1, 36, 35),
    }
    # [256, 128] of float32 read from HBM; from VMEM to HBM; from VMEM to VMEM.
    assert lines["scale.2"].hbm_bytes == lines["copy"].hbm_bytes == 256 * 128 * 4
    assert lines["scale.3"].hbm_bytes == 0
    # Also an asynchronous copy of x, and one of a row.
    assert dumps.hbm_bytes(stored.BUNDLES) == 4 * 256 * 128 * 4 + 512
    # A grid of 4 runs 6 iterations, since its pipeline fills and drains.
    scale = lines["scale.3"].cost
    assert scale.static_bundles == 33
    assert scale.bundles == 26 * 6 + 7
    assert scale.capacity["valu"] == 4 and scale.capacity["eup"] == 1
    assert scale.slots["vstore"] == 6 * 8
    assert (scale.spills, scale.fills) == (0, 0)
    # Two [64, 128] float32 buffers of inputs, and three of the outputs' size.
    assert scale.vmem_bytes == 36864


def test_without_a_simulation_only_bundles_are_known():
    lines = dumps.read(stored.BUNDLES, {})
    assert {line.cost.sim_cycles for line in lines} == {None}


def test_spills_and_fills_are_columns_of_the_utilization():
    table = dumps.utilization(
        "== CAPACTIY:\nMATMUL, MATPUSH\n    4 4 3 4 2 1 3 3 1 1 2\n== UTILIZATION:\n"
        "0 0 0 1 0 0 1 2 0 0 0\n0 0 0 2 0 0 0 0 0 1 2\n"
    )
    assert dict(zip(dumps.SLOTS, table.capacity))["vload"] == 3
    assert [row[dumps.SLOTS.index("fill")] for row in table.rows] == [2, 0]
    assert [row[dumps.SLOTS.index("spill")] for row in table.rows] == [0, 1]
    with pytest.raises(ValueError, match="11 columns"):
        dumps.utilization("1 2 3\n")


def test_an_allocation_counts_once_however_often_it_is_named():
    text = (
        "  #allocation0 [shape = 'u32[2048]{0}', space=vmem, size = 0x2000, scoped]\n"
        "  #allocation1 [shape = 's32[1]{0}', space=sflag, size = 0x4, scoped]\n"
        "  #allocation0 [shape = 'u32[2048]{0}', space=vmem, size = 0x2000, scoped]\n"
        "  #allocation2 [shape = 'u8[512]{0}', space=vmem, size = 1024, scoped]\n"
    )
    assert dumps.allocations(text) == {"vmem": 0x2000 + 1024, "sflag": 4}


def test_missing_or_strange_files_are_an_error(tmp_path):
    with pytest.raises(
        ValueError, match="one file \\*-TLP-hlo.txt in the dump, found 0"
    ):
        dumps.read(tmp_path, {})
    for path in stored.BUNDLES.iterdir():
        text = path.read_text()
        if path.name.endswith("utilization.txt"):
            text += "0 " * len(dumps.SLOTS) + "\n"
        (tmp_path / path.name).write_text(text)
    with pytest.raises(ValueError, match="bundles"):
        dumps.read(tmp_path, {})


def test_loops_turn_as_often_as_they_say():
    text = next(stored.BUNDLES.glob("*hlo.txt")).read_text()
    times = {x.name: x.times for x in hlo.instructions(text)}
    assert times["sin.3"] == 5 and times["scale.2"] == 1
    told = text.replace(
        "body=%wide.region_1.3.sunk",
        'body=%wide.region_1.3.sunk, backend_config={"known_trip_count":{"n":"12"}}',
    )
    times = {x.name: x.times for x in hlo.instructions(told)}
    assert times["sin.3"] == 12


def test_equal_work_is_found_under_other_names():
    text = next(stored.BUNDLES.glob("*hlo.txt")).read_text()
    equal = {x.name: set(x.equal) for x in hlo.instructions(text)}
    assert equal["copy.1"] == equal["copy"] == {"copy", "copy.1"}
    assert equal["broadcast_add_fusion"] == {"broadcast_add_fusion"}
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.instructions("HloModule nothing\n")


HBM = """\
HloModule some

%fused (p.0: bf16[8,64,128], p.1: s32[]) -> bf16[1,64,128] {
  %p.0 = bf16[8,64,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %p.1 = s32[]{:T(128)} parameter(1)
  ROOT %part = bf16[1,64,128]{2,1,0:T(8,128)(2,1)S(1)} dynamic-slice(%p.0, %p.1)
}

%updated (q.0: f32[32,128], q.1: f32[2,128], q.2: s32[]) -> f32[32,128] {
  %q.0 = f32[32,128]{1,0} parameter(0)
  %q.1 = f32[2,128]{1,0:S(1)} parameter(1)
  %q.2 = s32[]{:T(128)} parameter(2)
  ROOT %in_place = f32[32,128]{1,0} dynamic-update-slice(%q.0, %q.1, %q.2)
}

%nested (n.0: f32[32,128], n.1: s32[]) -> f32[1,128] {
  %n.0 = f32[32,128]{1,0} parameter(0)
  %n.1 = s32[]{:T(128)} parameter(1)
  ROOT %row = f32[1,128]{1,0} dynamic-slice(%n.0, %n.1)
}

%more (s.0: f32[32,128], s.1: s32[], s.2: f32[8,128]) -> (f32[8,128], f32[128]) {
  %s.0 = f32[32,128]{1,0} parameter(0)
  %s.1 = s32[]{:T(128)} parameter(1)
  %s.2 = f32[8,128]{1,0} parameter(2)
  %one = f32[1,128]{1,0} fusion(%s.0, %s.1), kind=kLoop, calls=%nested
  %flat = f32[128]{0} bitcast(%one)
  %put = f32[8,128]{1,0} dynamic-update-slice(%s.2, %one, %s.1)
  ROOT %both = (f32[8,128]{1,0}, f32[128]{0}) tuple(%put, %flat)
}

ENTRY %main (w: bf16[8,64,128], b: f32[32,128], i: s32[]) -> f32[32,128] {
  %w = bf16[8,64,128]{2,1,0:T(8,128)(2,1)} parameter(0)
  %b = f32[32,128]{1,0} parameter(1)
  %i = s32[]{:T(128)} parameter(2)
  %early = (bf16[8,64,128]{2,1,0:S(1)}, bf16[8,64,128]{2,1,0}, u32[]{:S(2)}) \
copy-start(%w), cross_program_prefetch_index=0
  %some = ((bf16[8,64,128]{2,1,0}), bf16[2,64,128]{2,1,0:S(1)}, s32[]{:S(2)}) \
slice-start(%w), slice={[0:2], [0:64], [0:128]}
  %of_eight = bf16[1,64,128]{2,1,0:S(1)} fusion(%w, %i), kind=kLoop, calls=%fused
  %few = f32[2,128]{1,0:S(1)} slice(%b), slice={[0:2], [0:128]}
  %twice = f32[32,128]{1,0} add(%b, %b)
  %bits = pred[32,128]{1,0} compare(%b, %twice), direction=LT
  %acc = f32[8,128]{1,0} slice(%b), slice={[0:8], [0:128]}
  %step = (f32[8,128]{1,0}, f32[128]{0}) fusion(%b, %i, %acc), kind=kLoop, calls=%more
  %room = f32[32,128]{1,0} custom-call(), custom_call_target="AllocateBuffer"
  %pair = (f32[32,128]{1,0}, f32[8,128]{1,0}, f32[8,128]{1,0:S(1)}) custom-call(%b), \
custom_call_target="tpu_custom_call"
  ROOT %last = f32[32,128]{1,0} fusion(%twice, %few, %i), kind=kLoop, calls=%updated
}
"""


def test_bytes_are_those_between_hbm_and_the_core():
    found = {x.name: x.hbm_bytes for x in hlo.instructions(HBM)}
    assert found == {
        **dict.fromkeys(("w", "b", "i"), 0),
        "early": 8 * 64 * 128 * 2,  # by the program before, but by some program
        "some": 2 * 64 * 128 * 2,
        "of_eight": 64 * 128 * 2,  # not all of w
        "few": 2 * 128 * 4,
        "acc": 2 * 8 * 128 * 4,
        "step": 3 * 128 * 4,  # as in a loop: reads a row, puts it in place, returns it
        "room": 0,
        "pair": (32 + 32 + 8) * 128 * 4,  # each result that is in HBM
        "twice": 2 * 32 * 128 * 4,  # b is read once
        "bits": 32 * 128 * (4 + 4 + 1),
        "last": 2 * 128 * 4,  # in place
    }
