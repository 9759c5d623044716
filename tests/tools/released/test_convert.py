"""`clinometer convert`: a release becomes a run that other commands take."""

import hashlib
import json
import shutil
import types

import jax
from ml_collections import config_dict
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.tools.released import hub
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools import cli
from clinometer.tools.report import build
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import state as state_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import store_search


@pytest.fixture(scope="module")
def converted(tmp_path_factory, spiece):
    """Returns the folder of a release, its tensors and the run made of it."""
    folder, drawn = tmp_path_factory.mktemp("hub") / "release", hub.draw(hub.T5)
    hub.write(folder, hub.T5, drawn, spiece)
    run = folder.parent / "run"
    assert cli.main(["convert", "--from", str(folder), "--to", str(run)]) == 0
    return folder, drawn, run


def restored(run):
    """Returns the model of a run, and its parameters as other commands read them."""
    record = initial.read_record(run)
    model, optimizer = initial.built(record)
    state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, 0))
    reader = run_directory.RunDirectory(run).checkpoints(read_only=True)
    (step,) = reader.steps
    return model, reader.read(step, state._replace(optimizer={})).params


def test_the_record_says_what_it_is(converted):
    folder, _, run = converted
    record = initial.read_record(run)
    assert (record.kind, record.status) == ("pretraining", "finished")
    assert record.model == "transformer-EL3-DL1-KV8-NH3-FF48-PI"
    total = sum(int(np.prod(shape)) for shape in hub.shapes(hub.T5).values())
    assert record.counts.params_total == total
    assert record.converted.format == "hugging-face"
    assert record.converted.config == hub.T5
    weights = (folder / "model.safetensors").read_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    assert record.converted.files["model.safetensors"] == sha256
    assert not list(folder.parent.glob("*.partial*"))


def test_parameters_are_those_of_the_release(converted):
    _, drawn, run = converted
    model, params = restored(run)
    assert jax.tree.map(np.shape, params) == jax.tree.map(
        np.shape, jax.eval_shape(model.init, jax.random.key(0))
    )
    table = drawn["shared.weight"]
    np.testing.assert_array_equal(params["token_embedding"]["table"], table)
    np.testing.assert_array_equal(
        params["decoder/layer_0/cross_attention"]["output"],
        drawn["decoder.block.0.layer.1.EncDecAttention.o.weight"].T,
    )


def test_no_file_of_the_run_is_a_copy_of_the_weights(converted):
    folder, _, run = converted
    weights = (folder / "model.safetensors").read_bytes()
    for path in run.rglob("*"):
        assert not path.is_file() or weights[-4096:] not in path.read_bytes()


def test_the_vocabulary_moves_with_the_run(converted, tmp_path):
    _, _, run = converted
    moved = tmp_path / "renamed"
    run.rename(moved)
    try:
        record = initial.read_record(moved)
        assert store_search.of_run(record, moved) == str(moved / "vocabulary")
    finally:
        moved.rename(run)


def test_it_cannot_be_resumed(converted, capsys):
    _, _, run = converted
    command = ["train", "--model", "transformer-pico", "--workdir", str(run)]
    store = f"--config.data.store={run / 'vocabulary'}"
    assert cli.main([*command, store]) == 2
    assert "it has only a vocabulary" in capsys.readouterr().err
    # A store with tokens and the same vocabulary would get so far.
    job = types.SimpleNamespace(source=types.SimpleNamespace(scorer=None))
    with pytest.raises(errors.ConfigError, match="cannot be resumed; give --from"):
        job_lib.check_workdir(job, run)


def test_its_parameters_can_start_a_run_but_not_its_optimizer(converted):
    _, _, run = converted
    record = initial.read_record(run)
    model, optimizer = initial.built(record)
    config = {"run": str(run), "step": None, "branch": False}
    found = initial.find(
        config_dict.ConfigDict({**config, "optimizer_slots": "reset"}),
        model,
        optimizer,
        record.data.vocabulary_sha256,
    )
    assert found.step == 0
    config["optimizer_slots"] = "keep"
    with pytest.raises(errors.ConfigError, match="no optimizer state; accepted: 'res"):
        initial.find(
            config_dict.ConfigDict(config),
            model,
            optimizer,
            record.data.vocabulary_sha256,
        )


def test_an_existing_folder_is_left_alone(converted, capsys):
    folder, _, run = converted
    before = sorted(run.rglob("*"))
    assert cli.main(["convert", "--from", str(folder), "--to", str(run)]) == 2
    assert f"--to: {run} exists" in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("damage", ["truncated", "config", "size"])
def test_nothing_is_written_for_bad_input(tmp_path, spiece, damage, capsys):
    config = {**hub.T5, "d_ff": 64} if damage == "size" else hub.T5
    folder = hub.write(tmp_path / "release", config, hub.draw(hub.T5), spiece)
    weights = folder / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-10])
    if damage == "config":
        (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    run = tmp_path / "run"
    assert cli.main(["convert", "--from", str(folder), "--to", str(run)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("clinometer convert: ")
    assert "Traceback" not in said.err + said.out
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_an_interrupted_write_leaves_nothing(tmp_path, spiece, monkeypatch):
    folder = hub.write(tmp_path / "release", hub.T5, hub.draw(hub.T5), spiece)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory.RunDirectory, "write_record", full)
    run = tmp_path / "run"
    assert cli.main(["convert", "--from", str(folder), "--to", str(run)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_other_commands_take_it(converted, tmp_path, capsys):
    """A report lists it, and leaves it out of fits, as it has no loss."""
    shutil.copytree(converted[2], tmp_path / "runs" / "converted")
    for size in ("pico", "nano"):
        place = tmp_path / "runs" / size
        synthetic_study.write_run(place, synthetic_study.record(size))
    report = build.read(tmp_path)
    assert "converted has no finite validation loss" in report.warnings[0]
    (row,) = (row for row in report.rows if row["run"] == "converted")
    assert row["params_total"] == initial.read_record(converted[2]).counts.params_total
    for command in ("runs", "status"):
        assert cli.main([command, str(tmp_path)]) == 0
        assert "converted" in capsys.readouterr().out


def test_count_takes_the_name(converted, capsys):
    record = initial.read_record(converted[2])
    overrides = record.config.model.overrides
    total = models.counts.count(record.model, trace=False, **overrides).params_total
    assert total == record.counts.params_total
