"""Appended content: at once on a disk, in whole objects in a store."""

from clinometer.data import paths
from clinometer.train.run import appended_file


def test_a_local_file_has_at_once_what_is_appended(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"old")
    file = appended_file.AppendedFile(path, b"1\n")
    assert path.read_bytes() == b"1\n"
    file.append(b"2\n")
    assert path.read_bytes() == b"1\n2\n"
    file.sync()
    file.append(b"3\n")
    file.close()
    assert path.read_bytes() == b"1\n2\n3\n"


def test_an_object_is_written_whole_at_each_sync(objects, monkeypatch):
    path, writes, write = "s3://bucket/log", [], paths.write_bytes

    def counting(path, content):
        writes.append(content)
        write(path, content)

    monkeypatch.setattr(paths, "write_bytes", counting)
    file = appended_file.AppendedFile(path, b"1\n")
    file.append(b"2\n")
    file.append(b"3\n")
    assert paths.read_bytes(path) == b"1\n"
    file.sync()
    file.sync()
    assert paths.read_bytes(path) == b"1\n2\n3\n"
    file.append(b"4\n")
    file.close()
    assert paths.read_bytes(path) == b"1\n2\n3\n4\n"
    assert writes == [b"1\n", b"1\n2\n3\n", b"1\n2\n3\n4\n"]


def test_an_object_is_written_after_a_while_without_a_sync(objects, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(appended_file.time, "monotonic", lambda: clock[0])
    file = appended_file.AppendedFile("s3://bucket/log", b"")
    clock[0] = appended_file.REWRITE_SECONDS - 1
    file.append(b"1")
    assert paths.read_bytes("s3://bucket/log") == b""
    clock[0] += 1
    file.append(b"2")
    assert paths.read_bytes("s3://bucket/log") == b"12"
    file.append(b"3")
    assert paths.read_bytes("s3://bucket/log") == b"12"
