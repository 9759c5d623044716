"""Tests of saving, restoring, keeping and renaming checkpoints."""

import errno
import gc
import json
import logging
import shutil
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.run import canonical
from clinometer.train.run import checkpoints
from clinometer.train.run import digests
from clinometer.train.run import disk_writer

_IDENTITY = {"seed": 0, "model.name": "transformer-pico", "optimizer.b1": 0.9}


def _state(value):
    params = {"token_embedding": {"table": jnp.full((4, 3), value, jnp.float32)}}
    optimizer = {"token_embedding": {"table": (jnp.int32(1), jnp.ones(3) * value)}}
    return state_lib.TrainState(jnp.int32(value), params, optimizer)


_ABSTRACT = jax.eval_shape(lambda: _state(0))


def _open(path, keep_last=2, keep_best=0):
    return checkpoints.Checkpoints(path, keep_last=keep_last, keep_best=keep_best)


def _fill(path, losses, **keep):
    manager = _open(path, **keep)
    for step, loss in enumerate(losses, 1):
        manager.save(
            step,
            _state(step),
            identity=_IDENTITY,
            progress={"x": 0.1 * step},
            metrics=None if loss is None else {"validation/loss": loss},
        )
    manager.close()


def test_round_trip(tmp_path):
    _fill(tmp_path / "c", [None, None])
    manager = _open(tmp_path / "c")
    state, progress = manager.restore(_ABSTRACT, _IDENTITY)
    jax.tree.map(np.testing.assert_array_equal, state, _state(2))
    assert progress == {"x": 0.1 * 2}
    manager.close()


def test_nothing_saved_is_nothing_restored(tmp_path):
    manager = _open(tmp_path / "c")
    assert manager.restore(_ABSTRACT, _IDENTITY) is None
    manager.close()


def test_keeps_the_last_and_the_best(tmp_path):
    _fill(tmp_path / "c", [5.0, 1.0, 4.0, None, 3.0], keep_last=2, keep_best=1)
    # A later process reads the losses measured by an earlier one.
    manager = _open(tmp_path / "c", keep_last=2, keep_best=1)
    assert manager.steps == [2, 4, 5]
    metrics = {"validation/loss": 2.0}
    manager.save(6, _state(6), identity=_IDENTITY, progress={}, metrics=metrics)
    manager.close()
    assert manager.steps == [2, 5, 6]


def test_a_saved_state_may_be_overwritten_at_once(tmp_path):
    """The next step overwrites the donated buffers during the asynchronous save."""
    manager = _open(tmp_path / "c")
    state = _state(3)
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    manager.save(3, state, identity=_IDENTITY, progress={})
    for _ in range(10):
        state = overwrite(state)
    restored, _ = manager.restore(_ABSTRACT, _IDENTITY)
    jax.tree.map(np.testing.assert_array_equal, restored, _state(3))
    manager.close()


@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped", "no meta"])
def test_a_damaged_checkpoint_is_set_aside(tmp_path, damage, caplog, monkeypatch):
    _fill(tmp_path / "c", [None, None])
    newest = tmp_path / "c" / "2"
    if damage == "truncated":
        for path in (newest / "state").rglob("d/*"):
            path.write_bytes(path.read_bytes()[:-10])
    elif damage == "missing":
        shutil.rmtree(newest / "state")
    elif damage == "no meta":
        (newest / "meta" / "metadata").write_text('{"identity": {"se')
    manager = _open(tmp_path / "c")
    if damage == "flipped":  # A bit that the file format itself does not protect.
        compute = digests.compute

        def flipped(state):
            found = compute(state)
            if int(state.step) == 2:
                place = next(iter(found))
                found[place] = f"{int(found[place], 16) ^ 1:016x}"
            return found

        monkeypatch.setattr(digests, "compute", flipped)
    with caplog.at_level(logging.WARNING):
        state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert int(state.step) == 1
    assert "corrupt" in caplog.text
    assert (tmp_path / "c" / "2.corrupt").is_dir()


