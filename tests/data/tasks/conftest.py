"""Fixtures that load a few rows, written by hand in the format of a release."""

from collections.abc import Callable
import pathlib

import pytest

from clinometer.data.tasks import load
from clinometer.data.tasks import registry


@pytest.fixture
def read(tmp_path) -> Callable[..., load.Loaded]:
    """Returns a function (task, {file: text or bytes}, split) -> loaded examples."""

    def read_folder(
        name: str, files: dict[str, str | bytes], split: str = "validation"
    ) -> load.Loaded:
        for file, content in files.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            path.write_bytes(data)
        return load.read(registry.get(name), tmp_path, split)

    return read_folder


@pytest.fixture
def read_shared(shared_dir) -> Callable[..., load.Loaded]:
    """Returns a function (task, files in the shared data, split) -> loaded examples."""

    def read_files(name: str, *files: str, split: str = "test") -> load.Loaded:
        paths = [pathlib.Path(shared_dir, "data", file) for file in files]
        return load.read_files(registry.get(name), paths, split)

    return read_files
