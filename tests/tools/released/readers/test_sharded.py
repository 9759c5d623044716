"""Weights in several files."""

import json

import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released.readers import safetensors_file
from clinometer.tools.released.readers import sharded

SHARDS = {
    "one.safetensors": {"a": np.ones(2, np.float32)},
    "two.safetensors": {"b": np.zeros(3, np.float32), "c": np.ones((), np.float32)},
}
MAP = {name: file for file, tensors in SHARDS.items() for name in tensors}


def write(folder, weight_map, shards=None):
    for name, tensors in (SHARDS if shards is None else shards).items():
        (folder / name).write_bytes(hub.packed(*hub.header(tensors)))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    return index


def read(index):
    return sharded.read(index, safetensors_file.read)


def test_tensors_of_all_files(tmp_path):
    index = write(tmp_path, MAP)
    assert {name: found.shape for name, found in read(index).items()} == {
        "a": (2,),
        "b": (3,),
        "c": (),
    }
    assert [path.name for path in sharded.files(index)] == sorted(SHARDS)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({}, "has no weight_map"),
        ({"a": "../one.safetensors"}, "accepted: the name of a file beside"),
        ({**MAP, "d": "three.safetensors"}, "there is no file three.safetensors"),
        ({**MAP, "d": "two.safetensors"}, "'d' is missing in two.safetensors"),
        ({**MAP, "a": "two.safetensors"}, "'a' is missing in two.safetensors"),
        ({k: v for k, v in MAP.items() if k != "c"}, "'c' is in two.safetensors; exp"),
    ],
)
def test_an_index_that_does_not_match(tmp_path, weight_map, message):
    index = write(tmp_path, weight_map)
    with pytest.raises(errors.ReleaseError) as raised:
        read(index)
    assert message in str(raised.value)


def test_a_tensor_in_two_files(tmp_path):
    shards = {
        **SHARDS,
        "two.safetensors": {**SHARDS["two.safetensors"], "a": np.ones(2, np.float32)},
    }
    with pytest.raises(errors.ReleaseError, match="'a' is in several files"):
        read(write(tmp_path, MAP, shards))
