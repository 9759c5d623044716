"""Tests of the ids that trackers have for a run."""

import pytest

from clinometer.train import errors
from clinometer.train.run import directory
from clinometer.train.tracking import kept_id


def test_an_id_is_kept_for_each_tracker(tmp_path):
    run = directory.RunDirectory(tmp_path)
    assert kept_id.read(run, "wandb") is None
    kept_id.write(run, "wandb", "a")
    kept_id.write(run, "mlflow", "b")
    assert (kept_id.read(run, "wandb"), kept_id.read(run, "mlflow")) == ("a", "b")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"id": 3}'])
def test_a_damaged_file_is_named(tmp_path, text):
    run = directory.RunDirectory(tmp_path)
    kept_id.write(run, "wandb", "a")
    path = run.trackers_path / "wandb.json"
    path.write_text(text)
    with pytest.raises(errors.RunError, match=r"wandb\.json"):
        kept_id.read(run, "wandb")
