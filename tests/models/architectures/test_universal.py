"""The Universal Transformer: recurrences against float64 NumPy, and invariants.

The recurrences are tested with a small block, so that programs stay small.
"""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.models.layers import halting
from clinometer.models.layers import recurrence
from clinometer.models.layers import sublayers
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.architectures.universal_reference import SEGMENTS
from clinometer.tests.models.architectures.universal_reference import WIDTH
from clinometer.tests.models.architectures.universal_reference import R
from clinometer.tests.models.architectures.universal_reference import Reference

UNIVERSAL = registry.ARCHITECTURES["universal"]
PLAIN = {"vocab_size": 64, "dropout_rate": 0.0}
LENGTHS = {"batch_size": 2, "encoder_length": 11, "decoder_length": 5}


def make_config(**options):
    return models.build(f"universal-NL{R}-DM{WIDTH}-PI", **PLAIN, **options).config


def small_block(name):
    """A block: x + tanh(x w), scaled by the number of the pass."""
    w = hk.get_parameter(f"{name}_w", [WIDTH, WIDTH], init=hk.initializers.Constant(0))

    def apply(x, index, _):
        x += jnp.tanh(x @ w) * (1 + 0.1 * index)
        return x, sublayers.Extras(health={"pass": index})

    return apply


class Stack(hk.Module):
    """A stack of small blocks."""

    def __call__(self, config, x, *, causal):
        return recurrence.run_stack(
            config, small_block, R, x, jnp.asarray(SEGMENTS), causal=causal
        )


def run(config, *, causal=False):
    """Draws inputs; returns (x, params, y, outputs of the passes, extras)."""
    x = np.random.default_rng(0).normal(size=(*SEGMENTS.shape, WIDTH))
    x = x.astype(np.float32)
    stack = hk.transform(lambda x: Stack(name="stack")(config, x, causal=causal))
    shapes = jax.eval_shape(stack.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: (0.7 * rng.normal(size=leaf.shape)).astype(np.float32), shapes
    )
    y, outputs, extras = jax.jit(stack.apply)(params, None, x)
    return x, params, y, outputs, extras


VARIANTS = [
    ({}, False),
    ({"num_inrecurrence_layers": 2, "step_embedding": False}, False),
    ({"vanilla_before": True, "vanilla_after": True, "num_vanilla_layers": 3}, False),
    ({"vanilla_after": True, "share_vanilla_layers": False}, False),
    ({"recurrence": "highway", "num_inrecurrence_layers": 2}, False),
    ({"recurrence": "highway", "couple_gates": False, "highway_inputs": "it"}, False),
    ({"recurrence": "act", "ponder_weight": 0.3, "vanilla_before": True}, False),
    ({"recurrence": "act", "act_type": "accumulated", "act_epsilon": 0.3}, False),
    ({"recurrence": "act", "act_type": "random"}, False),
    ({"recurrence": "act", "act_type": "global", "ponder_weight": 0.1}, False),
    ({"recurrence": "act", "act_type": "global"}, True),
]


@pytest.mark.parametrize(("options", "causal"), VARIANTS, ids=str)
def test_recurrences(options, causal):
    config = make_config(**options)
    x, params, y, outputs, extras = run(config, causal=causal)
    reference = Reference(config, params, causal)
    np.testing.assert_allclose(y, reference(x), rtol=1e-4, atol=1e-4)
    # The passes are numbered in order.
    np.testing.assert_array_equal(outputs.health["pass"], np.arange(reference.passes))
    if config.recurrence == "act":
        real = SEGMENTS != 0
        updates, remainder, _ = reference.halting
        assert len(np.unique(updates[real])) > 1 or config.act_type != "basic"
        cost = (updates + remainder)[real].mean()
        health = extras.health
        np.testing.assert_allclose(health["act/steps"], updates[real].mean(), 1e-6)
        np.testing.assert_allclose(health["act/ponder_cost"], cost, rtol=1e-4)
        np.testing.assert_allclose(extras.loss, config.ponder_weight * cost, 1e-4)
    elif config.recurrence == "highway":
        gates = extras.health["highway/transform_gate"]
        assert gates.shape == (R,)
        assert ((gates > 0) & (gates < 1)).all()
    else:
        assert extras == sublayers.Extras()


