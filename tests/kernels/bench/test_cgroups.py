"""Tests which folders of control groups are looked at."""

import pytest

from clinometer.kernels.bench import cgroups


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("1:name=systemd:/a\n", set()),
        (
            "0::/a/b\n",
            {(2, name) for name in ("", "a", "a/b")}
            | {(2, name) for name in ("unified", "unified/a", "unified/a/b")},
        ),
        (
            "3:cpuset:/x\n2:cpu,cpuacct:/a\n",
            {(1, name) for name in ("cpu", "cpu/a", "cpu,cpuacct", "cpu,cpuacct/a")},
        ),
    ],
)
def test_folders(tmp_path, text, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(text)
    base = tmp_path / "sys/fs/cgroup"
    assert {*cgroups.folders("cpu", tmp_path)} == {(v, base / n) for v, n in expected}


def test_there_are_no_control_groups(tmp_path):
    assert not [*cgroups.folders("cpu", tmp_path)]
    assert cgroups.words(tmp_path / "cpu.max") == []
