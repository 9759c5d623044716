"""Tests that bad input is rejected before anything is compiled or written."""

import collections
import dataclasses
import random
import re
import shutil

import jax
import pytest

from clinometer import models
from clinometer.data.errors import DataError
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train import state as state_lib
from clinometer.train.configs import finetune
from clinometer.train.configs import pretrain
from clinometer.train.run import checkpoints
from clinometer.train.sharding import mesh


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.name=transfromer-pico", "model.name.*'transfromer'.*transformer"),
        ("model.name=transformer-NL-TI", "operator NL needs a number"),
        ("model.dropuot_rate=0.1", "config.model: .*did you mean 'dropout_rate'"),
        ("model.dropout_rate=high", "config.model: dropout_rate.*'high'"),
        ("model.vocab_size=100", "model.vocab_size: 100 is less than the 200 ids"),
        ("data.store=", "data.store: missing.*clinometer tokenize"),
        ("data.store=nowhere", "'nowhere' is not a token store"),
        ("data.encoder_length=1", "config.data: "),
        ("data.batch_size=60000", "config.data: .*a batch of 60000"),
        ("num_microbatches=3", "data.batch_size: 4 is not a multiple of 3"),
        ("train_steps=0", "train_steps: must be at least 1"),
        ("checkpoint.keep_best=-1", "keep_best: must not be negative"),
        ("optimizer.name=sgd", "optimizer.name: unknown 'sgd'"),
    ],
)
def test_bad_input(arguments, tmp_path, capsys, monkeypatch, override, message):
    def refuse(*unused, **also_unused):
        raise AssertionError("compiled something")

    monkeypatch.setattr(jax, "jit", refuse)
    workdir = tmp_path / "run"
    assert main.main([*arguments(override), f"--workdir={workdir}"]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("clinometer train: error: ")
    assert re.search(message, error), error
    assert not workdir.exists()


def test_packing_is_refused_where_examples_would_see_each_other(store):
    config = finetune.get_config("performer-pico")
    config.data.store, config.data.mixture = str(store), "rte"
    config.data.packing = True
    with pytest.raises(errors.RunError, match="data.packing: performer mixes") as info:
        job_lib.prepare(config)
    assert "transformer, universal, switch, funnel, albert, mos, glu" in str(info.value)


@pytest.mark.parametrize(
    ("model", "overrides", "words"),
    [
        ("funnel-pico", ["model.num_encoder_layers=2"], "must be a multiple of 2"),
        ("mixer-pico", ["model.sequence_length=128"], "of length 128, got 63"),
        (
            "performer-pico",
            ["model.performer_pos=learned", "model.max_length=62"],
            "62 learned positions are too few for sequences of length 63",
        ),
    ],
)
def test_a_length_that_the_model_cannot_take(
    arguments, tmp_path, capsys, model, overrides, words
):
    workdir = tmp_path / "run"
    command = arguments("data.encoder_length=63", *overrides, model=model)
    assert main.main([*command, f"--workdir={workdir}"]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert f"config.data.encoder_length: 63 is not possible with {model}" in error
    assert words in error
    assert not workdir.exists()


def test_a_model_needs_no_configuration_file(tmp_path, capsys):
    given = ["--workdir", str(tmp_path / "run"), "--config.data.store", "not here"]
    assert main.main(["--model", "performer-nano", *given]) == 2
    assert "'not here' is not a token store" in capsys.readouterr().err
    assert main.main(["--model", "performer-nan", *given]) == 2
    assert "did you mean 'nano'" in capsys.readouterr().err
    for which in ([], ["--model", "mos-pico", "--config", "x.py"]):
        with pytest.raises(SystemExit) as caught:
            main.main([*which, *given])
        assert caught.value.code == 2
    assert "not allowed with argument --model" in capsys.readouterr().err


def test_bad_workdir(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main([*arguments(), f"--workdir={tmp_path / 'file'}"]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def _save(workdir, identity, step=4):
    manager = checkpoints.Checkpoints(workdir / "checkpoints")
    abstract = {"token_embedding": {"table": jax.numpy.zeros(2)}}
    state = state_lib.TrainState(jax.numpy.int32(step), abstract, abstract)
    manager.save(step, state, identity=identity, progress={})
    manager.close()


def test_a_checkpoint_settles_the_number_of_microbatches(make_config, tmp_path):
    open_, fixed = (
        job_lib.prepare(make_config(f"microbatch={how}")) for how in ("auto", "fixed")
    )
    two = job_lib.with_microbatches(open_, 2)
    _save(tmp_path, two.identity)
    job_lib.check_workdir(open_, tmp_path)
    assert job_lib.resuming(open_, two.identity).identity == two.identity
    assert job_lib.resuming(fixed, two.identity) is fixed
    with pytest.raises(errors.RunError, match="num_microbatches is 1 here, 2 there"):
        job_lib.check_workdir(fixed, tmp_path)
    placement = dataclasses.replace(open_.placement, sizes=mesh.Sizes(data=4))
    with pytest.raises(errors.ConfigError, match="data.batch_size: 4 is not .* of 8"):
        job_lib.check_workdir(dataclasses.replace(open_, placement=placement), tmp_path)


def test_a_checkpoint_of_another_run(make_config, tmp_path):
    _save(tmp_path, job_lib.prepare(make_config()).identity)
    job_lib.check_workdir(job_lib.prepare(make_config()), tmp_path)
    cadence = make_config(
        "eval.every_steps=9",
        "checkpoint.keep_last=7",
        "log.every_steps=2",
        "train_steps=100",
        "model.scan_layers=true",
        "model.remat=layer",
    )
    job_lib.check_workdir(job_lib.prepare(cadence), tmp_path)
    for override, field in {
        "seed=1": "seed",
        "model.d_ff=64": "model.d_ff",
        "model.dtype=bfloat16": "model.dtype",
        "data.batch_size=8": "data.batch_size",
        "data.order=1": "data.order",
        "optimizer.decay_rate=0.9": "optimizer.decay_rate",
        "schedule.learning_rate=0.1": "schedule.learning_rate",
        "z_loss=0.0": "z_loss",
        "num_microbatches=2": "num_microbatches",
    }.items():
        job = job_lib.prepare(make_config(override))
        with pytest.raises(errors.RunError, match=rf"{field} is .* here, .* there"):
            job_lib.check_workdir(job, tmp_path)
    with pytest.raises(
        errors.RunError, match=r"train_steps: 3 is less than the 4 steps of"
    ):
        job_lib.check_workdir(job_lib.prepare(make_config("train_steps=3")), tmp_path)


def test_the_earlier_name_of_the_data_order_is_known(make_config, tmp_path):
    identity = dict(job_lib.prepare(make_config()).identity)
    identity["data.seed"] = identity.pop("data.order")
    _save(tmp_path, identity)
    job_lib.check_workdir(job_lib.prepare(make_config()), tmp_path)
    with pytest.raises(errors.RunError, match=r"data.order is 1 here, 0 there"):
        job_lib.check_workdir(job_lib.prepare(make_config("data.order=1")), tmp_path)


def test_length_is_identity_where_the_schedule_needs_it(make_config):
    for name, depends in {"wsd": True, "cosine": True, "rsqrt": False}.items():
        config = make_config(f"schedule.name={name}")
        assert ("train_steps" in job_lib.prepare(config).identity) == depends


def test_a_store_may_move(make_config, store, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(store, moved)
    before = job_lib.prepare(make_config())
    after = job_lib.prepare(make_config(f"data.store={moved}"))
    assert before.identity == after.identity
    assert dataclasses.asdict(before.model.config)["vocab_size"] == 256


def _random_value(rng):
    return rng.choice(
        (
            *(str(rng.randint(0, 70)) for _ in range(12)),
            *(f"{rng.uniform(0, 1):.3g}" for _ in range(12)),
            f"{rng.randint(-9, 9)}e{rng.randint(-6, 320)}",
            *("nan", "inf", "1e999", "18446744073709551616", "none", "true", "", "0"),
            *(
                "adamw",
                "cosine",
                "keep",
                "layer",
                "gated-gelu",
                "bfloat16",
                "reference",
            ),
        )
    )


@pytest.mark.slow
def test_random_configurations_are_prepared_or_refused_in_a_line(arguments):
    rng, outcomes = random.Random(0), collections.Counter()
    fields = [
        field
        for field in config_lib.flatten(config_lib.to_dict(pretrain.get_config()))
        if field not in ("data.store", "initial.run", "model.name")
    ]
    for _ in range(500):
        architecture = rng.choice(list(models.ARCHITECTURES))
        own = dataclasses.fields(models.ARCHITECTURES[architecture].config)
        names = [*fields, *(f"model.{field.name}" for field in own)]
        chosen = [f"{rng.choice(names)}={_random_value(rng)}" for _ in range(2)]
        layers = ("model.num_encoder_layers=2", "model.num_decoder_layers=2")
        given = [*layers, *chosen[: rng.randint(1, 2)]]
        specification, *overrides = arguments(*given, model=f"{architecture}-pico")
        try:
            specification = specification.removeprefix("--config=")
            job_lib.prepare(config_lib.load(specification, overrides))
        except (errors.RunError, DataError) as error:
            assert "\n" not in str(error) and len(str(error)) < 2000, given
            outcomes["refused"] += 1
        else:
            outcomes["valid"] += 1
    assert min(outcomes["refused"], outcomes["valid"]) > 50, outcomes
