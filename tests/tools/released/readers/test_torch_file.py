"""Reading PyTorch's files; what needs PyTorch is in `tests/tools/released/peer`."""

import ast
import pickle
import sys

import pytest

from clinometer.tools.released import errors
from clinometer.tools.released.readers import torch_file


def test_without_pytorch_it_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(errors.ReleaseError) as raised:
        torch_file.read(path)
    assert str(path) in str(raised.value)
    assert "pip install 'clinometer[torch]'" in str(raised.value)


def test_no_module_of_the_readers_imports_pickle(repo_root):
    files = sorted((repo_root / "tools" / "released").rglob("*.py"))
    assert len(files) > 10
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])]
            assert "pickle" not in [*names, getattr(node, "module", None)], path
