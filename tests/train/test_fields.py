"""Tests that every configuration field is documented and checked."""

import math
import random

import pytest

from clinometer import models
from clinometer.kernels.options import ranges
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import fields
from clinometer.train import main
from clinometer.train.configs import finetune as finetune_config
from clinometer.train.configs import pretrain
from clinometer.train.downstream import finetune

_CONFIGS = {"pretrain": pretrain.get_config, "finetune": finetune_config.get_config}
_OWN_FIELDS = (
    "model.dropout_rate",
)  # A field of the model, checked by `models.build`.


def _flat(config):
    return config_lib.flatten(config_lib.to_dict(config))


@pytest.mark.parametrize("name", _CONFIGS)
def test_the_table_has_each_field_and_no_other(name):
    config = _CONFIGS[name]()
    assert set(fields.known(config)) == set(_flat(config)) - set(_OWN_FIELDS)
    fields.check(config)  # The defaults are in range.


def _bad_values(field: fields.Field):
    """Returns values that must be rejected."""
    if isinstance(field.accepts, tuple):
        return ["", "no such name", 1]
    if field.accepts is bool:
        return [1, "true", None]
    if field.accepts is str:
        return [1, 1.5, True]
    bad = [-1, -(2**64), math.nan, math.inf, -math.inf, "1", 1e300]
    if isinstance(field.accepts, ranges.Whole):
        bad += [1.5, True, 2**64, 10**400]
    return bad


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in _CONFIGS for name in fields.known(_CONFIGS[kind]())],
)
def test_bad_values_are_refused_by_name(kind, name):
    config = _CONFIGS[kind]()
    *parents, key = name.split(".")
    for value in _bad_values(fields.known(config)[name]):
        changed = config.copy_and_resolve_references().unlock()
        node = changed
        for parent in parents:
            node = node[parent]
        with node.ignore_type():
            node[key] = value
        with pytest.raises(errors.RunError, match=f"^config.{name}: ") as caught:
            fields.check(changed)
        assert len(str(caught.value)) < 250


def test_a_batch_that_no_memory_holds_is_refused():
    for make in _CONFIGS.values():
        config = make()
        config.data.batch_size = 2_000_000_000
        with pytest.raises(errors.RunError, match="batch_size: must be at most 65536"):
            fields.check(config)


def test_a_missing_field_is_named():
    config = pretrain.get_config()
    with config.unlocked():
        del config.checkpoint["keep_last"]
    with pytest.raises(errors.RunError, match="config.checkpoint.keep_last: missing"):
        fields.check(config)


@pytest.mark.parametrize(("command", "config"), [(main, pretrain), (finetune, None)])
def test_help_says_what_each_field_is(command, config, capsys):
    config = (config or finetune_config).get_config()
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in fields.known(config).items():
        value = _flat(config)[name]
        said = f"--config.{name}={value} {field.meaning} Accepts {field.choices}."
        assert " ".join(said.split()) in text
    for architecture in models.ARCHITECTURES.values():
        for field, default, meaning in fields._own_fields(architecture.config):
            assert meaning, field  # Each is documented in the docstring.
            assert f"--config.model.{field}={default} {meaning}" in text


def _random_text(rng: random.Random) -> str:
    return rng.choice(
        (
            str(rng.randint(-3, 300)),
            f"{rng.uniform(-1, 3):.3g}",
            f"{rng.randint(1, 9)}e{rng.randint(-3, 400)}",
            *("nan", "-inf", "1e999", "18446744073709551616", "none", "true", "", "0"),
            *("adamw", "cosine", "keep", "transformer-NL2-pico", "(1,)", "\udcff", "é"),
            "9" * rng.randint(1, 6000),
            "(" * rng.randint(1, 3000),
        )
    )


@pytest.mark.slow
def test_random_configurations_are_valid_or_refused_in_a_line():
    rng, outcomes = random.Random(0), {"valid": 0, "refused": 0}
    names = list(_flat(pretrain.get_config()))
    names += ["model.dropout_rate", "model.num_encoder_layers", "model.nope", "nope"]
    for _ in range(4000):
        overrides = [
            f"--config.{rng.choice(names)}={_random_text(rng)}"
            for _ in range(rng.randint(1, 3))
        ]
        try:
            config = config_lib.load("train/configs/pretrain.py", overrides)
            fields.check(config)
        except errors.RunError as error:
            assert str(error).startswith("config."), overrides
            assert len(str(error)) < 2000 and "\n" not in str(error), overrides
            outcomes["refused"] += 1
        else:
            flat = _flat(config)
            for name, field in fields.known(config).items():
                if isinstance(field.accepts, ranges.Whole | ranges.Real):
                    value = flat[name]
                    assert value is None or math.isfinite(value), (name, overrides)
            outcomes["valid"] += 1
    assert min(outcomes.values()) > 300, outcomes
