"""Progress never ends the job that it reports."""

import io
import os

from clinometer.data import progress as progress_lib
from clinometer.data.progress import Progress


def test_a_reader_who_left_does_not_stop_the_job():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        progress = Progress("job", stream=stream)
        progress.message("one")
        progress.finish("two")
        with open(os.devnull, "w") as nowhere:  # so that closing can flush
            os.dup2(nowhere.fileno(), stream.fileno())


def test_a_process_without_standard_error(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    progress = Progress("job")
    progress.update(0, 0)
    progress.message("nobody reads this")


def test_a_terminal_shows_one_line_over_the_other(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress_lib, "_TERMINAL_SECONDS", 0.0)
    stream = io.StringIO()
    stream.isatty = lambda: True
    with Progress("job", total=10, stream=stream) as progress:
        progress.update(1, 100)
        progress.update(2, 200)
        progress.message("stays")
        assert "job: 100 tokens" in stream.getvalue()
        assert "\r\x1b[2Kjob: 200 tokens" in stream.getvalue()
        assert "\r\x1b[2Kstays\njob: 200 tokens" in stream.getvalue()
        progress.finish("done")
    assert "\r\x1b[1A\x1b[2Kjob: done in" in stream.getvalue()
