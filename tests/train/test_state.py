"""Tests of the train step: objective, microbatches, stacked layers, dropout keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.run import canonical

_SIZE = {
    "vocab_size": 64,
    "d_model": 16,
    "d_ff": 32,
    "num_heads": 2,
    "d_kv": 8,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
}

_DEEP = {"num_encoder_layers": 2}


def _model(**overrides):
    return models.build(
        "transformer-pico", **{**_SIZE, "dropout_rate": 0.0, **overrides}
    )


def _batch(seed):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, 64, (4, 6)).astype(np.int32)
    targets[0, 2:] = 0  # Rows with different numbers of tokens.
    targets[3, 5:] = 0
    decoder = np.zeros_like(targets)
    decoder[:, 1:] = targets[:, :-1]
    return {
        "encoder_input_tokens": jnp.asarray(rng.integers(2, 64, (4, 10)), jnp.int32),
        "decoder_input_tokens": jnp.asarray(decoder),
        "decoder_target_tokens": jnp.asarray(targets),
    }


def _plain_gradient():
    """An optimizer whose update is the gradient itself."""
    return optimizer_lib.Optimizer(
        init=lambda params: jax.tree.map(jnp.zeros_like, params),
        update=lambda gradients, state, params, rate: (gradients, state),
    )


def _initial(model, optimizer):
    return jax.jit(lambda: state_lib.initialise(model, optimizer, 0))()


def _run(model, optimizer, num_steps=1, first_batch=0, **options):
    """Returns the state before and after, and the metrics of the last step."""
    before = _initial(model, optimizer)
    step = jax.jit(
        state_lib.make_train_step(
            model,
            optimizer,
            lambda step: 0.02,
            seed=0,
            **{"z_loss": 1e-2, **options},
        )
    )
    state = before
    for index in range(num_steps):
        state, metrics = step(state, _batch(first_batch + index))
    return before, state, metrics


def test_objective_divides_by_padding_too():
    """Compares the gradient with central differences of the loss."""
    model = _model()
    before, after, metrics = _run(model, _plain_gradient())
    batch = _batch(0)
    targets = np.asarray(batch["decoder_target_tokens"])

    @jax.jit
    def logits_of(params):
        return model.apply(
            params, batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        )

    def objective(params):
        logits = np.asarray(logits_of(params), np.float64)
        log_z = np.log(np.exp(logits).sum(-1))
        picked = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
        per_token = (log_z - picked) + 1e-2 * log_z**2
        return (per_token * (targets > 0)).sum() / targets.size

    module, name = "decoder/final_norm", "scale"
    gradient = after.params[module][name] - before.params[module][name]
    for index in (0, 7):
        ends = []
        for sign in (1, -1):
            moved = before.params[module][name].at[index].add(sign * 1e-2)
            ends.append(objective({**before.params, module: {name: moved}}))
        difference = (ends[0] - ends[1]) / 2e-2
        assert gradient[index] == pytest.approx(difference, rel=2e-2, abs=2e-4)
    assert metrics.loss.weight_sum == (targets > 0).sum()


def test_accumulation_equals_the_full_batch():
    model = _model()
    _, full, full_metrics = _run(model, _plain_gradient())
    _, parts, part_metrics = _run(model, _plain_gradient(), num_microbatches=4)
    for a, b in zip(jax.tree.leaves(full.params), jax.tree.leaves(parts.params)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(full_metrics.loss, part_metrics.loss):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    # Mutation: another batch gives another gradient.
    _, other, _ = _run(model, _plain_gradient(), num_microbatches=4, first_batch=1)
    name = "decoder/final_norm"
    difference = other.params[name]["scale"] - full.params[name]["scale"]
    assert np.abs(difference).max() > 1e-3


@pytest.mark.slow
def test_the_model_s_own_loss_joins_the_objective():
    """With microbatches, the metric and the gradient are means over them."""

    def run(weight):
        model = models.build(
            "switch-pico",
            **{**_SIZE, "num_encoder_layers": 2, "num_decoder_layers": 2},
            dropout_rate=0.0,
            num_experts=3,
            # No token is dropped, neither in training nor in evaluation.
            capacity_factor=3.0,
            eval_capacity_factor=3.0,
            router_jitter=0.0,
            aux_loss_weight=weight,
        )
        before, after, metrics = _run(model, _plain_gradient(), num_microbatches=2)
        gradient = jax.tree.map(jnp.subtract, after.params, before.params)
        router = gradient["encoder/layer_0/sparse_feed_forward"]["router"]
        return model, before.params, router, metrics.auxiliary_loss

    _, _, none, loss = run(0.0)
    assert loss == 0
    model, params, once, loss = run(1.0)
    _, _, thrice, _ = run(3.0)
    assert np.abs(once - none).max() > 1e-3
    np.testing.assert_allclose(thrice - none, 3 * (once - none), rtol=1e-3, atol=1e-5)
    batch, parts = _batch(0), []
    for rows in (slice(0, 2), slice(2, 4)):
        tokens = (
            batch[f"{side}_input_tokens"][rows] for side in ("encoder", "decoder")
        )
        parts.append(model.forward(params, *tokens).auxiliary_loss)
    assert loss == pytest.approx(np.mean(parts), rel=1e-5)


@pytest.mark.slow
def test_stacked_layers_train_as_a_loop():
    optimizer = optimizer_lib.make(pretrain.get_config().optimizer)
    options = {"num_steps": 3, "health_every_steps": 1}
    before, loop, loop_metrics = _run(_model(**_DEEP), optimizer, **options)
    _, stack, stack_metrics = _run(
        _model(**_DEEP, scan_layers=True), optimizer, **options
    )
    found = canonical.to_canonical(stack)
    expected = canonical.to_canonical(loop)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(loop_metrics.health, stack_metrics.health, rtol=2e-3)
    # Mutation: the changes of three steps exceed the tolerance.
    module, name = "encoder/layer_1/feed_forward", "wi"
    change = np.abs(loop.params[module][name] - before.params[module][name])
    assert change.max() > 1e-3


def test_forms_convert_without_loss():
    optimizer = optimizer_lib.make(pretrain.get_config().optimizer)
    stacked, loop = (
        _initial(_model(**_DEEP, scan_layers=scan), optimizer) for scan in (True, False)
    )
    for source in (stacked, loop):
        for target in (stacked, loop):
            tree = canonical.to_canonical(source)
            converted = canonical.from_canonical(tree, target)
            jax.tree.map(np.testing.assert_array_equal, converted, target)
