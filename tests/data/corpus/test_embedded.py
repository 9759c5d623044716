"""The embedded corpus: its contents, order and cache."""

import hashlib
import io
import json
import pathlib

import pytest

from clinometer.data.corpus import docstrings
from clinometer.data.corpus import embedded
from clinometer.data.errors import DataError
from clinometer.data.store import token_store

_LONG = "word " * 30
_SOURCE = f'''"""{_LONG}module."""

class A:
    """{_LONG}class.

    plain
        indented
    """

    def method(self):
        """Too short."""

    async def later(self):
        """{_LONG}later."""

def twice():
    """{_LONG}module."""

x = """{_LONG}no docstring."""
'''


def _write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_docstrings_are_cleaned_deduplicated_and_ordered(tmp_path):
    paths = [
        _write(tmp_path, "a.py", _SOURCE),
        _write(tmp_path, "b.py", _SOURCE),
        _write(tmp_path, "c.py", "def broken(:"),
    ]
    expected = {
        f"{_LONG}module.",
        f"{_LONG}class.\n\nplain\n    indented",
        f"{_LONG}later.",
    }
    found = docstrings.extract(paths)
    assert set(found) == expected
    assert len(found) == 3
    digests = [hashlib.sha256(text.encode()).digest() for text in found]
    assert digests == sorted(digests)
    assert docstrings.extract(paths[::-1]) == found


def test_source_paths_leave_out_tests_and_hold_every_package():
    paths = docstrings.source_paths()
    assert any(path.endswith("/argparse.py") for path in paths)
    for package in ("jax", "numpy", "haiku", "scipy"):
        assert any(f"-packages/{package}/" in path for path in paths)
    assert not any("/tests/" in path or "/test/" in path for path in paths)
    assert len(paths) == len(set(paths))


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(docstrings, "DISTRIBUTIONS", ("no-such-package",))
    with pytest.raises(DataError, match=r"'no-such-package'.*clinometer\[train\]"):
        docstrings.versions()


@pytest.fixture
def few_sources(tmp_path, monkeypatch, texts):
    """Builds the corpus from the docstrings of one file instead of all packages."""
    functions = [f'def f():\n    """{text}"""\n' for text in texts]
    path = _write(tmp_path, "source.py", "".join(functions))
    monkeypatch.setattr(docstrings, "source_paths", lambda: [path])


def test_store_is_made_once_and_again_if_spoilt(few_sources, tmp_path, texts):
    cache, log = str(tmp_path / "cache"), io.StringIO()
    path = embedded.ensure_store(cache, 400, log)
    store = token_store.TokenStore.open(path)
    assert store.manifest.name == "embedded"
    assert store.vocabulary.size == 400
    splits = store.manifest.splits
    assert splits["train"]["documents"] + splits["validation"]["documents"] == len(
        set(texts)
    )
    assert store.manifest.source["packages"]["jax"]

    said = log.getvalue()
    assert embedded.ensure_store(cache, 400, log) == path
    assert log.getvalue() == said

    (tmp_path / "cache" / path / "manifest.json").unlink()
    assert embedded.ensure_store(cache, 400, log) == path
    again = token_store.TokenStore.open(path)
    assert again.manifest == store.manifest


def test_corpus_file_holds_the_documents(few_sources, tmp_path, texts):
    path = embedded.ensure_corpus(str(tmp_path / "cache"), io.StringIO())
    with open(path) as file:
        found = [json.loads(line)["text"] for line in file]
    assert sorted(found) == sorted({text.strip() for text in texts})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-200],
        lambda data: data.replace(b"value", b"valve", 1),
        lambda data: data[: data.rindex(b"\n", 0, -1) + 1],
        lambda data: b"",
    ],
)
def test_a_damaged_corpus_is_scanned_again(few_sources, tmp_path, damage):
    path = embedded.ensure_corpus(str(tmp_path / "cache"), io.StringIO())
    whole = pathlib.Path(path).read_bytes()
    assert damage(whole) != whole
    pathlib.Path(path).write_bytes(damage(whole))
    assert embedded.ensure_corpus(str(tmp_path / "cache"), io.StringIO()) == path
    assert pathlib.Path(path).read_bytes() == whole
    log = io.StringIO()
    embedded.ensure_corpus(str(tmp_path / "cache"), log)
    assert not log.getvalue()


def test_key_changes_with_a_version(monkeypatch):
    before = embedded.corpus_key()
    assert embedded.corpus_key() == before
    versions = docstrings.versions() | {"numpy": "0.0"}
    monkeypatch.setattr(docstrings, "versions", lambda: versions)
    assert embedded.corpus_key() != before
