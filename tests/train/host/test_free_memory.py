"""Tests of the available memory of the host."""

import pathlib

import pytest

from clinometer.train.host import free_memory

_MEMINFO = "MemTotal:  16000000 kB\nMemFree:  100 kB\nMemAvailable:    2000 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal:  16000000 kB\n"}, None),
        ({"proc/meminfo": _MEMINFO}, 2000 * 1024),
        (
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
            2000 * 1024,
        ),
        (
            {
                "proc/self/cgroup": "0::/job\n",
                "sys/fs/cgroup/memory.max": "1500000\n",
                "sys/fs/cgroup/job/memory.max": "1600000\n",
            },
            1_500_000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "1400000\n",
            },
            1_400_000,
        ),
        (  # Version 1 has this number where there is no limit.
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            2000 * 1024,
        ),
    ],
)
def test_available(tmp_path, files, expected):
    if "proc/self/cgroup" in files:
        files = {"proc/meminfo": _MEMINFO, **files}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert free_memory.available(tmp_path) == expected


def test_here():
    total = pathlib.Path("/proc/meminfo").read_text().split()[1]
    assert 0 < free_memory.available() < 1024 * int(total)
