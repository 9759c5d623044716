"""Archives as they were written; missing, damaged and invalid ones."""

import numpy as np
import pytest

from clinometer.train import errors
from clinometer.train.run import npz_file


def _first(file):
    return np.array(file["x"])


def test_an_archive_comes_back(tmp_path):
    path = tmp_path / "a.npz"
    assert npz_file.read(path, _first) is None
    npz_file.write(path, x=np.arange(3), y="text")
    np.testing.assert_array_equal(npz_file.read(path, _first), [0, 1, 2])
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_what_cannot_be_read_is_an_error_with_its_path(tmp_path):
    path = tmp_path / "a.npz"
    npz_file.write(path, x=np.arange(3))
    with pytest.raises(errors.RunError, match=r"a\.npz: cannot be read"):
        npz_file.read(path, lambda file: file["other"])
    with pytest.raises(errors.RunError, match=r"a\.npz: cannot be read"):
        npz_file.read(path, lambda file: 1 / 0, ZeroDivisionError)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(errors.RunError, match=r"a\.npz: cannot be read"):
        npz_file.read(path, _first)
