"""The table of names, against names and shapes written out in `hub`."""

import jax
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.tools.released import hub
from clinometer.tools.released import tensor_names
from clinometer.tools.released.readers import tensor

SHAPE = {"vocab_size": 192, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 3}
DEPTH = {"num_encoder_layers": 3, "num_decoder_layers": 1}
CASES = {
    "vanilla": ("transformer-pico", {**SHAPE, **DEPTH}, hub.T5),
    "gated": (
        "glu-pico",
        {**SHAPE, **DEPTH, "ffn_match": "width"},
        {**hub.T5, "feed_forward_proj": "gated-gelu"},
    ),
    "switch": (
        "switch-pico",
        {**SHAPE, "num_encoder_layers": 4, "num_decoder_layers": 2, "num_experts": 3},
        hub.SWITCH,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_has_its_tensors(case):
    name, overrides, config = CASES[case]
    model = models.build(name, **overrides)
    leaves = list(tensor_names.leaves(model.config))
    params = jax.eval_shape(model.init, jax.random.key(0))
    ours = {
        (module, n): x.shape for module, of in params.items() for n, x in of.items()
    }
    assert {(leaf.module, leaf.name): leaf.shape for leaf in leaves} == ours
    theirs = {name: leaf.source_shape for leaf in leaves for name in leaf.sources}
    assert theirs == hub.shapes(config)


def test_an_untied_head_has_a_tensor():
    model = models.build("transformer-pico", tie_embeddings=False, **SHAPE)
    head = [
        leaf for leaf in tensor_names.leaves(model.config) if leaf.module == "logits"
    ]
    assert [(leaf.sources, leaf.source_shape) for leaf in head] == [
        (("lm_head.weight",), (192, 32))
    ]


def as_tensors(arrays):
    return {
        name: tensor.Tensor(array.shape, array.dtype.name, lambda array=array: array)
        for name, array in arrays.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_values_go_out_and_in_bit_for_bit(case):
    name, overrides, config = CASES[case]
    drawn, seen = hub.draw(config), {}
    for leaf in tensor_names.leaves(models.build(name, **overrides).config):
        ours = leaf.to_ours(as_tensors(drawn))
        assert (ours.shape, ours.dtype) == (leaf.shape, np.float32)
        seen |= {n: found.read() for n, found in leaf.to_theirs(ours).items()}
        if leaf.name == "query":  # Ours is [in, out].
            np.testing.assert_array_equal(ours, drawn[leaf.sources[0]].T)
        if leaf.stacked:
            np.testing.assert_array_equal(ours[2], drawn[leaf.sources[2]].T)
    assert seen.keys() == drawn.keys()
    for name, array in drawn.items():
        np.testing.assert_array_equal(seen[name], array)


@pytest.mark.parametrize("groups", [1, 2])
def test_shared_heads_are_repeated_as_attention_reads_them(groups):
    """Query head h reads the group h // (H / G), of which theirs needs a copy each."""
    model = models.build(
        "transformer-pico", **{**SHAPE, "num_heads": 4}, num_kv_heads=groups
    )
    (leaf,) = (
        leaf
        for leaf in tensor_names.leaves(model.config)
        if (leaf.module, leaf.name) == ("encoder/layer_1/self_attention", "key")
    )
    ours = np.random.default_rng(0).normal(size=leaf.shape).astype(np.float32)
    (theirs,) = leaf.to_theirs(ours).values()
    assert theirs.shape == (32, 32)
    heads = theirs.read().reshape(4, 8, 32)
    for head in range(4):
        group = head // (4 // groups)
        own = ours[:, 8 * group : 8 * group + 8].T
        np.testing.assert_array_equal(heads[head], own)
    back = leaf.to_ours({leaf.sources[0]: theirs})
    np.testing.assert_array_equal(back, ours)


def test_flax_s_paths_and_orientation():
    drawn = hub.draw({**hub.T5, "num_layers": 1})
    flax, paths = {}, hub.flax_tree(drawn)

    def walk(tree, place):
        for key, value in tree.items():
            if isinstance(value, dict):
                walk(value, [*place, key])
            else:
                flax["/".join([*place, key])] = key

    walk(paths, [])
    assert "encoder/block/0/layer/0/SelfAttention/q/kernel" in flax
    assert "shared/embedding" in flax
    given = {
        path: tensor.Tensor((2, 3), "float32", lambda: np.ones((2, 3))) for path in flax
    }
    found = tensor_names.of_flax(given)
    assert found.keys() == drawn.keys()
    assert found["shared.weight"].shape == (2, 3)
    assert found["encoder.block.0.layer.0.SelfAttention.q.weight"].shape == (3, 2)
