"""Tests of configuration files and overrides, and of the messages for bad ones."""

import pytest

from clinometer.train import config
from clinometer.train import errors

_FILE = "train/configs/pretrain.py"


def test_defaults_are_the_papers_protocol():
    loaded = config.flatten(config.to_dict(config.load(_FILE)))
    expected = {
        "model.name": "transformer-small",
        "train_steps": 524_288,
        "data.batch_size": 128,
        "data.encoder_length": 512,
        "optimizer.name": "adafactor",
        "schedule.name": "rsqrt",
        "schedule.warmup_steps": 10_000,
        "z_loss": 1e-4,
    }
    assert {key: loaded[key] for key in expected} == expected


def test_overrides_take_the_fields_type():
    loaded = config.load(
        f"{_FILE}:transformer-EL4-TI",
        [
            "--config.train_steps=1_000",
            "--config.z_loss=0",
            "--config.initial.branch=True",
            "--config.data.store=12",
            "--config.eval.max_rows=7",
            "--config.profile.start_step=none",
            "--config.model.dropout_rate=0.0",
            "--config.model.dtype=bfloat16",
            "--config.model.remat=dots",
        ],
    )
    assert loaded.model.name == "transformer-EL4-TI"
    assert loaded.train_steps == 1000
    assert loaded.z_loss == 0.0
    assert isinstance(loaded.z_loss, float)
    assert loaded.initial.branch is True
    assert loaded.data.store == "12"
    assert loaded.eval.max_rows == 7
    assert loaded.profile.start_step is None
    assert loaded.model.dropout_rate == 0.0
    assert loaded.model.dtype == "bfloat16"
    assert loaded.model.remat == "dots"


def test_values_may_stand_apart_and_have_exponents():
    loaded = config.load(
        f"{_FILE}:transformer-pico",
        [
            "--config.train_steps",
            "1e3",
            "--config.data.store",
            "a b",
            "--config.model.d_model",
            "1.6e1",
            "--config.z_loss",
            "-1",  # Rejected later, since the parser does not check ranges.
            "--config.data.batch_size=2E1",
        ],
    )
    assert (loaded.train_steps, type(loaded.train_steps)) == (1000, int)
    assert (loaded.data.store, loaded.data.batch_size) == ("a b", 20)
    assert (loaded.model.d_model, type(loaded.model.d_model)) == (16, int)
    assert loaded.z_loss == -1.0
    for given in (["--config.data.store"], ["--config.seed", "--config.z_loss=0"]):
        with pytest.raises(
            errors.RunError, match=r"config\.[a-z.]+: no value given; use"
        ):
            config.load(_FILE, given)
    with pytest.raises(errors.RunError, match="unknown argument 'stray'"):
        config.load(_FILE, ["--config.seed", "1", "stray"])


def test_a_mixer_is_as_long_as_its_inputs():
    loaded = config.load(f"{_FILE}:mixer-pico", ["--config.data.encoder_length=128"])
    assert config.to_dict(loaded)["model"]["sequence_length"] == 128
    assert config.load(f"{_FILE}:Mixer-TI").model.sequence_length == 512
    own = config.load(f"{_FILE}:mixer-pico", ["--config.model.sequence_length=64"])
    assert (own.model.sequence_length, own.data.encoder_length) == (64, 512)
    assert "sequence_length" not in config.load(f"{_FILE}:transformer-pico").model


def test_a_file_beside_the_caller_comes_first(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import config_dict\n"
        "def get_config():\n"
        "    return config_dict.ConfigDict({'sizes': (1, 2), 'x': 1})\n"
    )
    monkeypatch.chdir(tmp_path)
    assert config.load("mine.py", ["--config.sizes=(3,)"]).sizes == (3,)
    with pytest.raises(errors.RunError, match="takes no argument"):
        config.load("mine.py:argument")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.train_stepz=1", "'train_stepz'.*did you mean 'train_steps'"),
        ("--config.data.batchsize=1", "did you mean 'batch_size'"),
        ("--config.dta.batch_size=1", "did you mean 'data'"),
        ("--config.batch_size=1", r"did you mean 'data\.batch_size'"),
        (
            "--config.train_steps=1.5",
            "train_steps: got '1.5', accepted: a whole number",
        ),
        ("--config.train_steps=true", "train_steps: got 'true'"),
        ("--config.z_loss=tiny", "z_loss: got 'tiny', accepted: a number"),
        ("--config.initial.branch=1", "accepted: true or false"),
        ("--config.train_steps=none", "train_steps: got 'none'"),
        ("--config.data=1", "a group of fields"),
        ("--config.seed.x=1", "seed is a single value and has no fields"),
        ("--wrokdir=x", "unknown argument '--wrokdir=x'"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(errors.RunError, match=message):
        config.load(_FILE, [override])


def test_bad_files(tmp_path):
    with pytest.raises(errors.RunError, match=r"no file 'nowhere\.py'"):
        config.load("nowhere.py:x")
    path = tmp_path / "lists.py"
    path.write_text(
        "from ml_collections import config_dict\n"
        "def get_config():\n"
        "    return config_dict.ConfigDict({'a': {'sizes': [1, 2]}})\n"
    )
    with pytest.raises(
        errors.RunError, match=r"a\.sizes: must not be a list; use a tuple"
    ):
        config.load(str(path))
