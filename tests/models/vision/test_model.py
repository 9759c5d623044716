"""Tests of Vision Transformers against float64 NumPy, and of their forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.vision import batch as batch_lib
from clinometer.tests.models.vision import reference

_NAME = "vit-NL2-DM24-KV8-NH3-FF40-S"
_FIELDS = {"image_height": 12, "image_width": 20, "patch_size": 4, "num_classes": 7}
_SHAPE = models.ImageShape(12, 20)


def _build(**fields):
    return models.build(_NAME, **_FIELDS, **fields)


def _params(model, seed=0):
    """Returns parameters of which none is zero."""
    params = model.init(jax.random.key(seed))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


@pytest.fixture(scope="module", params=["token", "mean"])
def model(request):
    return _build(pooling=request.param)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (3, 12, 20, 3)).astype(np.float32)


def test_logits_and_features(model, images):
    params = _params(model)
    for image, logits, features in zip(
        images,
        model.apply(params, images),
        model.features(params, images),
        strict=True,
    ):
        image = image.astype(np.float64)
        # Float32 sums of up to 48 terms through two layers.
        np.testing.assert_allclose(
            logits, reference.logits(params, image, model.config), rtol=2e-4, atol=2e-5
        )
        np.testing.assert_allclose(
            features,
            reference.features(params, image, model.config),
            rtol=2e-4,
            atol=2e-5,
        )


def test_the_head_is_zero_at_first_and_the_token_too():
    params = _build().init(jax.random.key(0))
    for module, name in (("head", "kernel"), ("head", "bias"), ("embedding", "token")):
        assert not np.any(params[module][name])
    scale = float(jnp.std(params["embedding"]["positions"]))
    assert scale == pytest.approx(24**-0.5, rel=0.15)  # 384 draws.
    bias = params["encoder/layer_0/feed_forward"]["wi_bias"]
    assert 0 < float(jnp.std(bias)) < 2e-6
    query = params["encoder/layer_0/self_attention"]["query"]
    assert float(jnp.max(jnp.abs(query))) == pytest.approx((6 / 48) ** 0.5, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"scan_layers": True}, {"remat": "layer"}])
def test_scanned_and_rematerialised_layers_give_the_same(fields, images):
    plain, other = _build(dropout_rate=0.2), _build(dropout_rate=0.2, **fields)
    params, key = _params(plain), jax.random.key(3)
    batch = models.image_batch.make(
        np.uint8(127 * images + 127), np.array([1, 2, batch_lib.FILLER], np.int32)
    )

    def gradients(model):
        def objective(params):
            sums = model.loss(model.from_canonical(params), batch, key).sums
            return sums.loss_sum

        return jax.value_and_grad(objective)(params)

    for own, theirs in zip(
        jax.tree.leaves(gradients(plain)),
        jax.tree.leaves(gradients(other)),
        strict=True,
    ):
        np.testing.assert_allclose(own, theirs, rtol=1e-4, atol=1e-6)  # Other order.


def test_bfloat16_is_close(model, images):
    half = models.build(
        _NAME, **_FIELDS, pooling=model.config.pooling, dtype="bfloat16"
    )
    params = _params(model)
    logits = half.apply(params, images)
    assert logits.dtype == jnp.float32
    # Eight bits of mantissa through two layers.
    np.testing.assert_allclose(logits, model.apply(params, images), atol=0.1)


def test_health_is_collected_for_each_layer(model):
    batch = model.random_batch(0, 2, _SHAPE)
    health = model.loss(_params(model), batch, collect_health=True).health
    entropy = health["encoder/self_attention/entropy"]
    assert entropy.shape == (2,)
    assert np.all((entropy > 0) & (entropy <= np.log(model.config.length) + 1e-6))


def test_parameters_have_axes(model):
    sizes = {
        "embed": 24,
        "joined_heads": 24,
        "joined_kv_heads": 24,
        "mlp": 40,
        "pixels": 48,
        "classes": 7,
        "position": model.config.length,
        "one": 1,
    }
    axes = model.param_axes()
    assert jax.tree.map(np.shape, model.init(jax.random.key(0))) == {
        module: {
            name: tuple(sizes[axis] for axis in names) for name, names in leaves.items()
        }
        for module, leaves in axes.items()
    }


def test_dropout_needs_a_key_and_changes_with_it(images):
    model = _build(dropout_rate=0.5)
    params = _params(model)
    batch = models.image_batch.make(np.uint8(images * 127 + 127), np.zeros(3, np.int32))
    losses = [
        float(model.loss(params, batch, key).sums.loss_sum)
        for key in (None, None, jax.random.key(0), jax.random.key(1))
    ]
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("vit-EL2-S", {}, "EL does not apply to vit: there is only one stack"),
        ("vit-SH-S", {}, "SH does not apply to vit"),
        ("vit-pico", {}, "'pico' is neither a size nor an operator"),
        ("vit-NL2", {}, "no size; accepted: S, B, L"),
        ("vit-S", {"patch_size": 48}, "patch_size: 48 does not divide image_height"),
        ("vit-S", {"pooling": "max"}, "pooling: unknown 'max'; accepted: token, mean"),
        ("vit-S", {"loss": "hinge"}, "loss: unknown 'hinge'"),
        ("vit-S", {"label_smoothing": 1.0}, "label_smoothing: must lie in"),
        ("vit-S", {"vocab_size": 8}, "unknown option 'vocab_size'"),
    ],
)
def test_bad_names_and_fields(name, fields, words):
    with pytest.raises((models.ModelNameError, models.ConfigError), match=words):
        models.build(name, **fields)


def test_images_of_another_size_are_refused(model):
    with pytest.raises(models.ConfigError, match="takes images of 12 x 20 x 3"):
        model.check(models.ImageShape(20, 12))
    with pytest.raises(models.ConfigError, match="multiples of 2"):
        model.check_parts(3, _SHAPE, 2)


def test_the_config_is_that_of_the_name():
    config = models.build("vit-NL24-S").config
    found = dataclasses.asdict(config)
    assert {k: found[k] for k in ("d_model", "d_ff", "num_heads", "num_layers")} == {
        "d_model": 512,
        "d_ff": 2048,
        "num_heads": 8,
        "num_layers": 24,
    }
    large = models.build("vit-L").config
    shape = (large.d_model, large.d_ff, large.num_heads, large.num_layers)
    assert shape == (1024, 4096, 16, 24)
