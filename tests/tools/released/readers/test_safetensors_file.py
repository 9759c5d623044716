"""Reading and writing safetensors, and damaged files."""

import ml_dtypes
import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released.readers import safetensors_file
from clinometer.tools.released.readers import tensor

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1.5, -2.0], np.float16),
    "c": np.array([[3.0], [0.5]], ml_dtypes.bfloat16),
    "scalar": np.array(7, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}


def test_every_dtype_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(hub.packed(*hub.header(TENSORS)))
    found = safetensors_file.read(path)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.name
        np.testing.assert_array_equal(found[name].read(), array)
    np.testing.assert_array_equal(found["a"].transposed.read(), TENSORS["a"].T)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    arrays = {"x": TENSORS["a"], "y": TENSORS["a"].T}
    made = {
        name: tensor.Tensor(array.shape, "float32", lambda array=array: array)
        for name, array in arrays.items()
    }
    safetensors_file.write(path, made, {"format": "pt"})
    for name, found in safetensors_file.read(path).items():
        np.testing.assert_array_equal(found.read(), arrays[name])
    # By the format's own description: the data follow a header of 8 n bytes.
    content = path.read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    assert content.endswith(arrays["x"].tobytes() + arrays["y"].tobytes(order="C"))


def _changed(name: str, **fields) -> bytes:
    entries, data = hub.header({"a": TENSORS["a"], "b": TENSORS["b"]})
    return hub.packed({**entries, name: {**entries.get(name, {}), **fields}}, data)


GOOD = hub.packed(*hub.header({"a": TENSORS["a"], "b": TENSORS["b"]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc", "has 3 bytes"),
        (b"\xff" * 8 + b"{}", "header would have 18,446,744,073,709,551,615 bytes"),
        (GOOD[:40], "the header would have"),
        (GOOD[:-1], "tensor 'b': its data end at byte 28, but the file has 27"),
        (GOOD + b"x", "1 bytes after the last tensor"),
        (hub.packed(b"[]", b""), "a JSON list; accepted: an object"),
        (hub.packed(b"{nonsense", b""), "not JSON"),
        (hub.packed(b'"\xff"', b""), "not UTF-8"),
        (hub.packed(b'{"a":' * 100_000, b""), "nested too deeply"),
        (hub.packed(b'{"a": {}, "b": {}, "a": {}}', b""), "more than once: 'a'"),
        (_changed("a", dtype="F64"), "tensor 'a': dtype 'F64'; accepted: F32"),
        (_changed("a", shape=[2, -3]), "shape is [2, -3]"),
        (_changed("a", shape=[2, 4]), "are 24 bytes, but F32 [2, 4] needs 32"),
        (_changed("a", data_offsets=[0]), "data_offsets is [0]"),
        (_changed("b", data_offsets=[22, 26]), "tensor 'b' overlaps 'a'"),
        (_changed("c", dtype="F32"), "tensor 'c': its entry lacks one of"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(errors.ReleaseError) as raised:
        safetensors_file.read(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_all_problems_are_listed(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(_changed("c", dtype="F32")[:-1])
    with pytest.raises(errors.ReleaseError, match="2 problems:") as raised:
        safetensors_file.read(path)
    assert "'b': its data end" in str(raised.value)
    assert "'c': its entry lacks" in str(raised.value)
