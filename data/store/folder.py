"""Where a token store is made and how it takes its place.

Work lies in `OUTPUT.partial` until the store is whole. Only what is provably ours is
ever replaced or cleared away: a folder that holds our files and nothing else.
"""

from collections.abc import Iterator
import json
import os
import re
import shutil

from clinometer.data import files
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
    """Whether a folder is a token store, whole or in the making."""
    if path.rstrip(os.sep).endswith(_WORK) and os.path.isfile(os.path.join(path, _JOB)):
        return True
    names = (token_store.MANIFEST, token_store.VOCABULARY)
    return all(os.path.isfile(os.path.join(path, name)) for name in names)


class Folder:
    """The folder of a store that is made, and that of the work on it.

    Attributes:
      output: where the store will lie.
      work: for what is made on the way.
      units: for the tokenised units.
      store: for the files of the store.
    """

    def __init__(self, output: str):
        # ArrayRecord takes no other names.
        if re.search("[\0\ud800-\udfff]", output):
            raise DataError(f"Output {output!r} must be UTF-8, without NUL.")
        self.output = output
        self.work = output + _WORK
        self._replaced = os.path.join(self.work, "replaced")
        self.units = os.path.join(self.work, "units")
        self.store = os.path.join(self.work, "store")

    def begin(self, job: str, overwrite: bool) -> bool:
        """Makes the folders, or keeps an earlier run's work if it was the same job.

        Args:
          job: everything that the result depends on, as JSON.
          overwrite: whether a store at `output` may be replaced.

        Returns:
          Whether there is an earlier run's work.

        Raises:
          DataError: a place is taken by what is not ours.
        """
        if os.path.lexists(self.work):
            self._check_work()
            if os.path.isdir(self._replaced) and not os.path.lexists(self.output):
                os.rename(self._replaced, self.output)  # killed between two renames
        self._check_output(overwrite)
        file = os.path.join(self.work, _JOB)
        if os.path.isfile(file):
            with open(file, "rb") as opened:
                if opened.read() == job.encode():
                    return True
        if os.path.isdir(self.work):
            shutil.rmtree(self.work)
        os.makedirs(self.units)
        files.write_whole(file, job.encode())
        return False

    def finish(self) -> None:
        """Moves the store to `output`; an old one goes only after that."""
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
                        f"{self.output!r} holds a token store already; give another "
                        "folder, or overwrite it (--overwrite)."
                    )
                self._check_store()
                return
        raise DataError(
            f"{self.output!r} exists and is not a token store; give another folder."
        )

    def _check_store(self) -> None:
        """Raises DataError unless `output` is a store and holds nothing else."""
        try:
            splits = token_store.read_manifest(self.output).splits
        except DataError as error:
            raise DataError(
                f"{self.output!r} cannot be told to be a token store, and is not "
                f"overwritten: {error} Remove it yourself, or give another folder."
            ) from error
        known = {token_store.MANIFEST, token_store.VOCABULARY}
        known.update(*(entry["files"] for entry in splits.values()))
        for name in _names(self.output):
            if name not in known:
                raise DataError(
                    f"{self.output!r} holds {name!r} besides a token store, and is not "
                    "overwritten; move that away, or give another folder."
                )

    def _check_work(self) -> None:
        """Raises DataError unless all that is there is an earlier run's."""
        stranger = self._stranger()
        if stranger:
            raise DataError(
                f"{self.work!r}, where the store would be made, is there already and "
                f"not ours: {stranger}; move it away, or give another output."
            )

    def _stranger(self) -> str | None:
        if os.path.islink(self.work) or not os.path.isdir(self.work):
            return "it is no folder"
        names = list(_names(self.work))
        # A run that was killed at its start has described no job, and done nothing.
        ours = _WORK_FILE if _JOB in names else _FIRST_FILE
        for name in names:
            if not ours.fullmatch(name):
                return f"it holds {name!r}"
        if _JOB in names and not self._has_job():
            return f"its {_JOB} describes something else"
        return None

    def _has_job(self) -> bool:
        try:
            with open(os.path.join(self.work, _JOB), "rb") as opened:
                job = json.load(opened)
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(job, dict) and {"version", "inputs", "options"} <= set(job)


def _names(folder: str) -> Iterator[str]:
    """Files and links below a folder, by their paths from there."""
    for place, folders, names in os.walk(folder):
        links = [n for n in folders if os.path.islink(os.path.join(place, n))]
        for name in sorted([*names, *links]):
            yield os.path.relpath(os.path.join(place, name), folder)
