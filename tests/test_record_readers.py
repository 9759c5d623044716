"""Tests that only train/run reads `run.json`; other code uses the record object."""

import ast

import pytest

from clinometer.tools.bazel import source_tree

_RECORD = "clinometer.train.run.record"
_OWN = {"FILE_NAME", "read", "read_or_set_aside", "write"}
# Exceptions, and why.
_ALLOWED = {
    ("train/downstream/evaluation.py", "'run.json'"),  # The text of --help.
    ("train/initial.py", "record.FILE_NAME"),  # An error's message.
    ("tools/report/records.py", "record.FILE_NAME"),  # Likewise.
    ("tools/study/record_folder.py", "record.FILE_NAME"),  # It copies records.
}


def _reads(tree: ast.Module) -> set[str]:
    """Returns how a module uses the record's file: by its name or by functions."""
    found, modules, texts = set(), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if node.body and isinstance(node.body[0], ast.Expr):
                texts.add(node.body[0].value)  # A docstring.
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                if f"{node.module}.{name.name}" == _RECORD:
                    modules.add(name.asname or name.name)
                elif node.module == _RECORD and name.name in _OWN:
                    found.add(f"record.{name.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in texts:
            if isinstance(node.value, str) and "run.json" in node.value:
                found.add("'run.json'")
        elif isinstance(node, ast.Attribute):
            if getattr(node.value, "id", None) in modules and node.attr in _OWN:
                found.add(f"record.{node.attr}")
            if node.attr in ("rest", "present"):  # Access by names in the file.
                found.add(f".{node.attr}")
    return found


def test_no_other_file_reads_the_record(repo_root):
    folders = [folder for folder in source_tree.FOLDERS if folder != "tests"]
    found = {
        (name, what)
        for name in source_tree.python_files(repo_root, folders)
        if not name.startswith("train/run/")
        for what in _reads(ast.parse((repo_root / name).read_text(encoding="utf-8")))
    }
    assert found == _ALLOWED


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("json.load(open(run / 'run.json'))", {"'run.json'"}),
        ("f'{run}/run.json'", {"'run.json'"}),
        ("from clinometer.train.run import record as r\nr.read(x)", {"record.read"}),
        ("from clinometer.train.run.record import FILE_NAME", {"record.FILE_NAME"}),
        ("metrics.rest['validation/loss']", {".rest"}),
        ("'''Of run.json.'''\ndef f():\n    '''run.json.'''\n    return 1", set()),
    ],
)
def test_readers_are_seen(source, what):
    assert _reads(ast.parse(source)) == what
