"""Tests the progress display: what it reads, estimates and draws."""

import io
import json

import pytest

from clinometer.tools.study import progress


def _write(folder, *steps):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": s, "train/loss": 7 - s / 100}) + "\n" for s in steps]
    (folder / "metrics.jsonl").write_text("".join(lines) + '{"step": 9')


def test_reads_the_last_whole_line(tmp_path):
    assert progress.read_standing(tmp_path / "none") == progress.Standing()
    _write(tmp_path / "run", *range(10, 10_000, 10))
    standing = progress.read_standing(tmp_path / "run")
    assert standing.step == 9990
    assert standing.loss == pytest.approx(7 - 99.9)


def test_seconds_left_by_hand():
    assert progress.seconds_left({"a": 5.0, "b": 9.0}, [], 2) == 9
    # c starts when a ends (5), d when b ends (9): 5 + 7 = 12, 9 + 1 = 10.
    assert progress.seconds_left({"a": 5.0, "b": 9.0}, [7.0, 1.0], 2) == 12
    assert progress.seconds_left({"a": 5.0}, [7.0], 2) == 7
    assert progress.seconds_left({"a": None}, [], 1) is None
    assert progress.seconds_left({}, [], 2) == 0


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("out", [io.StringIO(), _Terminal()])
def test_draws_rates_and_time_left(tmp_path, out, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    folders = {name: tmp_path / name for name in ("big", "small")}
    drawer = progress.StudyProgress(
        folders,
        {"big": 2.0, "small": 1.0},
        steps=100,
        jobs=1,
        out=out,
        clock=lambda: now[0],
    )
    for now[0], step in ((30.0, 20), (60.0, 40)):
        _write(folders["big"], step)
        drawer.tick(["big"], ["small"])
    drawer.say("done")
    text = out.getvalue()
    assert "big: step 20/100, loss 6.800" in text
    # 20 steps took 30 s: 60 more take 90 s. "small", at half the cost, takes 75 s more.
    assert "0.667 steps/s, 1 min 30 s left" in text
    assert "1 running, 1 waiting, about 2 min 45 s left" in text
    # Both lines are erased, from the bottom up, before they are drawn again.
    assert ("\r\x1b[2K\x1b[1A\x1b[2Kbig" in text) == out.isatty()


def test_of_many_runs_some_are_drawn(tmp_path):
    now, out = [0.0], io.StringIO()
    names = [f"run{number}" for number in range(40)]
    drawer = progress.StudyProgress(
        {name: tmp_path / name for name in names},
        dict.fromkeys(names, 1.0),
        steps=100,
        jobs=40,
        out=out,
        clock=lambda: now[0],
    )
    now[0] = 30.0
    drawer.tick(names[:30], names[30:])
    text = out.getvalue()
    assert text.count("starting") == 12 and "... and 18 more" in text
    assert "30 running, 10 waiting" in text