def test_another_run_is_refused_by_field(tmp_path):
    _fill(tmp_path / "c", [None])
    manager = _open(tmp_path / "c")
    other = {**_IDENTITY, "model.name": "transformer-nano", "seed": 7}
    message = (
        "model.name is 'transformer-nano' here, 'transformer-pico' there; "
        "seed is 7 here, 0 there"
    )
    with pytest.raises(errors.RunError, match=message):
        manager.restore(_ABSTRACT, other)
    manager.close()
    assert (tmp_path / "c" / "1").is_dir()


def test_a_full_disk_leaves_the_earlier_ones(tmp_path, monkeypatch):
    _fill(tmp_path / "c", [None])
    manager = _open(tmp_path / "c")

    def full(*unused, **also_unused):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk_writer.DiskWriter, "start", full)
        with pytest.raises(
            errors.RunError, match=r"step 2 .*no space left.*steps \[1\]"
        ):
            manager.save(2, _state(2), identity=_IDENTITY, progress={})
    state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    assert int(state.step) == 1
    manager.close()


def _meta(checkpoint):
    return checkpoint / "meta/metadata"


def _write_earlier(folder, step, *, loss=None, saved=None, guarded=True):
    """Writes a checkpoint as earlier versions did: by Orbax alone, with CRC-32.

    Args:
        folder: folder of the checkpoints.
        step: step of the checkpoint.
        loss: validation loss, or None.
        saved: the state in the file, if it is not that of the digests.
        guarded: whether the metadata has a digest of its own, which the earliest
            versions did not write.
    """

    def canonical_of(state):
        return jax.tree.map(np.array, canonical.to_canonical(state))

    expected = canonical_of(_state(step))
    metrics = None if loss is None else {"validation/loss": loss}
    meta = {
        "format_version": 1,
        "identity": _IDENTITY,
        "progress": {"x": 0.1 * step},
        "digests": {
            jax.tree_util.keystr(path): zlib.crc32(leaf.tobytes())
            for path, leaf in jax.tree_util.tree_flatten_with_path(expected)[0]
        },
    }
    arrays = canonical_of(saved) if saved is not None else expected
    items = {"state": ocp.args.StandardSave(arrays)}
    if guarded:
        meta["metrics"] = metrics
        meta["digest"] = zlib.crc32(json.dumps(meta, sort_keys=True).encode())
    items["meta"] = ocp.args.JsonSave(meta)
    with ocp.CheckpointManager(folder.resolve(), item_names=tuple(items)) as manager:
        manager.save(step, args=ocp.args.Composite(**items))
    if metrics is not None and not guarded:
        (folder / str(step) / "metrics").mkdir()
        (folder / str(step) / "metrics/metrics").write_text(json.dumps(metrics))


@pytest.mark.parametrize("guarded", [True, False])
def test_older_checkpoints_are_restored_and_compared(tmp_path, guarded):
    _write_earlier(tmp_path / "c", 2, loss=1.0, guarded=False)
    _write_earlier(tmp_path / "c", 4, loss=3.0, guarded=guarded)
    manager = _open(tmp_path / "c", keep_last=1, keep_best=1)
    state, progress = manager.restore(_ABSTRACT, _IDENTITY)
    assert (int(state.step), progress) == (4, {"x": 0.1 * 4})
    metrics = {"validation/loss": 2.0}
    manager.save(5, _state(5), identity=_IDENTITY, progress={}, metrics=metrics)
    manager.close()
    assert manager.steps == [2, 5]


