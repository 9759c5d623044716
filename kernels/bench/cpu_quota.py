"""Reads the CPU quota of a container, which its number of cores does not show."""

import pathlib


def cpu_quota(root: pathlib.Path = pathlib.Path("/")) -> float | None:
    """Returns the number of CPUs whose time this process may use; None if unlimited.

    Args:
        root: the root of the file system to read.
    """
    limits = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        # Format: number:controllers:path; cgroup v2 has no controllers.
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts = (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified")
            read = _version_2
        elif "cpu" in controllers.split(","):
            mounts = (root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu")
            read = _version_1
        else:
            continue
        # Any parent group may have the limit. In a container, the path is often the
        # host's, and the container's own group is the root of the mount.
        place = pathlib.PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            limits += [read(mount / group) for group in (place, *place.parents)]
    return min((limit for limit in limits if limit is not None), default=None)


def _version_2(group: pathlib.Path) -> float | None:
    words = _words(group / "cpu.max")  # "max 100000" or "150000 100000"
    return _ratio(*words) if len(words) == 2 else None


def _version_1(group: pathlib.Path) -> float | None:
    quota = _words(group / "cpu.cfs_quota_us")  # -1 without a limit
    period = _words(group / "cpu.cfs_period_us")
    return _ratio(*quota, *period) if len(quota) == len(period) == 1 else None


def _ratio(quota: str, period: str) -> float | None:
    try:
        microseconds, each = int(quota), int(period)
    except ValueError:
        return None
    return microseconds / each if microseconds > 0 and each > 0 else None


def _words(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
