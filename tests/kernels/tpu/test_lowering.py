"""Tests that every TPU kernel lowers, without libtpu, in all shape classes.

This finds what Mosaic's lowering does not know, not what its compiler refuses: that is
`tests/tools/plan/test_compile.py`.
"""

import jax
import pytest

from clinometer import kernels
from clinometer.kernels import dispatch
from clinometer.kernels.tpu import chips
from clinometer.tests.kernels.tpu import shape_classes
from clinometer.tools.plan.tpu_cost import case as case_lib

KINDS = [chips.CHIPS[name].device_kind for name in ("v4", "v5e", "v5p", "v6e", "7x")]
DTYPES = ("float32", "bfloat16")
XLA_MOVES = ("switch_dispatch", "switch_combine")  # in a form of their own, by XLA
CASES = [x for x in shape_classes.cases() if case_lib.OURS in x.kernel.implementations]


def all_pairs():
    """Returns every case for every chip and dtype; one per case is not marked slow."""
    found = []
    pairs = [(kind, dtype) for dtype in DTYPES for kind in KINDS]
    for place, case in enumerate(CASES):
        for i, (kind, dtype) in enumerate(pairs):
            # v4 and v5e, of either dtype: forms by bits, and strided rolls.
            quick = i == (0, 6, 5, 1)[place % 4]
            marks = [] if quick else [pytest.mark.slow]
            name = "-".join((*case.key, kind, dtype)).replace(" ", "-")
            found.append(pytest.param(case, kind, dtype, marks=marks, id=name))
    return found


@pytest.mark.parametrize(("case", "kind", "dtype"), all_pairs())
def test_it_lowers_or_says_why_not(case, kind, dtype):
    run, shapes = case_lib.program(case, case_lib.OURS, dtype)
    reason = case.refusal(chips.of_device_kind(kind), dtype)

    def lower():
        with kernels.target(kind):
            traced = jax.jit(run).trace(*shapes)
            return traced.lower(lowering_platforms=("tpu",)).as_text()

    if reason is None:
        is_pallas = case.op not in XLA_MOVES
        assert ("tpu_custom_call" in lower()) == is_pallas
    else:
        with pytest.raises(dispatch.NotSupportedError, match=reason[:20]):
            lower()
        auto = case.auto(chips.of_device_kind(kind), dtype)
        assert auto == case_lib.XLA
