"""Tests of checkpoints in an object store, of which `object_store` is a stand-in."""

import errno
import logging
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.data import paths
from clinometer.tests import object_store
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.run import array_files
from clinometer.train.run import checkpoints

URL = paths.parse("s3://bucket/run/checkpoints")
_IDENTITY = {"seed": 0}


def _state(value):
    stack = {"encoder/layers/layer/ffn": {"w": jnp.full((2, 40, 30), value, float)}}
    slots = {"encoder/layers/layer/ffn": {"w": (jnp.full(2, value),)}}
    return state_lib.TrainState(jnp.int32(value), stack, slots)


_ABSTRACT = jax.eval_shape(lambda: _state(0))


def _fill(losses, **keep):
    manager = checkpoints.Checkpoints(URL, **keep)
    for step, loss in enumerate(losses, 1):
        manager.save(
            step,
            _state(step),
            identity=_IDENTITY,
            progress={"x": step},
            metrics=None if loss is None else {"validation/loss": loss},
        )
    manager.close()


def _restored():
    manager = checkpoints.Checkpoints(URL, keep_last=2)
    found = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    return found


def test_round_trip_without_a_trace_on_the_disk(objects, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert checkpoints.Checkpoints(URL, read_only=True).steps == []
    assert _restored() is None
    _fill([None, None], keep_last=2)
    state, progress = _restored()
    jax.tree.map(np.testing.assert_array_equal, state, _state(2))
    assert progress == {"x": 2}
    assert list(tmp_path.iterdir()) == []
    names = {name.split("/")[0] for name in paths.files_below(URL / "2")}
    assert names == {"meta", "state"}


def test_the_files_are_those_of_a_checkpoint_on_a_disk(objects, tmp_path):
    _fill([3.0])
    for name in paths.files_below(URL):
        place = tmp_path / "checkpoints" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        paths.download(URL / name, place)
    manager = checkpoints.Checkpoints(tmp_path / "checkpoints")
    state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    assert manager.measured(1) == {"validation/loss": 3.0}
    manager.close()
    jax.tree.map(np.testing.assert_array_equal, state, _state(1))


def test_keeps_the_last_and_the_best(objects):
    _fill([5.0, 1.0, 4.0, None, 3.0], keep_last=2, keep_best=1)
    assert checkpoints.Checkpoints(URL, read_only=True).steps == [2, 4, 5]
    manager = checkpoints.Checkpoints(URL, keep_last=2, keep_best=1)
    metrics = {"validation/loss": 2.0}
    for _ in range(2):  # The second does nothing.
        manager.save(6, _state(6), identity=_IDENTITY, progress={}, metrics=metrics)
    manager.close()
    assert paths.names(URL) == ["2", "5", "6"]


def test_what_was_not_written_to_the_end_is_no_checkpoint(objects, monkeypatch):
    _fill([None])
    put = object_store.ObjectStore.put

    def broken(self, key, content, **options):
        if key.endswith("meta/metadata"):
            raise OSError(errno.ECONNRESET, "connection lost")
        put(self, key, content, **options)

    with monkeypatch.context() as patch:
        patch.setattr(object_store.ObjectStore, "put", broken)
        manager = checkpoints.Checkpoints(URL, keep_last=2)
        manager.save(2, _state(2), identity=_IDENTITY, progress={})
        message = r"step 2 could not be written: .*connection lost.*steps \[1\]"
        with pytest.raises(errors.RunError, match=message):
            manager.wait()
    assert paths.names(URL) == ["1", "2"]
    assert checkpoints.Checkpoints(URL, read_only=True).steps == [1]
    state, _ = _restored()
    assert int(state.step) == 1
    assert paths.names(URL) == ["1"]


@pytest.mark.parametrize("damage", ["bits", "object", "meta"])
def test_a_damaged_checkpoint_is_moved(objects, damage, caplog):
    _fill([None, None], keep_last=2)
    arrays = URL / "2" / "state" / "ocdbt.process_0" / "d"
    for name in paths.names(arrays) if damage != "meta" else ():
        if damage == "object":
            paths.remove(arrays / name)
        else:
            content = paths.read_bytes(arrays / name)
            paths.write_bytes(arrays / name, bytes(255 - byte for byte in content))
    if damage == "meta":
        paths.write_bytes(URL / "2" / "meta" / "metadata", b"{")
    with caplog.at_level(logging.WARNING):
        state, _ = _restored()
    assert int(state.step) == 1
    assert "renamed to 2.corrupt" in caplog.text
    assert paths.names(URL) == ["1", "2.corrupt"]


@pytest.mark.parametrize("name", ["/d/", "meta/metadata"])
def test_a_store_that_does_not_answer_is_no_damage(objects, monkeypatch, name):
    _fill([None])
    open_file = object_store.ObjectStore._open
    cat_file = object_store.ObjectStore.cat_file

    def check(path):
        if name in path:
            raise OSError(errno.ETIMEDOUT, "no answer")

    def silent_open(self, path, mode="rb", **options):
        check(path)
        return open_file(self, path, mode, **options)

    def silent_cat(self, path, *arguments, **options):
        check(path)
        return cat_file(self, path, *arguments, **options)

    monkeypatch.setattr(object_store.ObjectStore, "_open", silent_open)
    monkeypatch.setattr(object_store.ObjectStore, "cat_file", silent_cat)
    with pytest.raises(errors.RunError, match=r"s3://bucket/run.*: .*no answer"):
        _restored()
    assert paths.names(URL) == ["1"]


def test_a_full_disk_is_that_of_the_temporary_files(objects, monkeypatch):
    def full(*unused, **also_unused):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(array_files, "write", full)
    with pytest.raises(errors.RunError, match=tempfile.gettempdir()):
        _fill([None])