def test_the_crc32_of_older_checkpoints_is_compared(tmp_path, caplog):
    params = {"token_embedding": {"table": jnp.full((4, 3), 2.0).at[3, 2].set(2.5)}}
    _write_earlier(tmp_path / "c", 1)
    _write_earlier(tmp_path / "c", 2, saved=_state(2)._replace(params=params))
    manager = _open(tmp_path / "c")
    state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert int(state.step) == 1
    assert "the digest of ['params']['token_embedding']['table'] differs" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x": 0.2', '"x": 0.3'),  # another clock
        ('"validation/loss": 4.0', '"validation/loss": 0.4'),  # another best
        ('"seed": 0', '"seed": 1'),
        ('"digest": ', '"digests2": '),
        ('"metrics"', '"metrocs"'),
        ('"format_version": 2', '"format_version": 9'),
    ],
)
def test_one_wrong_byte_beside_the_state_is_seen(tmp_path, caplog, old, new):
    _fill(tmp_path / "c", [5.0, 4.0])
    text = _meta(tmp_path / "c/2").read_text()
    assert text.count(old) == 1
    _meta(tmp_path / "c/2").write_text(text.replace(old, new))
    manager = _open(tmp_path / "c")
    state, progress = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert (int(state.step), progress) == (1, {"x": 0.1})
    assert "meta/metadata: its " in caplog.text


def test_a_later_format_is_refused_not_set_aside(tmp_path):
    _fill(tmp_path / "c", [None])
    meta = {**json.loads(_meta(tmp_path / "c/1").read_text()), "format_version": 3}
    del meta["digest"]
    _meta(tmp_path / "c/1").write_text(json.dumps({**meta, "more": 0}))
    with pytest.raises(errors.RunError, match="format_version is 3; this version"):
        _open(tmp_path / "c")
    assert (tmp_path / "c/1").is_dir()


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '{"validation/loss": '])
def test_an_older_record_of_metrics_that_is_broken(tmp_path, caplog, text):
    for step in (1, 2):
        _write_earlier(tmp_path / "c", step, loss=4.0, guarded=False)
    (tmp_path / "c/2/metrics/metrics").write_text(text)
    manager = _open(tmp_path / "c")
    state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert int(state.step) == 1
    assert "2 is corrupt (metrics/metrics: " in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_CHECKPOINT_METADATA", "[]"),
        ("_CHECKPOINT_METADATA", '{"commit_timestamp_nsecs": "seven"}'),
        ("_CHECKPOINT_METADATA", '{"init_timestamp_nsecs": "seven"}'),
        ("state/_METADATA", "[]"),
        ("state/_METADATA", "[" * 100_000),
    ],
)
def test_a_file_of_orbax_with_another_value(tmp_path, caplog, name, text):
    _fill(tmp_path / "c", [None, None])
    (tmp_path / "c/2" / name).write_text(text)
    manager = _open(tmp_path / "c")
    state, _ = manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert int(state.step) == 1
    assert "2 is corrupt" in caplog.text


def test_a_missing_chunk_gives_one_line(tmp_path, caplog, capfd):
    """Orbax raises a plain Exception, and its abandoned reads report errors later."""
    noise = np.random.default_rng(0).normal(size=(64, 64))
    state = jax.tree.map(lambda x: jnp.float32(noise), _state(0))
    manager = _open(tmp_path / "c")
    manager.save(3, state, identity=_IDENTITY, progress={})
    manager.close()
    chunks = (tmp_path / "c/3/state/ocdbt.process_0/d").iterdir()
    max(chunks, key=lambda path: path.stat().st_size).unlink()
    manager = _open(tmp_path / "c")
    abstract = jax.eval_shape(lambda: state)
    assert manager.restore(abstract, _IDENTITY) is None
    manager.close()
    gc.collect()
    assert "3 is corrupt" in caplog.text
    assert capfd.readouterr().err == ""
    assert {record.name for record in caplog.records} == {"root"}


def test_an_error_of_ours_keeps_its_traceback(tmp_path, monkeypatch):
    _fill(tmp_path / "c", [None])
    manager = _open(tmp_path / "c")

    def mistaken(*unused, **also_unused):
        raise AssertionError("a mistake")

    monkeypatch.setattr(ocp.PyTreeCheckpointHandler, "restore", mistaken)
    with pytest.raises(AssertionError, match="a mistake"):
        manager.restore(_ABSTRACT, _IDENTITY)
    manager.close()
    assert (tmp_path / "c/1").is_dir()
