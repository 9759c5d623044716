"""The output folder and the work folder of a token store.

A store is built in the work folder `OUTPUT.partial` and moved to `OUTPUT` when it is
complete. Existing folders are replaced or removed only if they contain nothing but
Clinometer's own files.
"""

from collections.abc import Iterator
import json
import os
import re
import shutil

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.data.store import token_store

_JOB, _WORK = "job.json", ".partial"
_STORE_FILE = (
    rf"{re.escape(token_store.MANIFEST)}|{re.escape(token_store.VOCABULARY)}"
    r"|\w+/(documents|tokens-\d{5,})\.array_record(\.tmp)?"
)
_FIRST_FILE = re.compile(rf"{re.escape(_JOB)}\.tmp-\d+")
_WORK_FILE = re.compile(
    rf"({re.escape(_JOB)}|vocabulary(-\w+)?\.model|units/\d{{6,}}\.(npz|unit)"
    rf"|(store|replaced)/({_STORE_FILE}))(\.tmp-\d+)?"
)


def is_store(path: str) -> bool:
    """Returns whether a folder is a token store or the work folder of one."""
    if path.rstrip(os.sep).endswith(_WORK) and os.path.isfile(os.path.join(path, _JOB)):
        return True
    names = (token_store.MANIFEST, token_store.VOCABULARY)
    return all(os.path.isfile(os.path.join(path, name)) for name in names)


class Folder:
    """The output folder and the work folder of a token store.

    Args:
        output: path of the finished store.

    Attributes:
        output: path of the finished store.
        work: the work folder, removed at the end.
        units: folder for the tokenised units, in `work`.
        store: folder for the files of the store, in `work`.

    Raises:
        DataError: the path contains NUL or is not valid UTF-8.
    """

    def __init__(self, output: str):
        # ArrayRecord does not accept such names.
        if re.search("[\0\ud800-\udfff]", output):
            raise DataError(f"Output {output!r} must be UTF-8, without NUL.")
        self.output = output
        self.work = output + _WORK
        self._replaced = os.path.join(self.work, "replaced")
        self.units = os.path.join(self.work, "units")
        self.store = os.path.join(self.work, "store")

    def begin(self, job: str, overwrite: bool) -> bool:
        """Creates the work folder, or keeps that of an interrupted run of the same job.

        Args:
            job: everything that the result depends on, as JSON.
            overwrite: whether an existing store at `output` may be replaced.

        Returns:
            Whether an interrupted run can be resumed.

        Raises:
            DataError: `output` or `work` exists and must not be replaced.
        """
        if os.path.lexists(self.work):
            self._check_work()
            if os.path.isdir(self._replaced) and not os.path.lexists(self.output):
                # The earlier run was killed between the two renames of `finish`.
                os.rename(self._replaced, self.output)
        self._check_output(overwrite)
        file = os.path.join(self.work, _JOB)
        if os.path.isfile(file):
            with open(file, "rb") as opened:
                if opened.read() == job.encode():
                    return True
        if os.path.isdir(self.work):
            shutil.rmtree(self.work)
        os.makedirs(self.units)
        paths.write_bytes(file, job.encode())
        return False

    def finish(self) -> None:
        """Moves the store to `output`, then removes the store that it replaces."""
        if os.path.isdir(self.output) and not os.listdir(self.output):
            os.rmdir(self.output)
        if os.path.isdir(self.output):
            if os.path.isdir(self._replaced):
                shutil.rmtree(self._replaced)
            os.rename(self.output, self._replaced)
        os.rename(self.store, self.output)
        shutil.rmtree(self.work)

    def _check_output(self, overwrite: bool) -> None:
        if not os.path.lexists(self.output):
            return
        if not os.path.islink(self.output) and os.path.isdir(self.output):
            if not os.listdir(self.output):
                return
            if is_store(self.output):
                if not overwrite:
                    raise DataError(
                        f"{self.output!r} already contains a token store; choose "
                        "another folder, or overwrite the store (--overwrite)."
                    )
                self._check_store()
                return
        raise DataError(
            f"{self.output!r} exists and is not a token store; choose another folder."
        )

    def _check_store(self) -> None:
        """Raises DataError unless `output` contains a store and nothing else."""
        try:
            splits = token_store.read_manifest(self.output).splits
        except DataError as error:
            raise DataError(
                f"{self.output!r} does not look like an intact token store, so it is "
                f"not overwritten: {error} Remove it yourself, or choose another "
                "folder."
            ) from error
        known = {token_store.MANIFEST, token_store.VOCABULARY}
        known.update(*(entry["files"] for entry in splits.values()))
        for name in _names(self.output):
            if name not in known:
                raise DataError(
                    f"{self.output!r} contains {name!r} in addition to a token store, "
                    "so it is not overwritten; move that file elsewhere, or choose "
                    "another folder."
                )

    def _check_work(self) -> None:
        """Raises DataError if the work folder contains files of another program."""
        stranger = self._stranger()
        if stranger:
            raise DataError(
                f"The work folder {self.work!r} already exists and is not from an "
                f"interrupted run: {stranger}; move it elsewhere, or choose another "
                "output folder."
            )

    def _stranger(self) -> str | None:
        if os.path.islink(self.work) or not os.path.isdir(self.work):
            return "it is not a folder"
        names = list(_names(self.work))
        # A run that was killed at its start may have left only a temporary job file.
        ours = _WORK_FILE if _JOB in names else _FIRST_FILE
        for name in names:
            if not ours.fullmatch(name):
                return f"it contains {name!r}"
        if _JOB in names and not self._has_job():
            return f"its {_JOB} does not describe a tokenisation job"
        return None

    def _has_job(self) -> bool:
        try:
            with open(os.path.join(self.work, _JOB), "rb") as opened:
                job = json.load(opened)
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(job, dict) and {"version", "inputs", "options"} <= set(job)


def _names(folder: str) -> Iterator[str]:
    """Yields the relative paths of the files and links below a folder."""
    for place, folders, names in os.walk(folder):
        links = [n for n in folders if os.path.islink(os.path.join(place, n))]
        for name in sorted([*names, *links]):
            yield os.path.relpath(os.path.join(place, name), folder)
