"""Tests the configuration of a study: its designs, and errors that name the field."""

import dataclasses

import pytest

from clinometer.tools.study import study_config
from clinometer.tools.study.configs import study
from clinometer.train import errors


def _with_orders(*orders, **design):
    config = study.get_config()
    config.design.orders = orders
    config.design.update(design)
    return config


def _names(config):
    return [run.name for run in study_config.read(config).runs]


def test_the_default_is_complete():
    read = study_config.read(study.get_config())
    assert read.architectures == ("transformer",)
    assert read.role == "final" and not read.extrapolate
    assert read.protocol.downstream.train_steps == 300
    assert {run.pass_number for run in read.runs} == {1, 2}


def test_a_design_of_orders_in_passes():
    config = _with_orders(3, 1, 2)
    config.architectures = ("transformer", "mos")
    config.sizes = ("pico", "nano", "milli")
    with config.unlocked():
        config.design.by_architecture.transformer = {"initializations": 2}
        config.design.by_architecture.mos = {"sizes": ("pico",), "orders": (2,)}
    assert _names(config) == [
        *(f"transformer-pico-o{k}-s{100 * k + i}" for k in (1, 2, 3) for i in (0, 1)),
        *("transformer-nano-o1-s100", "transformer-nano-o1-s101"),
        *(f"transformer-milli-o{k}-s{100 * k + i}" for k in (1, 2) for i in (0, 1)),
        *("mos-pico-o1-s100", "mos-pico-o2-s200"),
    ]
    runs = study_config.read(config).runs
    assert all(run.pass_number == run.order for run in runs)


def test_a_pilot_says_so():
    config = study.get_config()
    config.design.role = "pilot"
    assert {run.role for run in study_config.read(config).runs} == {"pilot"}


def _set(config, key, value):
    *groups, name = key.split(".")
    node = config
    with config.unlocked():
        for group in groups:
            node = node[group]
        del node[name]
        node[name] = value


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("architectures", (), "no architectures"),
        ("sizes", (), "no sizes"),
        ("design.orders", (), "no seeds"),
        ("design.seeds", (-1,), "config.design.seeds: must not be negative"),
        (
            "design.role",
            "sweep",
            "config.design.role: unknown 'sweep'; accepted: f",
        ),
        ("design.seeds", (0,), "config.design.seeds: got (0,); must be empty"),
        ("protocol.train_steps", 0, "config.protocol.train_steps: must be at least 1"),
        ("protocol.learning_rate", -1.0, "config.protocol.learning_rate: must be pos"),
        ("protocol.dtype", "int8", "config.protocol.dtype: unknown 'int8'"),
        ("downstream.mixture", None, "config.downstream.mixture: got None"),
        ("design", 3, "config.design: unknown key"),
        ("design.by_architecture", {"mos": {}}, "mos is not among config.archi"),
        (
            "design.by_architecture",
            {"transformer": 3},
            "transformer: got 3, acc",
        ),
        ("design.by_architecture", {"transformer": {"x": 1}}, "transformer.x: unknown"),
        ("protocol.kind", "long", "config.protocol.kind: unknown 'long'; accepted: sh"),
        ("finetunings", {"a": {}}, "config.finetunings.a: got {}, accepted: a Config"),
        ("finetunings", {"a": 3}, "config.finetunings.a: got 3, accepted: a ConfigD"),
        (
            "finetunings",
            {"study": {"mixture": "rte"}},
            "config.finetunings.study: a name of small letters",
        ),
        (
            "finetunings",
            {"a": {"mixture": "rte", "step": 3}},
            "config.finetunings.a.step: unknown key",
        ),
        (
            "finetunings",
            {"a": {"mixture": "rte", "decoding": "x"}},
            "config.finetunings.a.decoding: unknown 'x'; accepted: greedy, beam",
        ),
        (
            "finetunings",
            {"a": {"mixture": "rte", "models": ("glue-pico",)}},
            "config.finetunings.a.models: model 'glue-pico': unknown architecture",
        ),
        ("notes", {"switch-huge": "x"}, "config.notes: model 'switch-huge': "),
        ("notes", {"switch-xl": 3}, "config.notes.switch-xl: got 3"),
    ],
)
def test_a_wrong_field_is_named(key, value, words):
    config = study.get_config()
    _set(config, key, value)
    with pytest.raises(errors.ConfigError) as caught:
        study_config.read(config)
    assert words in str(caught.value)


def test_unknown_and_missing_fields_are_named():
    config = study.get_config()
    with config.unlocked():
        config.protocol.train_step = 3
    with pytest.raises(errors.ConfigError, match="train_step: unknown key .did you"):
        study_config.read(config)
    config = study.get_config()
    with config.unlocked():
        del config.design["role"]
    with pytest.raises(errors.ConfigError, match=r"config.design.role: missing"):
        study_config.read(config)


def test_orders_need_a_number_for_each_size():
    with pytest.raises(errors.ConfigError, match="orders has 2 numbers and sizes has"):
        study_config.read(_with_orders(2, 1))
    with pytest.raises(errors.ConfigError, match="must be at least 1"):
        study_config.read(_with_orders(2, 1, 0, 1))
    with pytest.raises(errors.ConfigError, match="initializations is 101"):
        study_config.read(_with_orders(1, 1, 1, 1, initializations=101))


def test_a_pilot_has_no_claims():
    config = study.get_config()
    config.claims, config.design.role = "claims.py", "pilot"
    with pytest.raises(errors.ConfigError, match="config.claims: must be none"):
        study_config.read(config)


def test_initializations_need_orders():
    config = _with_orders(initializations=2, seeds=(0,))
    with pytest.raises(errors.ConfigError, match=r"initializations: needs design.ord"):
        study_config.read(config)


def test_one_number_of_orders_is_for_all_sizes():
    config = _with_orders(2)
    config.sizes = ("pico", "nano")
    assert _names(config) == [
        *("transformer-pico-o1-s100", "transformer-pico-o2-s200"),
        *("transformer-nano-o1-s100", "transformer-nano-o2-s200"),
    ]


def test_further_finetunings_take_other_fields_from_downstream():
    config = study.get_config()
    config.downstream.train_steps = 50
    with config.unlocked():
        config.finetunings.more = {
            "models": ("transformer-PI",),
            "mixture": "acceptability",
            "decoder_length": 9,
        }
    first, more = study_config.read(config).protocol.finetunings
    assert (first.name, first.settings.mixture, first.models) == ("study", "cloze", ())
    assert more.settings == dataclasses.replace(
        first.settings, mixture="acceptability", decoder_length=9
    )
    assert more.is_of("transformer-pico") and not more.is_of("transformer-nano")
    assert first.is_of("transformer-nano")


def test_the_papers_schedule_has_no_fractions():
    config = study.get_config()
    config.protocol.kind = "papers"
    study_config.read(config)
    config.protocol.decay_fraction = 0.3
    with pytest.raises(errors.ConfigError, match="decay_fraction: must not be set for"):
        study_config.read(config)
