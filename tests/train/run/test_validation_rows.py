"""The file of validation losses by row: what is written is read, damage is said."""

import numpy as np
import pytest

from clinometer.train import errors
from clinometer.train.run import validation_rows

ROWS = validation_rows.ValidationRows(
    step=9,
    digests=np.array([2**64 - 1, 3], np.uint64),
    losses=np.array([1.25, 40.0]),
    targets=np.array([2, 20]),
)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / validation_rows.FILE_NAME
    assert validation_rows.read(path) is None
    validation_rows.write(path, ROWS)
    found = validation_rows.read(path)
    assert found.step == 9
    for name in ("digests", "losses", "targets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(ROWS, name))
    assert [p.name for p in tmp_path.iterdir()] == [validation_rows.FILE_NAME]
    first = path.read_bytes()
    validation_rows.write(path, ROWS)
    assert path.read_bytes() == first


def test_a_digest_is_of_the_whole_row_only():
    batch = {"x": np.arange(6).reshape(3, 2), "y": np.zeros((3, 1), np.int32)}
    first = validation_rows.digests(batch)
    assert len(set(first)) == 3
    batch["y"][1] = 1
    changed = validation_rows.digests(batch)
    np.testing.assert_array_equal(first == changed, [True, False, True])
    alone = {name: array[2:] for name, array in batch.items()}
    assert validation_rows.digests(alone) == changed[2:]


def test_damage_is_said(tmp_path):
    path = tmp_path / validation_rows.FILE_NAME
    validation_rows.write(path, ROWS)
    whole = path.read_bytes()
    changed = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for content in (b"", b"no archive", whole[:-30], changed):
        path.write_bytes(content)
        with pytest.raises(errors.RunError, match=r"rows\.npz: cannot be read \("):
            validation_rows.read(path)
    np.savez(path, step=1, digests=ROWS.digests)
    with pytest.raises(errors.RunError, match="cannot be read .*losses"):
        validation_rows.read(path)
    np.savez(path, step=1, digests=ROWS.digests, losses=[1.0], targets=[1, 2])
    with pytest.raises(errors.RunError, match="accepted: one value per row"):
        validation_rows.read(path)
