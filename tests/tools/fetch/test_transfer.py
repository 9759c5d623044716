"""Tests of downloads from a server on loopback."""

import random

import pytest

from clinometer.tools.fetch import transfer
from clinometer.train import errors

_CONTENT = random.Random(0).randbytes(1_000_000)


@pytest.fixture
def get(server, tmp_path):
    """Downloads /file; returns what was received."""
    server.files["/file"] = _CONTENT

    def download(name="file", **options):
        found = transfer.download(
            f"{server.address}/{name}",
            tmp_path / "file",
            wait=lambda seconds: None,
            **options,
        )
        assert found == tmp_path / "file.partial"
        return found.read_bytes()

    return download


def test_a_file_and_its_progress(get, server, tmp_path):
    told = []
    assert get(report=lambda *numbers: told.append(numbers)) == _CONTENT
    assert told[0] == (0, 1_000_000) and told[-1] == (1_000_000, 1_000_000)
    assert server.asked == [("/file", None, 200)]
    transfer.discard(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_connection_that_ends_goes_on_where_it_ended(get, server):
    server.cuts = [300_000, 200_000]
    assert get() == _CONTENT
    assert server.asked == [
        ("/file", None, 200),
        ("/file", "bytes=300000-", 206),
        ("/file", "bytes=500000-", 206),
    ]


def test_without_ranges_it_begins_again(get, server):
    server.cuts, server.takes_ranges = [300_000], False
    assert get() == _CONTENT
    assert server.asked[1:] == [("/file", "bytes=300000-", 200)]


@pytest.mark.parametrize("has_sum", [False, True])
def test_without_versions_only_a_sum_tells_whether_parts_fit(get, server, has_sum):
    server.cuts, server.version = [300_000], ""
    assert get(has_sum=has_sum) == _CONTENT
    wanted = ("/file", "bytes=300000-", 206) if has_sum else ("/file", None, 200)
    assert server.asked[1:] == [wanted]


def test_a_file_that_changed_meanwhile_is_received_anew(get, server, tmp_path):
    server.cuts = [300_000] * 4
    with pytest.raises(
        errors.RunError, match="the connection ended after 1,000,000|end"
    ):
        server.cuts = [100_000] * 4
        get()
    assert (tmp_path / "file.partial").stat().st_size == 400_000
    server.version, server.files["/file"] = '"2"', _CONTENT[::-1]
    assert get() == _CONTENT[::-1]
    assert server.asked[-1] == ("/file", "bytes=400000-", 200)


def test_an_interrupted_download_goes_on(get, server):
    def interrupt(done, total):
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(report=interrupt)
    assert get() == _CONTENT
    (_, wanted, status) = server.asked[-1]
    assert status == 206 and int(wanted[6:-1]) > 500_000


def test_a_complete_part_is_not_asked_for_again(get, server):
    assert get() == _CONTENT
    assert get(size=1_000_000) == _CONTENT  # Its size is known: no request.
    assert get() == _CONTENT
    assert server.asked[1:] == [("/file", "bytes=1000000-", 416)]


def test_a_part_of_another_address_is_of_no_use(get, server):
    server.files["/other"] = _CONTENT[::-1]
    assert get() == _CONTENT
    assert get("other") == _CONTENT[::-1]


def test_redirections_keep_the_range(get, server):
    server.redirects["/moved"] = f"{server.address}/file"
    server.cuts = [300_000]
    assert get("moved") == _CONTENT
    assert server.asked[2:] == [
        ("/moved", "bytes=300000-", 302),
        ("/file", "bytes=300000-", 206),
    ]


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirections_lead_to_the_web_only(get, server, address):
    server.redirects["/moved"] = address
    with pytest.raises(errors.RunError):
        get("moved")


def test_errors_of_the_server(get, server, tmp_path):
    with pytest.raises(
        errors.RunError, match="/nothing: the server says 404 Not Found"
    ):
        get("nothing")
    assert len(server.asked) == 1  # It would say so again.
    server.statuses = [503, 429]
    assert get() == _CONTENT
    transfer.discard(tmp_path / "file")
    server.statuses = [503] * 4
    with pytest.raises(errors.RunError, match="503 Service Unavailable; 0 bytes"):
        get()


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(errors.RunError, match="refused"):
        transfer.download(
            "http://127.0.0.1:1/file", tmp_path / "file", wait=lambda seconds: None
        )
    assert not list(tmp_path.iterdir())


def test_another_size_than_the_table_says(get, server, tmp_path):
    with pytest.raises(errors.RunError, match="of 1,000,000 bytes, .* says 999,999"):
        get(size=999_999)
    assert not (tmp_path / "file.partial").exists()
