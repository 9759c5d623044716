"""Tests of the log, including interruption, damage and resuming."""

import json
import logging

import pytest

from clinometer.train.run import metrics_log


def test_resuming_drops_what_came_after(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics_log.MetricsLog(path, 0)
    for step, name in ((1, "x"), (2, "x"), (2, "validation"), (3, "x")):
        log.write(step, {name: 0.1 * step, "wall/y": step})
    log.sync()
    log.close()
    with open(path, "a") as file:
        file.write('{"step": 4, "x": 0.')  # The process died here.
    log = metrics_log.MetricsLog(path, 2)
    assert log.history("x") == [0.1, 0.2]
    log.write(3, {"z": 1})
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[:1] == [{"step": 1, "x": 0.1, "wall/y": 1}]
    assert [line["step"] for line in lines] == [1, 2, 2, 3]
    assert log.latest() == {"step": 3, "x": 0.2, "validation": 0.2, "z": 1}
    assert metrics_log.without_wall(lines[0]) == {"step": 1, "x": 0.1}


_GOOD = [
    *({"step": step, "train/loss": 5.0 - 0.1 * step} for step in range(1, 9)),
    {"step": 8, "validation/loss": 4.3, "health/rms": [1.0, None]},
]
_LINES = [json.dumps(record).encode() for record in _GOOD]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\x00\xff\x13\x80", "utf-8"),
        (b"{}", "step is None"),
        (b"7", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'[{"step": 4}]', "not a JSON object"),
        (b'{"step": "four", "train/loss": 4.0}', "step is 'four'"),
        (b'{"step": 4.0, "train/loss": 4.0}', "step is 4.0"),
        (b'{"step": true, "train/loss": 4.0}', "step is True"),
        (b'{"step": -4, "train/loss": 4.0}', "step is -4"),
        (b'{"step": 4, "validation/loss": NaN}', "NaN is not a JSON number"),
        (
            b'{"step": 4, "validation/loss": -Infinity}',
            "-Infinity is not a JSON number",
        ),
        (b'{"step": 4, "validation/loss": 1e999}', "1e999 is not a JSON number"),
        (b'{"step": 4, "validation/loss": "low"}', "validation/loss is 'low'"),
        (b'{"step": 4, "validation/loss": {}}', "validation/loss is {}"),
        (b'{"step": 4, "train/lo', "Unterminated string"),
        (b'{"step": 4}{"step": 5}', "Extra data"),
        (b'{"step": ' + b"9" * 5000 + b"}", "4300"),
        (b"[" * 100_000, "nested too deeply"),
        (_LINES[3], "step 4 has train/loss twice"),
        (b'{"step": 2, "x": 0.1}', "step 2 is out of order"),
        (b'{"step": 99999, "x": 0.1}', "step 99999 is out of order"),
    ],
)
def test_one_bad_line_costs_no_other(tmp_path, caplog, line, reason):
    path = tmp_path / "metrics.jsonl"
    lines = [*_LINES[:4], line, *_LINES[4:]]
    path.write_bytes(b"\n".join(lines))  # The last line has lost its newline.
    with caplog.at_level(logging.WARNING):
        log = metrics_log.MetricsLog(path, 8)
    log.close()
    assert log.records == _GOOD
    assert path.read_bytes() == b"\n".join(_LINES) + b"\n"
    assert (tmp_path / "metrics.jsonl.corrupt").read_bytes() == line + b"\n"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert f"{path} has 1 invalid lines (line 5: " in warning
    assert reason in warning
    assert "moved to metrics.jsonl.corrupt; the other 9 are kept" in warning
    caplog.clear()
    metrics_log.MetricsLog(path, 8).close()  # It is intact again.
    assert not caplog.records


def test_what_is_not_finite_is_null_with_a_reason(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics_log.MetricsLog(path, 0)
    log.write(1, {"health/rms": float("inf"), "train/loss": 1.0})
    log.write(2, {"train/loss": 2.0, "health/rms": float("nan")})
    log.close()
    first, second = metrics_log.MetricsFile(path).read()
    assert first["health/rms"] is None and second["health/rms"] is None
    assert first["not_finite"] == {"health/rms": "inf"}
    assert second["not_finite"] == {"health/rms": "nan"}
    again = metrics_log.MetricsLog(path, 2)
    again.close()
    assert again.history("health/rms") == []
    assert again.history("train/loss") == [1.0, 2.0]
