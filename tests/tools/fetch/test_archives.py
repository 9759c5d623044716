"""Tests of unpacking archives, harmless and other."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from clinometer.tools.fetch import archives
from clinometer.train import errors

_FILES = {"CoLA/train.tsv": b"a\tb\n" * 1000, "CoLA/original/dev.tsv": b""}


def _zip(files, **options):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("CoLA")
        for name, content in files.items():
            packed.writestr(name, content)
    return data.getvalue()


def _tar(files, kind=tarfile.REGTYPE):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as packed:
        folder = tarfile.TarInfo("./CoLA")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            member.linkname = "/etc/passwd"
            packed.addfile(member, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def unpack(tmp_path):
    """Unpacks an archive in an empty folder; returns content by path, and the sizes."""

    def run(data, **options):
        archive, folder = tmp_path / "archive", tmp_path / "a/b/data"
        archive.write_bytes(data)
        folder.mkdir(parents=True)
        try:
            sizes = archives.unpack(archive, folder, **options)
        finally:
            found = {
                path.relative_to(tmp_path).as_posix(): path.read_bytes()
                for path in tmp_path.rglob("*")
                if path.is_file() and path != archive
            }
            assert not list(folder.glob(".unpacking-*"))
            assert all(name.startswith("a/b/data/") for name in found)
        return {name.removeprefix("a/b/data/"): c for name, c in found.items()}, sizes

    return run


@pytest.mark.parametrize("pack", [_zip, _tar])
def test_files_are_unpacked_with_their_folders(unpack, pack):
    found, sizes = unpack(pack(_FILES | {"__MACOSX/CoLA/x": b"x", "a/.DS_Store": b"y"}))
    assert found == _FILES
    assert sizes == {name: len(content) for name, content in _FILES.items()}


@pytest.mark.parametrize(("inside", "cut"), [("CoLA", 5), ("nothing", 0)])
def test_a_folder_of_an_archive(unpack, inside, cut):
    found, _ = unpack(_zip(_FILES), inside=inside)
    assert found == {name[cut:]: content for name, content in _FILES.items()}


@pytest.mark.parametrize("pack", [_zip, _tar])
@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "..", "a\\..\\out", "a//b", "a/./../b"]
)
def test_names_that_lead_elsewhere(unpack, tmp_path, pack, name):
    with pytest.raises(errors.RunError, match="refused, as .* leads out of the folder"):
        unpack(pack({"good": b"x", name: b"y"}))
    assert not (tmp_path / "a/b/data/good").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_of_a_tar(unpack, kind):
    with pytest.raises(errors.RunError, match="'x' in it is a link or a device"):
        unpack(_tar({"x": b""}, kind))


def test_links_and_encrypted_files_of_a_zip(unpack, tmp_path):
    link = zipfile.ZipInfo("x")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(errors.RunError, match="'x' in it is a link or a device"):
        unpack(_zip({link: b"/etc/passwd"}))


def test_an_encrypted_file(unpack):
    data = bytearray(_zip({"x": b"y"}))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # The flag of the directory's entry.
    with pytest.raises(errors.RunError, match="'x' in it is encrypted"):
        unpack(bytes(data))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(unpack):
    data = io.BytesIO(_zip({"x": b"y"}))
    with zipfile.ZipFile(data, "a") as packed:
        packed.writestr("x", b"z")
    with pytest.raises(errors.RunError, match="'x' in it is there twice"):
        unpack(data.getvalue())


def test_bombs(unpack):
    # 64 MiB of zeros are about 64 kB: beyond a hundredfold and the least limit.
    with pytest.raises(errors.RunError, match="it has more than 16,777,216 bytes"):
        unpack(_zip({f"{k}": bytes(16 << 20) for k in range(4)}))


def test_a_size_that_is_a_lie(unpack):
    data = _zip({"x": b"y" * 1000})
    lie = data.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(errors.RunError, match="truncated or corrupt|that it announces"):
        unpack(lie)


@pytest.mark.parametrize("pack", [_zip, _tar])
@pytest.mark.parametrize("cut", [0, 10, 60])
def test_truncated_archives(unpack, pack, cut):
    data = pack({"x": bytes(range(256)) * 40, "y": b"z"})
    with pytest.raises(errors.RunError, match="truncated or corrupt"):
        unpack(data[:cut] if cut else data[: len(data) // 2])


def test_a_damaged_byte(unpack):
    content = bytes(range(256))
    data = bytearray(_zip({"x": content}))
    data[data.index(content[100:110])] ^= 1
    with pytest.raises(errors.RunError, match="truncated or corrupt"):
        unpack(bytes(data))


def test_what_is_no_archive(unpack):
    with pytest.raises(errors.RunError, match="truncated or corrupt"):
        unpack(gzip.compress(b"<html>"))
