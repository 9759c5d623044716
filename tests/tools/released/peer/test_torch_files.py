"""PyTorch's files: read by its weights-only loader, and refused with code in them."""

import os
import pickle

import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tests.tools.released.peer import models_there as there
from clinometer.tools.released import errors
from clinometer.tools.released import parameters
from clinometer.tools.released import release as release_lib
from clinometer.tools.released.readers import torch_file

torch = there.torch


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before 1.6"])
def test_the_values_are_those_of_safetensors(tmp_path, spiece, archive):
    drawn = hub.draw(hub.T5)
    safe = hub.write(tmp_path / "safe", hub.T5, drawn, spiece)
    folder = hub.write(tmp_path / "torch", hub.T5, None, spiece)
    state = {name: torch.tensor(array) for name, array in drawn.items()}
    path = folder / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=archive)
    one, two = (
        {
            (leaf.module, leaf.name): values
            for leaf, values in parameters.found(release_lib.opened(each)).values()
        }
        for each in (safe, folder)
    )
    assert one.keys() == two.keys()
    for place, array in one.items():
        np.testing.assert_array_equal(array, two[place])


def test_half_precision(tmp_path):
    state = {"a": torch.tensor([1.5, 2.0], dtype=torch.bfloat16)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = torch_file.read(tmp_path / "pytorch_model.bin")["a"]
    assert found.dtype == "bfloat16"
    np.testing.assert_array_equal(found.read().astype(np.float32), [1.5, 2.0])


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_code_is_refused_and_not_run(tmp_path, by):
    path, mark = tmp_path / "pytorch_model.bin", tmp_path / "ran"
    contents = {"a": torch.zeros(2), "b": Code(mark)}
    if by == "torch":
        torch.save(contents, path)
    else:
        path.write_bytes(pickle.dumps(contents))
    with pytest.raises(errors.ReleaseError, match="refused by PyTorch's weights-only"):
        torch_file.read(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"a": torch.zeros(1).double()}])
def test_other_contents(tmp_path, content):
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path)
    with pytest.raises(errors.ReleaseError, match="accepted: "):
        torch_file.read(path)


def test_a_truncated_file(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(errors.ReleaseError, match="pytorch_model.bin"):
        torch_file.read(path)
