"""Progress never ends the job that it reports."""

import os

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
