"""Configurations of earlier versions work, with a warning that says what to use."""

import pytest

from clinometer.train import config
from clinometer.train import errors

_FILE = "train/configs/pretrain.py"
_WARNING = (
    "config.log.tensorboard is deprecated and goes in version 0.2.0; use "
    "config.log.trackers, with tensorboard or nothing"
)
_OWN = """
from clinometer.train.configs import pretrain

def get_config():
    config = pretrain.get_config("transformer-pico")
    config.log.tensorboard = VALUE
    return config
"""


@pytest.mark.parametrize(
    ("value", "trackers"), [("true", "tensorboard"), ("false", ""), ("False", "")]
)
def test_an_old_override_works_with_a_warning(value, trackers):
    with pytest.warns(DeprecationWarning) as caught:
        loaded = config.load(_FILE, [f"--config.log.tensorboard={value}"])
    assert [str(each.message) for each in caught] == [_WARNING]
    assert loaded.log.trackers == trackers
    assert "tensorboard" not in loaded.log


@pytest.mark.parametrize(("value", "trackers"), [(True, "tensorboard"), (False, "")])
def test_an_old_file_works_with_a_warning(value, trackers, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(_OWN.replace("VALUE", str(value)))
    with pytest.warns(DeprecationWarning) as caught:
        loaded = config.load(str(path))
    assert [str(each.message) for each in caught] == [_WARNING]
    assert loaded.log.trackers == trackers
    assert "tensorboard" not in loaded.log


def test_a_value_of_another_type_is_named(tmp_path):
    words = r"config\.log\.tensorboard: got 'maybe', accepted: bool; .* use config\.log"
    with pytest.raises(errors.ConfigError, match=words):
        config.load(_FILE, ["--config.log.tensorboard=maybe"])
    (tmp_path / "own.py").write_text(_OWN.replace("VALUE", "'maybe'"))
    with pytest.raises(errors.ConfigError, match=words):
        config.load(str(tmp_path / "own.py"))
