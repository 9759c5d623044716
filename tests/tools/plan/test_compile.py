"""Tests that all TPU kernels compile for all chips, without many register spills.

Each child process compiles many cases, since it takes long to start. The tests need
libtpu.
"""

import importlib.util
import math

import pytest

from clinometer.kernels.tpu import chips
from clinometer.tests.kernels.tpu import shape_classes
from clinometer.tools.plan import compiler as compiler_lib
from clinometer.tools.plan import dumps
from clinometer.tools.plan.tpu_cost import case as case_lib

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)

CHIPS = ("v4", "v5e", "v5p", "v6e", "7x")
DTYPES = ("bfloat16", "float32")
TABLE = f"{shape_classes.__name__}:cases"
CASES = [x for x in shape_classes.cases() if case_lib.OURS in x.kernel.implementations]
# Bounds of spilled registers in a kernel's code. A tile that is too large has thousands
# more. Code that contains a block several times (attention for each position of the
# diagonal, convolutions for each shift) has spills in each. The bounds are 10 % above
# the maximum over the chips: attention forward 17,381 and backward 22,213 (on v4 19,777
# and 10,419), dynamic convolution of 63 taps 11,493 (14,181), Performer 8,848 on v4,
# gradients of a mixture, whose rows of logits are many registers, 3,830, and those of
# experts with 1,280 rows, 6,763.
MOST_SPILLS = {
    ("relative_attention", "forward"): 19_100,
    ("relative_attention", "backward"): 24_500,
    ("dynamic_conv", "forward"): 12_500,
    ("dynamic_conv", "backward"): 12_500,
    ("switch_route", "forward"): 900,
    ("switch_route", "backward"): 900,
    ("mixture_of_softmaxes", "backward"): 4_200,
    ("expert_feed_forward", "backward"): 7_450,
}
# v4 has longer code, since it rolls only by powers of two.
MOST_SPILLS_ON_V4 = MOST_SPILLS | {
    ("relative_attention", "forward"): 21_750,
    ("relative_attention", "backward"): 11_500,
    ("performer_attention", "forward"): 10_000,
    ("performer_attention", "backward"): 10_000,
    ("dynamic_conv", "forward"): 15_500,
    ("dynamic_conv", "backward"): 15_500,
}
SPILLS = 4000  # Bound of all other kernels.


def compiled(chip, dtype, cases):
    """Yields each case that the kernel supports on a chip, and its outcome."""
    jobs = {}
    for case in cases:
        if case.refusal(chip, dtype) is None:
            job = compiler_lib.Compilation(
                case.key, case_lib.OURS, dtype, chip.topology
            )
            jobs[job] = case
    with compiler_lib.Compiler(TABLE, 300) as compiler:
        for outcome in compiler.run(list(jobs), "bundles"):
            yield jobs[outcome.job], outcome


def problems(case, outcome, dtype):
    """Yields the problems of a compiled kernel."""
    name = " ".join((*case.key, dtype, outcome.job.topology))
    if not outcome.values:
        yield f"{name}: {outcome.reason}"
        return
    operands = case.named_shapes(dtype)
    results = case.kernel.signature.result_shapes(operands, case.settings)
    arrays = (*operands.values(), *results)
    # At most converted copies of operands and results, padded by a block.
    padded = (x.dtype.itemsize * (math.prod(x.shape) + 128 * 128) for x in arrays)
    most = 3 * sum(padded) + 2**18
    if (temp := outcome.values["hbm_temp_bytes"]) > most:
        yield f"{name}: {temp} bytes of temporary HBM, more than {most}"
    on_v4 = outcome.job.topology.startswith("v4")
    bounds = MOST_SPILLS_ON_V4 if on_v4 else MOST_SPILLS
    for line in dumps.read(outcome.folder, {}):
        spills = line.cost.spills
        if line.kind == "pallas" and spills > bounds.get(case.key[:2], SPILLS):
            yield f"{name}: {line.name} spills {spills} registers"


def check(chip, dtype, cases):
    found = []
    for case, outcome in compiled(chips.CHIPS[chip], dtype, cases):
        found += problems(case, outcome, dtype)
        outcome.discard()
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("chip", "place"), [("v5e", 0), ("v4", 1)])
def test_some_cases_compile(chip, place):
    # The first two classes of each kernel, one per chip, in either dtype.
    kernels = {}
    for case in CASES:
        kernels.setdefault(case.kernel, []).append(case)
    few = [cases[place % len(cases)] for cases in kernels.values()]
    check(chip, DTYPES[place], few)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chip", CHIPS)
def test_all_cases_compile(chip, dtype):
    check(chip, dtype, CASES)
