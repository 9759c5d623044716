"""Tests of the end of a process whose run cannot go on."""

import pathlib

import pytest

from clinometer.tests.kernels import child

_CODE = """
import sys, threading, time
from clinometer.train.hosts import departure
made = departure.Departure("clinometer train")
{before}
threading.Thread(target={call}, daemon=True).start()
time.sleep(120)  # As if waiting for a lost process.
"""


def _run(call, before=""):
    return child.run(_CODE.format(call=call, before=before))


def test_a_loss_ends_the_process_with_a_sentence():
    ended = _run("lambda: made.lost(1, 'process 1 is lost')")
    assert ended.returncode == 44
    assert ended.stderr == (
        "clinometer train: error: process 1 is lost; run the same command to resume\n"
    )


@pytest.mark.parametrize(
    ("call", "first_lost"),
    [
        ("lambda: made.lost(1, 'why')", False),
        ("lambda: made.lost(0, 'why')", True),
        ("lambda: made.stuck('why')", True),
    ],
)
def test_the_record_is_written_before(tmp_path, call, first_lost):
    file = tmp_path / "said"
    before = f"made.record = lambda *given: open({str(file)!r}, 'w').write(repr(given))"
    ended = _run(call, before)
    assert ended.returncode == 44
    assert file.read_text() == repr(("why", first_lost))


def test_being_stuck_shows_the_stacks():
    ended = _run("lambda: made.stuck('no step ended')")
    assert ended.returncode == 44
    assert "(most recent call first):" in ended.stderr
    assert "in <module>" in ended.stderr and "in stuck" in ended.stderr
    assert ended.stderr.endswith(
        "clinometer train: error: no step ended; run the same command to resume\n"
    )


def test_a_record_that_cannot_be_written_ends_it_too():
    ended = _run("lambda: made.lost(1, 'why')", "made.record = lambda *given: 1 / 0")
    assert ended.returncode == 44
    assert "the record was not written: division by zero" in ended.stderr


def test_a_disk_that_does_not_answer_ends_it_too():
    before = (
        "departure.RECORD_SECONDS = 0.1\nmade.record = lambda *given: time.sleep(120)"
    )
    assert _run("lambda: made.lost(1, 'why')", before).returncode == 44


def test_it_imports_no_jax():
    source = pathlib.Path(child.ROOT, "train/hosts/departure.py").read_text()
    assert "import jax" not in source
