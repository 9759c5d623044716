"""Tests that only errors from abandoned reads are suppressed."""

import gc
import logging
import sys

from clinometer.train.host import library_noise

_CODE = """
def read():
    raise ValueError("broken")
"""


def _raised(file):
    namespace = {}
    exec(compile(_CODE, file, "exec"), namespace)
    return namespace["read"]


class _Complains:
    def __init__(self, read):
        self._read = read

    def __del__(self):
        self._read()


def test_only_late_reads_are_dropped(monkeypatch, caplog):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: heard.append(u.exc_value))
    with library_noise.muted():
        logging.getLogger("absl").error("twice")
    logging.getLogger("absl").error("once")
    for file in ("site-packages/orbax/reader.py", "ours.py"):
        read = _raised(file)
        _Complains(read)
        gc.collect()
        try:
            read()
        except ValueError as error:
            logging.getLogger("asyncio").error(file, exc_info=error)
    for text in ("Event loop is closed", "[tensorstore_spec='...']", "another"):
        logging.getLogger("asyncio").error(text, exc_info=RuntimeError(text))
    assert [str(error) for error in heard] == ["broken"]
    said = [record.getMessage() for record in caplog.records]
    assert said == ["once", "ours.py", "another"]
