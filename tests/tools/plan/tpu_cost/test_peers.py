"""The public kernels compute what ours do, in interpret mode, against float64."""

import jax
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import cases
from clinometer.tools.plan.tpu_cost import peers
from clinometer.tools.plan.tpu_cost import report

B, H, S, D = 1, 2, 128, 128  # The least that all of them take.


def drawn(form):
    """Returns operands of a form, float32."""
    rng = np.random.default_rng(0)
    return [
        jnp.asarray(rng.normal(size=x.shape) * 0.3, jnp.float32) for x in form.operands
    ]


def attention(query, key, value, bias, causal):
    """Attention in float64, all operands with leading heads."""
    logits = query @ key.swapaxes(-1, -2) + bias
    if causal:
        logits = np.where(np.tri(S, dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", peers.attention(B, S, H, D, causal=False))
def test_attention(name, causal):
    form = peers.attention(B, S, H, D, causal=causal)[name]
    arrays = drawn(form)
    with pltpu.force_tpu_interpret_mode(), jax.numpy_rank_promotion("allow"):
        got = form.function(*arrays)
    query, key, value, *bias = (np.asarray(x, np.float64) for x in arrays)
    if name == "peer jax.nn":
        query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
        got = got.swapaxes(1, 2)
    want = attention(query, key, value, bias[0] if bias else 0.0, causal)
    # The interpreter multiplies in float32; sums are of 128 terms.
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert "bias" in form.lacks
    assert ("no bias" in form.lacks) == (not bias)


def test_expert_matmul():
    (form,) = peers.expert_matmul(3, 8, 128, 256).values()
    x, w = drawn(form)
    with pltpu.force_tpu_interpret_mode(), jax.numpy_rank_promotion("allow"):
        got = form.function(x, w)
    rows = np.asarray(x, np.float64).reshape(3, 8, 128)
    want = np.einsum("ecd,edf->ecf", rows, np.asarray(w, np.float64)).reshape(24, 256)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_peers_have_the_gradients_of_their_own_operands():
    (step,) = (
        x
        for x in cases.cases()
        if x.key == ("relative_attention", case_lib.STEP, "b8h8s512d64")
    )
    for name in step.peers:
        run, shapes = case_lib.program(step, name, "float32")
        sizes = [x.size for x in jax.eval_shape(run, *shapes)]  # Stored in one row.
        operands = [x.size for x in shapes]
        assert sizes == [operands[-1], *operands[:-1]], name


def test_ratios_to_ours():
    def record(name, cycles, lacks=None):
        return {"implementation": name, "cycles": cycles, "lacks": lacks, "status": ""}

    found = [record("tpu", 10), record("reference", 30), record("peer a", 15, "bias")]
    ours, reference, peer = report.with_ratios(found)
    assert peer["ratio_to_ours"] == 1.5
    assert ours["ratio_to_ours"] is None and reference["ratio_to_ours"] is None
    # Others are not among the forms that XLA compiles.
    assert {x["best_xla"] for x in (ours, reference, peer)} == {"reference"}