def test_weights_of_halted_positions_sum_to_one():
    p = np.random.default_rng(3).uniform(0, 0.6, size=(12, 5, 7)).astype(np.float32)
    progress, total = halting.start((5, 7)), 0
    for probability in p:
        progress, weight = halting.advance(progress, probability, 0.01)
        total += weight
    np.testing.assert_allclose(progress.total, 1, atol=1e-6)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    # A position halts at the first step whose sum of probabilities exceeds 0.99.
    np.testing.assert_array_equal(
        progress.updates, 1 + (np.cumsum(p, 0) > 0.99).argmax(0)
    )


def test_a_threshold_of_zero_halts_at_the_first_step():
    config = make_config(recurrence="act", act_epsilon=1.0)
    x, params, y, _, extras = run(config)
    reference = Reference(config, params, causal=False)
    once = reference.block(reference.enter(x.astype(np.float64), 0))
    want = reference.norm(once, "final_norm") * (SEGMENTS != 0)[..., None]
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    assert extras.health["act/steps"] == 1
    assert extras.health["act/not_halted"] == 0


def test_random_halting_is_uniform_in_training_only():
    unit = hk.transform(
        lambda key: halting.Halting("random", False, 0.0)(
            jnp.zeros((40, 50, 2)), jnp.ones((40, 50)), key, None
        )[0]
    )
    drawn = unit.apply({}, None, jax.random.key(0))
    assert abs(float(drawn.mean()) - 0.5) < 0.03
    assert abs(float(drawn.std()) - 12**-0.5) < 0.02
    np.testing.assert_array_equal(unit.apply({}, None, None), 0.5)


def test_one_recurrence_is_a_layer_of_a_transformer():
    """Step embeddings are off and norms are the same."""
    model = models.build("universal-NL1-PI", **PLAIN, step_embedding=False)
    vanilla = models.build("transformer-NL1-PI", **PLAIN, norm="layer")
    params = jax.jit(model.init)(jax.random.key(0))
    renamed = {
        module.replace("coder/layer/", "coder/layer_0/"): leaves
        for module, leaves in params.items()
    }
    inputs = every.encoder_tokens(), every.decoder_tokens()
    np.testing.assert_allclose(
        jax.jit(model.apply)(params, *inputs),
        jax.jit(vanilla.apply)(renamed, *inputs),
        rtol=1e-5,
        atol=1e-5,
    )


def test_parameters_depend_on_recurrences_by_the_step_table_only():
    few, many = (
        jax.eval_shape(models.build(name).init, jax.random.key(0))
        for name in ("universal-NL2-PI", "universal-NL5-PI")
    )
    assert few.keys() == many.keys()
    different = {module for module in few if few[module] != many[module]}
    assert different == {"encoder/step_embedding", "decoder/step_embedding"}
    assert many["decoder/step_embedding"]["table"].shape == (5, 32)


def test_step_embeddings_have_unit_deviation():
    embed = hk.transform(lambda x, i: recurrence.StepEmbedding(8)(x, i))
    x = jnp.zeros((1, 1, 512))
    params = embed.init(jax.random.key(0), x, 0)
    values = [embed.apply(params, None, x, index) for index in range(8)]
    assert abs(float(np.std(values)) - 1) < 0.05


def config_of(name, **options):
    return registry.build(name, **options).config


def test_counts_as_printed():
    config = config_of("universal-base")
    assert round(UNIVERSAL.param_counts(config).total / 1e6, 1) == 41.2
    macs = UNIVERSAL.forward_macs(config, 512, 114)
    assert round(128 * (macs.body + macs.logits + macs.lookup) / 1e12, 2) == 11.06


@pytest.mark.slow
def test_options_are_counted():
    # `count` raises where closed form and built model disagree.
    options = {
        "recurrence": "act",
        "num_inrecurrence_layers": 2,
        "vanilla_before": True,
        "share_vanilla_layers": False,
        "num_vanilla_layers": 1,
    }
    models.counts.count("universal-EL3-DL2-PI", **LENGTHS, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "_"), VARIANTS, ids=str)
def test_every_variant_is_counted(options, _):
    models.counts.count("universal-EL3-DL2-PI", **LENGTHS, **options)


@functools.cache
def draw(options):
    model = models.build("universal-EL1-DL2-PI", **PLAIN, **dict(options))
    return jax.jit(model.init)(jax.random.key(0))


