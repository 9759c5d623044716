"""A stand-in for an object store, under the real paths `s3://` and `gs://`.

It replaces the libraries of both in fsspec, which etils.epath uses. Objects are kept in
one local folder without subfolders, which several processes can share. As in a store,
an object is written whole or not at all, and there are no folders; unlike in one, a
rename is an error, since code that renames would not be safe there. Not simulated:
credentials, delays and lost connections.

    object_store.register(folder)
    epath.Path("s3://bucket/runs/a/run.json").read_bytes()
"""

import errno
import io
import os
import pathlib
import tempfile
from typing import Any
import urllib.parse

import fsspec
from fsspec import spec

FOLDER = "CLINOMETER_TEST_OBJECTS"
_TEMPORARY = ".writing"


class ObjectStore(spec.AbstractFileSystem):
    """The objects in a folder, as a flat table from key to bytes."""

    protocol = ("s3", "gs", "gcs")
    cachable = False  # Tests change the folder.

    def __init__(self, **options: Any):
        """Keeps whether listings may be cached."""
        super().__init__(**options)
        self.cached_listings = options.get("use_listings_cache", True)

    @property
    def folder(self) -> pathlib.Path:
        """The folder last registered: etils.epath keeps one instance for good."""
        return pathlib.Path(os.environ[FOLDER])

    def _file(self, key: str) -> pathlib.Path:
        name = urllib.parse.quote(key, safe="")
        if len(name) > 255:
            raise OSError(errno.ENAMETOOLONG, "the stand-in's keys are short", key)
        return self.folder / name

    def _keys(self) -> list[str]:
        found = sorted(os.listdir(self.folder))
        return [urllib.parse.unquote(n) for n in found if not n.startswith(_TEMPORARY)]

    def info(self, path: str, **unused: Any) -> dict[str, Any]:
        """Describes an object, or a prefix of several."""
        key = self._strip_protocol(path)
        try:
            size = self._file(key).stat().st_size
            return {"name": key, "size": size, "type": "file"}
        except FileNotFoundError:
            if any(each.startswith(f"{key}/") for each in self._keys()):
                return {"name": key, "size": 0, "type": "directory"}
            raise FileNotFoundError(key) from None  # Without a number, as in stores.

    def ls(self, path: str, detail: bool = True, **unused: Any) -> list[Any]:
        """Lists the objects and the next parts of longer keys below a prefix."""
        key = self._strip_protocol(path)
        prefix = f"{key}/" if key else ""
        below = [e[len(prefix) :] for e in self._keys() if e.startswith(prefix)]
        found = sorted({prefix + rest.split("/")[0] for rest in below})
        if not found:
            found = [self.info(path)["name"]]  # The object itself, or an error.
        return [self.info(each) for each in found] if detail else found

    def _open(self, path: str, mode: str = "rb", **unused: Any) -> io.BytesIO:
        if mode == "rb":
            try:
                return io.BytesIO(self._file(path).read_bytes())
            except FileNotFoundError:
                raise FileNotFoundError(path) from None
        if mode == "wb":
            return _Upload(self, path)
        raise NotImplementedError(f"mode {mode!r}: objects are written whole")

    def put(self, key: str, content: bytes, *, create: bool = False) -> None:
        """Writes an object; with `create`, only if there is none."""
        number, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.folder)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        if not create:
            os.replace(temporary, self._file(key))
            return
        try:
            os.link(temporary, self._file(key))
        except FileExistsError:
            raise FileExistsError(key) from None
        finally:
            os.remove(temporary)

    def pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **unused: Any
    ) -> None:
        """Writes an object; mode "create" is atomic, as in stores."""
        key = self._strip_protocol(path)
        self.put(key, bytes(value), create=mode == "create")

    def cp_file(self, path1: str, path2: str, **unused: Any) -> None:
        """Copies an object."""
        self.pipe_file(path2, self.cat_file(path1))

    def rm_file(self, path: str) -> None:
        """Removes an object."""
        try:
            self._file(self._strip_protocol(path)).unlink()
        except FileNotFoundError:
            raise FileNotFoundError(path) from None

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None):
        """Removes an object, or all objects below a prefix."""
        del maxdepth
        for each in [path] if isinstance(path, str) else path:
            key = self._strip_protocol(each)
            below = [e for e in self._keys() if recursive and e.startswith(f"{key}/")]
            for found in below or [key]:
                self.rm_file(found)

    def mv(self, path1: str, path2: str, *unused: Any, **more: Any) -> None:
        """Refuses."""
        raise NotImplementedError(f"{path1}: objects cannot be renamed")

    def mkdir(self, path: str, *unused: Any, **more: Any) -> None:
        """Does nothing: there are no folders."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Does nothing: there are no folders."""


class _Upload(io.BytesIO):
    """A new object, which is there once it is closed."""

    def __init__(self, store: ObjectStore, key: str):
        super().__init__()
        self._store, self._key = store, key

    def close(self) -> None:
        if not self.closed:
            self._store.put(self._key, self.getvalue())
        super().close()


def register(folder: str | os.PathLike[str]) -> None:
    """Makes the paths `s3://` and `gs://` of this process objects in a folder.

    Args:
        folder: an existing folder.
    """
    os.environ[FOLDER] = os.fspath(folder)
    for protocol in ObjectStore.protocol:
        fsspec.register_implementation(protocol, ObjectStore, clobber=True)
    fsspec.filesystem("s3").clear_instance_cache()
