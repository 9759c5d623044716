"""Tests the CPU quota of a container, for both cgroup versions."""

import pytest

from clinometer.kernels.bench import cpu_quota


def _root(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


_V1 = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
_V2 = "0::/user.slice/job\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": _V2}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "proc/self/cgroup": _V2,
                "sys/fs/cgroup/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user.slice/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/user.slice/job/cpu.max": "300000 100000\n",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": _V1 + "0::/docker/abc\n",
                "sys/fs/cgroup/unified/docker/abc/cpu.max": "25000 50000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": _V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        (
            # As seen from inside: the path is the host's, the mount the container's.
            {
                "proc/self/cgroup": _V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1.0,
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "0 x y"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "\u00e9 0"}, None),
    ],
)
def test_quota(tmp_path, files, expected):
    assert cpu_quota.cpu_quota(_root(tmp_path, files)) == expected


def test_this_machine_has_none_or_some():
    quota = cpu_quota.cpu_quota()
    assert quota is None or quota > 0
