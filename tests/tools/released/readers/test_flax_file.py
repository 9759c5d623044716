"""Reading Flax's msgpack files, and damaged or hostile ones."""

import ml_dtypes
import msgpack
import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released.readers import flax_file

A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.array([1.5, -2.0, 0.25], ml_dtypes.bfloat16)
# As `flax.serialization` divides arrays of more than 1 GiB.
CHUNKED = {
    "__msgpack_chunked_array__": True,
    "shape": {"0": 3, "1": 4},
    "chunks": {
        "0": hub.flax_array(A.reshape(-1)[:5]),
        "1": hub.flax_array(A.reshape(-1)[5:]),
    },
}
TREE = {"a": {"kernel": hub.flax_array(A)}, "b": hub.flax_array(B), "c": CHUNKED}
GOOD = msgpack.packb(TREE)


def read(tmp_path, content):
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(content)
    return flax_file.read(path)


def test_arrays_of_all_forms_are_read(tmp_path):
    large = np.arange(70_000, dtype=np.float16)  # Of ext 32, not ext 8.
    found = read(tmp_path, msgpack.packb({**TREE, "d": hub.flax_array(large)}))
    expected = {"a/kernel": A, "b": B, "c": A, "d": large}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype.name)
        np.testing.assert_array_equal(found[name].read(), array)


def nested(depth: int) -> bytes:
    return b"\x81\xa1a" * depth + b"\x80"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (GOOD[:-2], "truncated"),
        (GOOD + b"x", "1 bytes after its end"),
        (b"\xdf\xff\xff\xff\xff" + b"\xa1a" * 50, "4,294,967,295 entries does not fit"),
        (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "an array of 4,294,967,295 bytes"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "byte 0xdd; accepted: maps and arrays"),
        (b"\x81\xdb\xff\xff\xff\xff", "not the msgpack of arrays"),
        (b"\x81\xa1a", "truncated"),
        (nested(40), "nested more than 32 deep"),
        (b"\x81\x05\x80", "a key is int; accepted: text"),
        (b"\x82\xa1a\x80\xa1a\x80", "the key 'a' occurs twice"),
        (msgpack.packb({"a": msgpack.ExtType(2, b"xyz")}), "extension of type 2"),
        (msgpack.packb({"a": msgpack.ExtType(1, b"\x93")}), "without shape and dtype"),
        (msgpack.packb({"a": hub.flax_array(np.zeros(2))}), "dtype 'float64'"),
        (
            msgpack.packb(
                {"a": msgpack.ExtType(1, msgpack.packb([[2**30], "float32", b"abc"]))}
            ),
            "the bytes do not fit the shape",
        ),
        (
            msgpack.packb({"a": {**CHUNKED, "shape": {"0": 5}}}),
            "chunks that do not fit",
        ),
    ],
)
def test_damaged_and_hostile_files_are_refused(tmp_path, content, message):
    with pytest.raises(errors.ReleaseError) as raised:
        read(tmp_path, content)
    assert message in str(raised.value)


def test_many_small_maps_are_not_followed_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(flax_file, "_MOST_ENTRIES", 50)
    with pytest.raises(errors.ReleaseError, match="more than 50 entries"):
        read(tmp_path, msgpack.packb({str(n): {"a": {}} for n in range(60)}))
