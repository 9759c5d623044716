"""The append-only log, cut off and taken up again."""

import json

from clinometer.train import metrics_log


def test_resuming_drops_what_came_after(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics_log.MetricsLog(path, 0)
    for step in (1, 2, 2, 3):
        log.write(step, {"x": 0.1 * step, "wall/y": step})
    log.sync()
    log.close()
    with open(path, "a") as file:
        file.write('{"step": 4, "x": 0.')  # The process died here.
    log = metrics_log.MetricsLog(path, 2)
    assert log.history("x") == [0.1, 0.2, 0.2]
    log.write(3, {"z": 1})
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[:1] == [{"step": 1, "x": 0.1, "wall/y": 1}]
    assert [line["step"] for line in lines] == [1, 2, 2, 3]
    assert log.latest() == {"step": 3, "x": 0.2, "z": 1}
    assert metrics_log.without_wall(lines[0]) == {"step": 1, "x": 0.1}
