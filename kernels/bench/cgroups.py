"""Finds the control groups of this process, which may limit its CPUs and memory."""

from collections.abc import Iterator
import pathlib


def folders(
    controller: str, root: pathlib.Path = pathlib.Path("/")
) -> Iterator[tuple[int, pathlib.Path]]:
    """Yields (cgroup version, folder) of each group that may hold a limit.

    Args:
        controller: what is limited, such as "cpu".
        root: the root of the file system to read.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        # Format: number:controllers:path; cgroup v2 has no controllers.
        _, controllers, path = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if not controllers:
            version, mounts = 2, (base, base / "unified")
        elif controller in controllers.split(","):
            version, mounts = 1, (base / controllers, base / controller)
        else:
            continue
        # Any parent group may have the limit. In a container, the path is often the
        # host's, and the container's own group is the root of the mount.
        place = pathlib.PurePosixPath(path.lstrip("/"))
        for mount in mounts:
            for group in (place, *place.parents):
                yield version, mount / group


def words(path: pathlib.Path) -> list[str]:
    """Returns the words of a file; none if it cannot be read.

    Args:
        path: the file.
    """
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
