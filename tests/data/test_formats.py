"""The table of tasks in FORMATS.md is that of the code."""

import re

from clinometer.data.tasks import registry


def test_tasks(repo_root):
    text = (repo_root / "data" / "FORMATS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", text, re.M)
    assert [name for name, *_ in rows] == list(registry.names())
    for name, _, targets, metrics, examples in rows:
        task = registry.get(name)
        assert metrics == ", ".join(task.averaged), name
        assert examples == f"{task.train_examples:,}", name
        if task.labels:
            assert targets.removesuffix(" (from 0.5)") == ", ".join(task.labels), name
