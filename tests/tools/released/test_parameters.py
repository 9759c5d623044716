"""Which model a release is, and the quirks of real files."""

import ml_dtypes
import msgpack
import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released import parameters
from clinometer.tools.released import release as release_lib

NAME = "transformer-EL3-DL1-KV8-NH3-FF48-PI"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


@pytest.fixture
def found(tmp_path, spiece):
    """Returns a function that opens a release and finds its parameters."""

    def find(tensors, **config):
        folder = hub.write(tmp_path / "release", {**hub.T5, **config}, tensors, spiece)
        return parameters.found(release_lib.opened(folder))

    return find


def values(found):
    return {(leaf.module, leaf.name): array for leaf, array in found.values()}


def test_a_tied_model(found):
    drawn = hub.draw(hub.T5)
    got = found(drawn)
    assert (got.name, got.notes) == (NAME, ())
    table = values(got)["token_embedding", "table"]
    np.testing.assert_array_equal(table, drawn["shared.weight"])
    assert got.model.config.tie_embeddings


@pytest.mark.parametrize("only", [None, *COPIES])
def test_the_table_may_be_stored_three_times_or_once_under_any_name(found, only):
    drawn = hub.draw(hub.T5)
    table = drawn["shared.weight"]
    if only is None:
        got = found({**drawn, **dict.fromkeys((*COPIES, "lm_head.weight"), table)})
        assert got.notes == ("lm_head.weight equals the embedding table.",)
    else:
        del drawn["shared.weight"]
        got = found({**drawn, only: table})
    np.testing.assert_array_equal(values(got)["token_embedding", "table"], table)
    assert got.model.config.tie_embeddings


def test_tables_of_encoder_and_decoder_that_differ_are_refused(found):
    drawn = hub.draw(hub.T5)
    other = drawn["shared.weight"] + 1
    with pytest.raises(errors.ReleaseError, match="embed_tokens.weight differs from"):
        found({**drawn, COPIES[0]: drawn["shared.weight"], COPIES[1]: other})


def test_tying_is_read_from_the_tensors(found):
    """`transformers` 5 writes this config for a model with a head of its own."""
    drawn = hub.draw(hub.T5)
    drawn["lm_head.weight"] = drawn["shared.weight"][::-1].copy()
    got = found(drawn, tie_word_embeddings=True, scale_decoder_outputs=False)
    assert not got.model.config.tie_embeddings
    assert not got.model.config.scales_logits
    head = values(got)["logits", "kernel"]
    np.testing.assert_array_equal(head, drawn["lm_head.weight"].T)


def test_tied_without_scaling(found):
    got = found(hub.draw(hub.T5), scale_decoder_outputs=False)
    assert got.overrides["logits_scaling"] == "never"
    assert got.notes == ("logits_scaling is 'never'.",)


def test_a_tensor_that_no_model_uses(found):
    got = found({**hub.draw(hub.T5), UNUSED: np.ones((32, 3), np.float32)})
    assert got.notes == (f"{UNUSED} is in the files, but no model uses it.",)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(found, dtype):
    drawn = {name: x.astype(dtype) for name, x in hub.draw(hub.T5).items()}
    got = found(drawn)
    assert got.notes == (f"The files hold {np.dtype(dtype).name}.",)
    for array in values(got).values():
        assert array.dtype == np.float32
    table = values(got)["token_embedding", "table"]
    np.testing.assert_array_equal(table, drawn["shared.weight"].astype(np.float32))


def test_shared_heads_and_tied_keys_and_values_are_found(found):
    drawn = hub.draw(hub.T5)
    for name in drawn:
        if name.endswith(("Attention.k.weight", "Attention.v.weight")):
            one = drawn[name.replace(".v.", ".k.")][:8]
            drawn[name] = np.concatenate([one] * 3)
    got = found(drawn)
    assert got.name == "transformer-EL3-DL1-KV8-NH3-FF48-SH-SKV-PI"
    key = values(got)["decoder/layer_0/cross_attention", "key_value"]
    theirs = drawn["decoder.block.0.layer.1.EncDecAttention.k.weight"]
    np.testing.assert_array_equal(key, theirs[:8].T)


def test_one_attention_that_differs_makes_all_plain(found):
    drawn = hub.draw(hub.T5)
    for name in drawn:
        if name.endswith("Attention.v.weight"):
            drawn[name] = drawn[name.replace(".v.", ".k.")].copy()
    drawn["decoder.block.0.layer.1.EncDecAttention.v.weight"][0, 0] += 1
    assert found(drawn).name == NAME


def test_flax_gives_the_same_values(found, tmp_path, spiece):
    drawn = hub.draw({**hub.T5, "feed_forward_proj": "gated-gelu"})
    drawn["lm_head.weight"] = drawn["shared.weight"] * 2
    one = found(drawn, feed_forward_proj="gated-gelu")
    folder = hub.write(
        tmp_path / "flax", {**hub.T5, "feed_forward_proj": "gated-gelu"}, None, spiece
    )
    packed = msgpack.packb(hub.flax_tree(drawn))
    (folder / "flax_model.msgpack").write_bytes(packed)
    two = parameters.found(release_lib.opened(folder))
    assert (one.name, one.overrides) == (two.name, two.overrides)
    for place, array in values(one).items():
        np.testing.assert_array_equal(array, values(two)[place], err_msg=str(place))


def test_everything_that_does_not_fit_is_listed(found):
    drawn = hub.draw(hub.T5)
    del drawn["encoder.final_layer_norm.weight"]
    drawn["decoder.block.0.layer.2.DenseReluDense.wi.weight"] = np.ones((40, 32), "f4")
    drawn["encoder.block.7.layer.0.layer_norm.weight"] = np.ones(32, np.float32)
    with pytest.raises(errors.ReleaseError, match="3 problems") as raised:
        found(drawn)
    for line in (
        "encoder.final_layer_norm.weight is missing; expected [32]",
        "DenseReluDense.wi.weight is [40, 32]; expected [48, 32]",
        "block.7.layer.0.layer_norm.weight is [32]; expected no such tensor",
        NAME,
    ):
        assert line in str(raised.value)


def test_a_config_of_another_size_is_refused(found):
    with pytest.raises(errors.ReleaseError, match="problems:"):
        found(hub.draw(hub.T5), d_model=48)


def test_a_file_without_a_table_is_refused(found):
    drawn = hub.draw(hub.T5)
    del drawn["shared.weight"]
    with pytest.raises(errors.ReleaseError, match="shared.weight is missing; expected"):
        found(drawn)


def test_experts(found):
    drawn = hub.draw(hub.SWITCH)
    got = found(drawn, **hub.SWITCH)
    experts = values(got)["encoder/layer_1/sparse_feed_forward", "wo"]
    theirs = drawn["encoder.block.3.layer.1.mlp.experts.expert_2.wo.weight"]
    np.testing.assert_array_equal(experts[2], theirs.T)
    assert got.name.startswith("switch-EL4-KV8-NH3-FF48-PI")
