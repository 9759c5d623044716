"""The Switch Transformer: golden values, invariants, counts, invalid options.

`tests/models/golden/make_switch.py` computes the golden values with Hugging Face
`transformers`, which these tests do not need. If one fails, the model has changed.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tests.models import every_architecture as every
from clinometer.tests.models.golden import switch_weights
from clinometer.tests.models.golden import weights

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
EXPERTS = 4
ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()
EXAMPLE = every.Example(
    "switch-pico", {"num_experts": EXPERTS, "eval_capacity_factor": float(EXPERTS)}
)


def golden_case(variant):
    """Returns the model, parameters and golden values of a variant."""
    capacity = switch_weights.CAPACITIES[variant]
    # Gives exactly `capacity`, although it is rounded down.
    factor = (capacity + 0.5) * EXPERTS / switch_weights.LENGTH
    model = models.build(
        "switch-pico",
        **switch_weights.SHAPE,
        dropout_rate=0.0,
        eval_capacity_factor=factor,
        min_capacity=1,
        group_size=switch_weights.LENGTH,
        aux_loss_weight=switch_weights.AUX_LOSS_WEIGHT,
        router_z_loss_weight=switch_weights.Z_LOSS_WEIGHT,
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    flat = {
        f"{m}/{n}": x.shape for m, leaves in shapes.items() for n, x in leaves.items()
    }
    params = {}
    for path, leaf in weights.draw(flat).items():
        module, name = path.rsplit("/", 1)
        params.setdefault(module, {})[name] = jnp.asarray(leaf)
    with np.load(GOLDEN / f"{variant}.npz") as golden:
        return model, params, dict(golden)


@pytest.mark.parametrize("variant", switch_weights.CAPACITIES)
def test_logits_loss_and_gradients_are_the_peer_s(variant):
    model, params, golden = golden_case(variant)
    tokens = {k: jnp.asarray(v) for k, v in switch_weights.batch().items()}
    shifted = jnp.pad(tokens["targets"], ((0, 0), (1, 0)))[:, :-1]

    def objective(params):
        outputs = model.forward(params, tokens["inputs"], shifted)
        sums = models.loss.cross_entropy(outputs.logits, tokens["targets"])
        loss = sums.loss_sum / sums.weight_sum + outputs.auxiliary_loss
        return loss, outputs

    (loss, outputs), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(
        params
    )
    np.testing.assert_allclose(outputs.logits, golden["logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(loss, golden["loss"], rtol=1e-5)
    dropped = [
        outputs.health[f"{side}/sparse_feed_forward/dropped"]
        for side in ("encoder", "decoder")
    ]
    np.testing.assert_allclose(np.concatenate(dropped), golden["dropped"], atol=1e-6)
    assert (golden["dropped"].max() > 0) == (variant == "switch_dropping")
    paths = {f"gradient:{m}/{n}" for m, leaves in gradients.items() for n in leaves}
    assert paths == {k for k in golden if k.startswith("gradient:")}
    for module, leaves in gradients.items():
        for name, leaf in leaves.items():
            want = golden[f"gradient:{module}/{name}"]
            np.testing.assert_allclose(
                leaf, want, rtol=1e-3, atol=5e-4 * np.abs(want).max(), err_msg=module
            )


def test_one_expert_is_the_transformer_and_its_balance_is_perfect():
    vanilla = every.Example("transformer-pico")
    params = {}
    for module, leaves in vanilla.params().items():
        for layer, kind in (("layer_0", "dense"), ("layer_1", "sparse")):
            module = module.replace(f"{layer}/", f"layer_0/{kind}_")
        if module.endswith("sparse_feed_forward"):
            leaves = {name: leaf[None] for name, leaf in leaves.items()}
            leaves["router"] = jnp.ones((32, 1))
        params[module] = leaves
    want = jax.jit(vanilla.build().apply)(vanilla.params(), ENCODER, DECODER)
    model = every.Example("switch-pico", {"num_experts": 1}).build()
    got = jax.jit(model.forward)(params, ENCODER, DECODER)
    np.testing.assert_allclose(got.logits, want, rtol=1e-5, atol=1e-5)
    # 0.01 per sparse layer; each stack has one.
    np.testing.assert_allclose(got.auxiliary_loss, 0.02, rtol=1e-6)


def test_health_and_exact_decoding_where_evaluation_drops_tokens():
    roomy = EXAMPLE.build()
    tight = EXAMPLE.build(eval_capacity_factor=0.1, min_capacity=1)
    params = EXAMPLE.params()
    forced = jax.jit(roomy.forward)(params, ENCODER, DECODER)
    outputs = jax.jit(tight.forward)(params, ENCODER, DECODER)
    for side in ("encoder", "decoder"):
        name = f"{side}/sparse_feed_forward"
        assert outputs.health[f"{name}/load"].shape == (1, EXPERTS)
        np.testing.assert_allclose(outputs.health[f"{name}/load"].sum(), 1, rtol=1e-6)
        assert outputs.health[f"{name}/dropped"] > 0.3
        assert forced.health[f"{name}/dropped"] == 0
    assert forced.auxiliary_loss > 0
    assert not np.allclose(outputs.logits, forced.logits, atol=1e-2)
    # Decoding drops no token, regardless of the capacity factor.
    encoded = jax.jit(roomy.encode)(params, ENCODER)
    every.assert_decodes_as_taught(
        tight, params, ENCODER, DECODER, forced.logits, encoded
    )


def test_training_has_its_own_capacity_jitter_and_dropout():
    quiet = {"router_jitter": 0.0, "capacity_factor": float(EXPERTS)}

    def run(params, key):
        def logits(dropout_key, **options):
            model = EXAMPLE.build(**{**quiet, **options})
            return model.apply(params, ENCODER, DECODER, dropout_key=dropout_key)

        return {
            "evaluation": logits(None),
            "quiet": logits(key),
            "capacity": logits(key, capacity_factor=0.1, min_capacity=1),
            "jitter": logits(key, router_jitter=0.2),
            "dropout": logits(key, expert_dropout_rate=0.4),
        }

    got = jax.jit(run)(EXAMPLE.params(), jax.random.key(3))
    np.testing.assert_allclose(got["quiet"], got["evaluation"], rtol=1e-4, atol=1e-5)
    for name in ("capacity", "jitter", "dropout"):
        assert not np.allclose(got[name], got["quiet"], atol=1e-4), name


def closed(name, **options):
    config = models.build(name, **options).config
    return registry.ARCHITECTURES["switch"].param_counts(config), config


@pytest.mark.parametrize(
    ("size", "options", "billions"),
    [
        ("base", {}, 1.979),
        ("base", {"num_experts": 64}, 3.79),
        ("base", {"num_experts": 128}, 7.42),
        ("large", {}, 6.98),
        ("large", {"num_experts": 128}, 26.3),
        ("xl", {}, 40.7),
    ],
)
def test_parameters_are_as_specified(size, options, billions):
    counts, _ = closed(f"switch-{size}", **options)
    digits = len(str(billions).partition(".")[2])
    assert round(counts.total / 1e9, digits) == billions


def test_one_token_uses_the_vanilla_parameters_and_the_routers():
    counts, config = closed("switch-base")
    vanilla = 222_903_552  # ARCHITECTURES.md#sizes
    assert counts.active == vanilla + 12 * config.d_model * 32
    assert counts.total - counts.active == 12 * 31 * 2 * 768 * 3072


def test_experts_of_the_sizes():
    assert {
        size: models.build(f"switch-{size}").config.num_experts for size in models.SIZES
    } == {
        **dict.fromkeys(("pico", "nano", "micro", "milli"), 8),
        **dict.fromkeys(("tiny", "mini", "small", "base", "large"), 32),
        **dict.fromkeys(("xl", "xxl", "xxxl"), 48),
    }


def test_groups_that_devices_cannot_share_are_refused():
    shape = models.TextShape(512, 114)
    model = models.build("switch-base")
    for parts in (1, 2, 16):
        model.check_parts(128, shape, parts)
    with pytest.raises(
        models.ConfigError, match="16 in the decoder; accepted: 1, 2, 4"
    ):
        model.check_parts(128, shape, 32)
    with pytest.raises(models.ConfigError, match="a batch of 128 rows cannot be div"):
        model.check_parts(128, shape, 12)
    fixed = models.build("switch-base", sequences_per_group=4)
    fixed.check_parts(128, shape, 32)
    with pytest.raises(models.ConfigError, match="accepted: 1, 2$"):
        fixed.check_parts(64, shape, 32)  # Two microbatches.
    # Other architectures have no groups.
    models.build("transformer-base").check_parts(64, shape, 32)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("switch-EL3-PI", {}, "num_encoder_layers: must be even.*got 3"),
        ("switch-DL1-PI", {}, "num_decoder_layers: must be even.*got 1"),
        ("switch-pico", {"ffn_activation": "gated-gelu"}, "accepted: relu"),
        ("switch-pico", {"num_experts": 0}, "num_experts: must be at least 1"),
        (
            "switch-pico",
            {"sequences_per_group": -1},
            "sequences_per_group: must not",
        ),
        ("switch-pico", {"capacity_factor": 0.0}, "capacity_factor: must be positive"),
        ("switch-pico", {"aux_loss_weight": -1.0}, "aux_loss_weight: must not be"),
        ("switch-pico", {"router_jitter": 1.0}, "router_jitter: must lie in"),
        ("switch-pico", {"expert_dropout_rate": -0.5}, "expert_dropout_rate: must lie"),
    ],
)
def test_bad_options_name_the_field(name, options, message):
    with pytest.raises(models.ConfigError, match=message):
        models.build(name, **options)
