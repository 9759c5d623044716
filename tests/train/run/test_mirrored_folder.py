"""Files of libraries that write local files only, on a disk and in a store."""

from clinometer.data import paths
from clinometer.train.run import mirrored_folder


def test_a_local_folder_is_written_directly(tmp_path):
    folder = mirrored_folder.MirroredFolder(tmp_path / "a")
    assert folder.local == tmp_path / "a"
    folder.send()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_files_are_sent_when_they_have_grown(objects, monkeypatch):
    sent, upload = [], paths.upload

    def counting(local, path):
        sent.append(str(path))
        upload(local, path)

    monkeypatch.setattr(paths, "upload", counting)
    url = "s3://bucket/run/tensorboard"
    folder = mirrored_folder.MirroredFolder(paths.parse(url))
    (folder.local / "a").mkdir()
    (folder.local / "a" / "events").write_bytes(b"1")
    (folder.local / "b").write_bytes(b"2")
    folder.send()
    assert sent == [f"{url}/a/events", f"{url}/b"]
    (folder.local / "a" / "events").write_bytes(b"12")
    folder.send()
    folder.close()
    assert sent[2:] == [f"{url}/a/events"]
    assert paths.read_bytes(f"{url}/a/events") == b"12"
    assert paths.files_below(url) == ["a/events", "b"]
    assert not folder.local.exists()
