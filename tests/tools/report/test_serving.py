"""Tests the server of the live page: what it answers, and what it refuses."""

import contextlib
import http.client
import os
import threading

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import serving


@contextlib.contextmanager
def _served(directory, make):
    pages = serving.Pages(directory, make, seconds=0.0)
    with serving.create(pages, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path="/", method="GET", host=None):
            port = server.server_address[1]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"127.0.0.1:{port}")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        yield ask
        server.shutdown()


def test_the_page_follows_the_runs(tmp_path, without_figures):
    del without_figures
    record = synthetic_study.record(status="running", error="<b>odd</b>")
    run = synthetic_study.write_run(tmp_path / "runs" / "a", record)
    before = sorted(tmp_path.rglob("*"))
    with _served(tmp_path, lambda: build.page(tmp_path)) as ask:
        status, text = ask()
        assert status == 200 and "No run has finished yet" in text
        assert "&lt;b&gt;odd" in text and "<b>odd" not in text
        assert "connect-src &#39;self&#39;" in text and '"live":true' in text
        _, first = ask("/version")
        assert ask("/version")[1] == first
        synthetic_study.write_run(tmp_path / "runs" / "b", synthetic_study.record())
        assert ask("/version")[1] != first
        assert "1 of 2 runs finished" in ask()[1]
    # Nothing was written.
    assert sorted(p for p in tmp_path.rglob("*") if "/b" not in str(p)) == before
    assert run.is_dir()


def test_nothing_else_is_served_or_changed(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "secret.txt").write_text("secret")
    with _served(tmp_path, lambda: "page") as ask:
        for path in (
            "/runs/secret.txt",
            "/../../etc/passwd",
            "/report.html",
            "/?x",
        ):
            assert ask(path)[0] == 404
        assert ask(host="evil.example:80")[0] == 403
        assert ask(method="HEAD") == (200, "")
        for method in ("POST", "PUT", "DELETE"):
            assert ask(method=method)[0] == 501


def test_it_listens_on_this_machine_only(tmp_path):
    with serving.create(serving.Pages(tmp_path, str), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(OSError, match="in use"):
            serving.create(serving.Pages(tmp_path, str), server.server_address[1])


def test_an_error_is_shown_until_it_has_gone(tmp_path):
    def make():
        raise ValueError("half a <record>")

    pages = serving.Pages(tmp_path, make, seconds=0.0)
    assert "half a &lt;record&gt;" in pages.current()[1]


def test_the_version_is_of_runs_only(tmp_path):
    run = synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    one = serving.version(tmp_path)
    (tmp_path / "other.txt").write_text("x")
    assert serving.version(tmp_path) == one
    os.utime(run / "metrics.jsonl", ns=(1, 1))
    assert serving.version(tmp_path) != one
