"""Tests of the partition rules."""

import jax
import pytest

from clinometer import models
from clinometer.models.layers import parameters
from clinometer.train import errors
from clinometer.train.sharding import mesh
from clinometer.train.sharding import rules


def test_every_axis_has_a_rule():
    assert set(rules.AXIS_RULES) == set(parameters.AXES)
    assert set(rules.AXIS_RULES.values()) <= {None, *mesh.AXES}
    for axes, places in rules.LEAF_RULES.items():
        assert len(axes) == len(places)


@pytest.mark.parametrize(
    "sizes",
    [("micro",), pytest.param(models.SIZES, marks=pytest.mark.slow)],
    ids=["micro", "all"],
)
@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_every_parameter_matches_one_rule(architecture, sizes):
    """Also that no mesh axis divides two axes of a parameter."""
    for size in sizes:
        model = models.build(f"{architecture}-{size}")
        axes = model.param_axes()
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        for module, leaves in shapes.items():
            for name, leaf in leaves.items():
                places = rules.DEFAULT.places(axes[module][name])
                assert len(places) == leaf.ndim
                used = [place for place in places if place is not None]
                assert len(set(used)) == len(used), (module, name, places)
                # A large matrix that is not divided would be on every device.
                assert used or not {"embed", "vocab"} & {*axes[module][name]}


@pytest.mark.parametrize(
    ("axes", "places"),
    [
        (("vocab", "embed"), ("model", "fsdp")),
        (("embed", "mlp"), ("fsdp", "model")),
        (("expert", "mlp", "embed"), ("expert", "model", "fsdp")),
        (("layers", "embed", "joined_heads"), (None, "fsdp", "model")),
        (("factor", "embed"), (None, "fsdp")),
        (("layers", "channels", "hidden_channels"), (None, "model", None)),
    ],
)
def test_places(axes, places):
    assert rules.DEFAULT.places(axes) == places
    assert tuple(rules.DEFAULT.spec(axes)) == places


def test_a_rule_is_named_without_the_axis_of_layers():
    assert rules.DEFAULT.rule_of(("layers", "embed", "mlp")) == "embed*mlp=fsdp*model"
    assert rules.DEFAULT.rule_of(("embed", "mlp")) == "embed*mlp=fsdp*model"


def test_overrides_replace_rules():
    made = rules.with_overrides("vocab=none, embed*mlp=model*none")
    assert made.places(("vocab", "embed")) == (None, "fsdp")
    assert made.places(("embed", "mlp")) == ("model", None)
    assert made.places(("mlp", "embed")) == ("model", "fsdp")
    assert rules.with_overrides("") == rules.DEFAULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vocab", "'vocab' is no rule; accepted: AXIS=MESH_AXIS"),
        ("embed*mlp=fsdp", "is no rule"),
        ("width=fsdp", "unknown axis 'width'; accepted: embed"),
        ("embed=pipeline", "unknown mesh axis 'pipeline'; accepted: data"),
        ("vocab=model,vocab=fsdp", "two rules match vocab"),
        ("embed*mlp=model*model", "divides two axes by the same mesh axis"),
    ],
)
def test_bad_overrides(text, message):
    with pytest.raises(errors.ConfigError, match=f"config.mesh.rules: .*{message}"):
        rules.with_overrides(text)


def test_what_no_rule_or_two_rules_match_is_refused():
    with pytest.raises(errors.ConfigError, match="no rule matches the axis 'width'"):
        rules.DEFAULT.places(("embed", "width"))
    both = rules.with_overrides("embed=model")
    with pytest.raises(errors.ConfigError, match=r"two rules .*embed and mlp; add one"):
        both.places(("embed", "mlp"))
