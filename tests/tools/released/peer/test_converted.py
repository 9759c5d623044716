"""Models of `transformers` converted to ours give the same logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.tests.tools.released.peer import models_there as there
from clinometer.tools.released import parameters
from clinometer.tools.released import release as release_lib

# name -> (the model there, our name for it, overrides that matter)
CASES = {
    "tied ReLU": (there.t5, "transformer-KV8-NH3-FF48-PI", {}),
    "1.1, gated and untied": (
        lambda: there.untied(
            there.t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        ),
        "glu-KV8-NH3-FF48-PI",
        {"tie_embeddings": False},
    ),
    "tied, not scaled": (
        lambda: there.t5(tie_word_embeddings=False),
        "transformer-KV8-NH3-FF48-PI",
        {"logits_scaling": "never"},
    ),
    "uneven": (
        lambda: there.t5(num_layers=3, num_decoder_layers=1),
        "transformer-EL3-DL1-KV8-NH3-FF48-PI",
        {},
    ),
    "deep and narrow": (
        lambda: there.t5(num_layers=7, d_model=16, d_ff=24),
        "transformer-NL7-DM16-KV8-FF24-NA",
        {},
    ),
    "switch": (there.switch, "switch-EL4-KV8-NH3-FF48-PI", {"min_capacity": 4}),
}


def ours(folder):
    """Returns the model of a release, and its parameters."""
    found = parameters.found(release_lib.opened(folder))
    params = {}
    for leaf, values in found.values():
        params.setdefault(leaf.module, {})[leaf.name] = jnp.asarray(values)
    return found, params


def logits(model, params):
    inputs, decoder = map(jnp.asarray, there.tokens())
    return np.asarray(jax.jit(model.apply)(params, inputs, decoder))


@pytest.mark.parametrize("case", CASES)
def test_logits_are_equal(case, tmp_path, spiece):
    make, name, overrides = CASES[case]
    peer = make()
    found, params = ours(there.save(peer, tmp_path / "release", spiece))
    assert found.name == name
    assert overrides.items() <= found.overrides.items()
    want = there.logits(peer)
    # float32 rounding over the layers.
    np.testing.assert_allclose(
        logits(found.model, params), want, rtol=1e-4, atol=1e-4 * np.abs(want).max()
    )
    if case == "tied ReLU":
        module = params["decoder/layer_1/cross_attention"]
        changed = {**params, "decoder/layer_1/cross_attention": {**module}}
        changed["decoder/layer_1/cross_attention"]["key"] = module["key"] * 1.02
        off = np.abs(logits(found.model, changed) - want).max()
        assert off > 1e-3 * np.abs(want).max()


def test_an_expert_over_capacity_drops_what_it_drops_there(tmp_path, spiece):
    """Else the case above would not tell capacities apart."""
    peer = there.switch(expert_capacity=1)
    found, params = ours(there.save(peer, tmp_path / "release", spiece))
    want = there.logits(peer)
    got = logits(found.model, params)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    roomy = there.logits(there.switch(expert_capacity=20))
    assert np.abs(roomy - want).max() > 1e-2 * np.abs(want).max()