def assert_decodes_as_forced(options, scan):
    model = models.build("universal-EL1-DL2-PI", **PLAIN, **options, scan_layers=scan)
    params = draw(tuple(options.items()))
    inputs = every.encoder_tokens().at[1, 8:].set(0)
    decoder = every.decoder_tokens()
    return every.assert_decodes_as_taught(model, params, inputs, decoder)


@pytest.mark.slow
def test_decoding_pools_halting_over_the_positions_before():
    options = {"recurrence": "act", "act_type": "global", "vanilla_after": True}
    cache = assert_decodes_as_forced(options, scan=True)
    # Two recurrences and two vanilla layers: keys and values of four passes.
    key, _ = cache["layers"]["passes"]["self_attention"]
    assert key.shape == (4, every.B, every.T, 2, 16)


@pytest.mark.slow
@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(("options", "_"), VARIANTS, ids=str)
def test_every_variant_decodes_as_it_is_forced(options, _, scan):
    assert_decodes_as_forced(options, scan)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"recurrence": "highway", "vanilla_before": True},
        {"recurrence": "act", "act_type": "accumulated", "ponder_weight": 0.1},
        {"recurrence": "act", "act_type": "random"},
        {"recurrence": "act", "vanilla_after": True, "share_vanilla_layers": False},
    ],
)
def test_every_form_gives_one_loss_and_gradient(options):
    key, dropout = jax.random.key(7), {"dropout_rate": 0.1}
    # Probabilities so small that no position's first weight is 1.
    fields = {**PLAIN, **dropout, "halting_bias_init": -0.5, **options}
    model = models.build("universal-EL2-DL3-PI", **fields)
    params = jax.jit(model.init)(jax.random.key(0))
    want_loss, want = jax.jit(jax.value_and_grad(every.objective(model)))(params, key)
    for module, leaves in want.items():
        for name, leaf in leaves.items():
            assert np.isfinite(leaf).all(), (module, name)
            assert np.abs(leaf).max() > 0, (module, name)
    scanned = models.build(
        "universal-EL2-DL3-PI", **fields, scan_layers=True, remat="layer"
    )
    loss, gradients = jax.jit(jax.value_and_grad(every.objective(scanned)))(
        models.stack_params(params), key
    )
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    every.assert_trees_close(models.unstack_params(gradients), want, 1e-3, 1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"recurrence": "highway", "couple_gates": False},
        {"recurrence": "act", "act_type": "global", "ponder_weight": 0.1},
    ],
)
def test_bfloat16_scans(options):
    """The carry keeps its dtype, also in decoding; the programs are only traced."""
    fields = {**PLAIN, **options, "dtype": "bfloat16", "scan_layers": True}
    model = models.build("universal-EL1-DL2-PI", **fields, remat="layer")
    params = jax.eval_shape(model.init, jax.random.key(0))
    inputs = every.encoder_tokens(), every.decoder_tokens()
    outputs = jax.eval_shape(model.forward, params, *inputs)
    assert outputs.logits.dtype == outputs.auxiliary_loss.dtype == jnp.float32

    def decode(params, inputs, tokens):
        encoded = model.encode(params, inputs)
        assert encoded.memory.dtype == jnp.bfloat16
        cache = model.init_cache(params, encoded, 3)
        logits, after = model.decode_step(params, cache, tokens)
        assert jax.tree.map(jnp.result_type, cache) == jax.tree.map(
            jnp.result_type, after
        )
        return logits

    logits = jax.eval_shape(decode, params, inputs[0], inputs[1][:, 0])
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recurrence": "often"}, "recurrence: unknown 'often'; accepted: basic"),
        ({"act_type": "sure"}, "act_type: unknown 'sure'; accepted: basic, global"),
        ({"highway_inputs": "sx"}, 'highway_inputs: must be letters out of "s"'),
        ({"highway_inputs": "ss"}, "each at most once; got 'ss'"),
        ({"act_epsilon": 0.0}, r"act_epsilon: must lie in \(0, 1\], got 0.0"),
        ({"ponder_weight": -1.0}, "ponder_weight: must not be negative"),
        ({"ponder_weight": 0.1}, "requires recurrence \"act\", got 'basic'"),
        ({"num_inrecurrence_layers": 0}, "num_inrecurrence_layers: must be at least"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build("universal-pico", **options)
