"""Tests that the trainer's config gets the settings of the study's protocol."""

import dataclasses

import pytest

from clinometer.tools.study import plan
from clinometer.tools.study import protocol
from clinometer.train import config as config_lib
from clinometer.train.configs import finetune
from clinometer.train.configs import pretrain


def _config(run, settings=None):
    settings = settings or protocol.Protocol()
    run = dataclasses.replace(run, learning_rate=0.03, rate_table="ab", claims="cd")
    config = config_lib.load(
        protocol.config_argument(settings, run),
        protocol.overrides(settings, run, "/some/store"),
    )
    return config_lib.flatten(config_lib.to_dict(config))


def _downstream(settings, run):
    return protocol.downstream_overrides(settings, run, settings.downstream)


def test_the_trainer_reads_the_protocol():
    config = _config(plan.PlannedRun("transformer-pico", 3))
    expected = {
        "model.name": "transformer-pico",
        "model.dropout_rate": 0.0,
        "model.dtype": "float32",
        "seed": 3,
        "data.order": 0,
        "data.store": "/some/store",
        "data.batch_size": 4,
        "data.encoder_length": 128,
        "data.noise_density": 0.15,
        "data.mean_noise_span_length": 3.0,
        "train_steps": 3000,
        "optimizer.name": "adafactor",
        "schedule.name": "wsd",
        "schedule.learning_rate": 0.03,
        "schedule.warmup_fraction": 0.05,
        "schedule.decay_fraction": 0.5,
        "study.role": "final",
        "study.pass_number": 1,
        "study.rate_table": "ab",
        "study.claims": "cd",
        "study.fixed_rate": None,
    }
    assert {field: config[field] for field in expected} == expected
    # At least 20 windows for the speed, after two are discarded.
    assert config["train_steps"] // config["log.every_steps"] - 2 >= 20


def test_short_runs_keep_whole_intervals():
    config = _config(
        plan.PlannedRun("transformer-nano", 0), protocol.Protocol(train_steps=2)
    )
    for field in ("eval.every_steps", "checkpoint.every_steps", "log.every_steps"):
        assert config[field] == 1


@pytest.mark.parametrize(
    ("model", "packing", "batch_size"),
    [("transformer-pico", True, 8), ("performer-pico", False, 32)],
)
def test_fine_tuning_reads_its_part(model, packing, batch_size):
    run = plan.PlannedRun(model, 1)
    overrides = _downstream(protocol.Protocol(), run)
    config = config_lib.overridden(finetune.get_config(model), overrides)
    flat = config_lib.flatten(config_lib.to_dict(config))
    expected = {
        "seed": 1,
        "train_steps": 300,
        "model.dropout_rate": 0.0,
        "schedule.name": "constant",
        "schedule.learning_rate": 0.006,
        "data.encoder_length": 128,
        "data.packing": packing,
        "data.batch_size": batch_size,
    }
    assert {field: flat[field] for field in expected} == expected


def test_experts_have_a_dropout_of_their_own():
    config = finetune.get_config("switch-pico")
    assert config.model.dropout_rate == 0.1
    assert config.model.expert_dropout_rate == 0.4  # as Fedus et al. 2021
    run = plan.PlannedRun("switch-pico", 0)
    overrides = _downstream(protocol.Protocol(), run)
    config = config_lib.overridden(config, overrides)
    assert config.model.expert_dropout_rate == config.model.dropout_rate == 0.0


def test_only_a_design_with_orders_sets_the_order():
    run = plan.PlannedRun("transformer-pico", 0, learning_rate=0.03)
    settings = protocol.Protocol()
    assert not any("data.order" in x for x in protocol.overrides(settings, run, "s"))
    run = dataclasses.replace(run, order=3)
    assert "--config.data.order=3" in protocol.overrides(settings, run, "s")


def test_intervals_do_not_decide_the_rate():
    short = protocol.Protocol(train_steps=3)
    assert short.rate_settings()["train_steps"] == 3
    assert "data.batch_size" in short.rate_settings()
    assert not any("every_steps" in key for key in short.rate_settings())
    assert "schedule.learning_rate" not in short.settings()


def test_scanned_layers_keep_their_rates():
    scanned = protocol.Protocol(scan_layers=True)
    config = _config(plan.PlannedRun("transformer-pico", 3), scanned)
    assert config["model.scan_layers"] is True
    assert scanned.rate_settings() == protocol.Protocol().rate_settings()


_PAPERS = protocol.Protocol(
    kind=protocol.PAPERS,
    train_steps=2**19,
    batch_size=128,
    encoder_length=512,
    dropout_rate=0.1,
    dtype="bfloat16",
)


def test_the_papers_protocol_is_the_trainer_s_defaults():
    # Tay et al. 2021 and 2022: 2^19 steps, Adafactor, 1 / sqrt(max(step, 10^4)).
    run = plan.PlannedRun("transformer-base", 0)
    flat = _config(run, _PAPERS)
    default = config_lib.flatten(config_lib.to_dict(pretrain.get_config(run.model)))
    changed = {key for key in flat if flat[key] != default.get(key)}
    assert changed == {
        *("data.store", "model.dtype", "model.dropout_rate", "schedule.learning_rate"),
        *(f"study.{key}" for key in ("role", "pass_number", "rate_table", "claims")),
    }
    expected = {
        "train_steps": 524_288,
        "optimizer.name": "adafactor",
        "optimizer.min_dim_size_to_factor": 128,
        "schedule.name": "rsqrt",
        "schedule.warmup_steps": 10_000,
        "eval.every_steps": 5_000,
    }
    assert {field: flat[field] for field in expected} == expected


@pytest.mark.parametrize("model", ["transformer-base", "switch-base", "funnel-base"])
def test_the_papers_fine_tune_all_architectures_alike(model):
    settings = protocol.DownstreamSettings(
        train_steps=100_000, learning_rate=1e-3, rows=128, examples=128
    )
    own = dataclasses.replace(_PAPERS, downstream=settings)
    overrides = _downstream(own, plan.PlannedRun(model, 0))
    config = config_lib.overridden(finetune.get_config(model), overrides)
    flat = config_lib.flatten(config_lib.to_dict(config))
    default = config_lib.flatten(config_lib.to_dict(finetune.get_config(model)))
    assert {key for key in flat if flat[key] != default[key]} == {
        "data.decoder_length"  # The default's 114 is the papers' mixture's.
    }
    assert (flat["data.packing"], flat["data.batch_size"]) == (False, 128)
    assert flat["schedule.learning_rate"] == 1e-3
