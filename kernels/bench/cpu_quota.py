"""Reads the CPU quota of a container, which its number of cores does not show."""

import pathlib

from clinometer.kernels.bench import cgroups


def cpu_quota(root: pathlib.Path = pathlib.Path("/")) -> float | None:
    """Returns the number of CPUs whose time this process may use; None if unlimited.

    Args:
        root: the root of the file system to read.
    """
    read = {1: _version_1, 2: _version_2}
    limits = (read[version](group) for version, group in cgroups.folders("cpu", root))
    return min((limit for limit in limits if limit is not None), default=None)


def _version_2(group: pathlib.Path) -> float | None:
    words = cgroups.words(group / "cpu.max")  # "max 100000" or "150000 100000"
    return _ratio(*words) if len(words) == 2 else None


def _version_1(group: pathlib.Path) -> float | None:
    quota = cgroups.words(group / "cpu.cfs_quota_us")  # -1 without a limit
    period = cgroups.words(group / "cpu.cfs_period_us")
    return _ratio(*quota, *period) if len(quota) == len(period) == 1 else None


def _ratio(quota: str, period: str) -> float | None:
    try:
        microseconds, each = int(quota), int(period)
    except ValueError:
        return None
    return microseconds / each if microseconds > 0 and each > 0 else None
