"""Damaged files of a task either load completely or give an error that names them.

What loads can also be scored, so that errors do not show only after training.
"""

import bz2
import collections
from collections.abc import Callable
import gzip
import json
import lzma
import os
import pathlib
import random
import shutil
import traceback

import pytest
import zstandard

from clinometer.data.errors import DataError
from clinometer.data.tasks import load
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Task
from clinometer.tests.data.tasks import releases

# JSON values that do not occur in any release.
_VALUES = (
    "null",
    "true",
    "-1",
    "2",
    "0.5",
    "NaN",
    "1e999",
    str(1 << 64),
    "9" * 400,
    "9" * 4000,
    "9" * 5000,
    '""',
    '" "',
    '"2"',
    f'"{"9" * 5000}"',
    '"\\u00b2"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"a\\u0000b"',
    '"../../x"',
    f'"{"x" * 140_000}"',
    f'"{"long " * 300}"',
    "[]",
    "[[]]",
    '["a", 1]',
    "{}",
    '{"idx": {}}',
    "[" * 200 + "]" * 200,
    "[" * 900 + "]" * 900,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 5000 + "1" + "}" * 5000,
)
# Likewise, replacements for a cell or line of other text files.
_CELLS = (
    "",
    " ",
    "-1",
    "-",
    "7",
    "nan",
    "inf",
    "1e999",
    str(1 << 64),
    "9" * 5000,
    "\u00b2",
    "\u0663",
    '"',
    '"a',
    "a\tb",
    "a,b",
    "a\nb",
    "a\x00b",
    "../../x",
    "x" * 140_000,
    "long " * 300,
    "\u2028",
    "\ufeff",
    "*",
    "\\",
    "(",
)
_COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
_PREDICTIONS = ("", "nan", "9" * 5000, "\x00", "True", "2.0", "<extra_id_0> a")


def _nodes(value: object, path: tuple = ()) -> list[tuple]:
    """Returns the paths of all values in a JSON record."""
    found = [path]
    pairs = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, part in pairs:
        found += _nodes(part, (*path, key))
    return found


def _replaced(value: object, path: tuple, new: object) -> object:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


def _without(value: object, path: tuple) -> object:
    copy = value.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(value[path[0]], path[1:])
    return copy


def _other_value(data: bytes, name: str, rng: random.Random) -> bytes | None:
    """Replaces or removes a value in a JSON file or a cell of a table."""
    text = data.decode()
    if name.endswith((".json", ".jsonl")):
        lines = [text] if name.endswith(".json") else text.splitlines()
        place = rng.randrange(len(lines))
        record = json.loads(lines[place])
        path = rng.choice(_nodes(record))
        if path and rng.random() < 0.1:
            lines[place] = json.dumps(_without(record, path))
        else:
            dumped = json.dumps(_replaced(record, path, "@@"))
            lines[place] = dumped.replace('"@@"', rng.choice(_VALUES), 1)
        return "\n".join(lines).encode() + b"\n"
    lines = text.splitlines()
    place = rng.randrange(len(lines))
    separator = "\t" if "\t" in lines[place] else ","
    cells = lines[place].split(separator)
    cells[rng.randrange(len(cells))] = rng.choice(_CELLS)
    lines[place] = separator.join(cells)
    return "\n".join(lines).encode() + b"\n"


def _other_bytes(data: bytes, rng: random.Random) -> bytes:
    """Truncates, flips, doubles, inserts or removes bytes."""
    place = rng.randrange(len(data) + 1)
    stop = min(len(data), place + rng.randrange(1, 30))
    return rng.choice(
        (
            data[:place],
            data[place:],
            data[:place] + data[stop:],
            data[:stop] + data[place:],
            data[:place] + rng.randbytes(rng.randrange(1, 9)) + data[place:],
            data[:place] + bytes(b ^ 1 << rng.randrange(8) for b in data[place:stop]),
            b"",
            b"\x00" * len(data),
            rng.randbytes(300),
            bz2.compress(data),
        )
    )


def _other_kind(path: pathlib.Path, rng: random.Random) -> None:
    """Replaces a file with a folder, link or pipe, or its folder with a file."""
    kind = rng.choice(("folder", "dangling", "loop", "pipe", "parent", "none"))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "parent":
        shutil.rmtree(path.parent)
        path.parent.write_text("a file")


def _write(folder: pathlib.Path, files: dict[str, bytes]) -> None:
    if folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _damage(folder: pathlib.Path, files: dict[str, bytes], rng: random.Random) -> str:
    """Writes a release with one damaged file; returns a description of the damage."""
    name = rng.choice(sorted(files))
    data, kind = files[name], rng.random()
    if kind < 0.6 and not name.endswith(".tar.gz"):
        _write(folder, {**files, name: _other_value(data, name, rng)})
        return f"{name}: value"
    if kind < 0.8:
        _write(folder, {**files, name: _other_bytes(data, rng)})
        return f"{name}: bytes"
    if kind < 0.9:
        suffix = rng.choice(sorted(_COMPRESSED))
        rest = {other: content for other, content in files.items() if other != name}
        squeezed = _COMPRESSED[suffix](data)
        _write(folder, {**rest, name + suffix: _other_bytes(squeezed, rng)})
        return f"{name}{suffix}: bytes"
    _write(folder, files)
    _other_kind(folder / name, rng)
    return f"{name}: kind"


def _answer(task: Task, folder: pathlib.Path) -> str:
    """Loads and scores a task; returns "good", "refused" or a traceback."""
    try:
        examples = load.read(task, folder, "validation").examples
    except DataError as error:
        named = str(folder) in str(error)
        short = len(str(error)) < 2000
        return "refused" if named and short else f"unclear: {str(error)[:3000]}"
    except Exception:
        return traceback.format_exc()
    try:
        for said in ([e.targets for e in examples], _PREDICTIONS):
            predictions = [said[k % len(said)] for k in range(len(examples))]
            score = task.score(examples, predictions)
            assert set(task.averaged) <= set(score)
        for example in examples:
            (example.inputs + example.targets).encode()
    except Exception:
        return "loaded, but " + traceback.format_exc()
    return "good"


def _fuzz(folder: pathlib.Path, cases: int, seed: int) -> collections.Counter:
    rng = random.Random(seed)
    counts, broken = collections.Counter(), {}
    for case in range(cases):
        release = releases.RELEASES[case % len(releases.RELEASES)]
        done = _damage(folder, release.files, rng)
        answer = _answer(registry.get(release.task), folder)
        counts[answer if answer in ("good", "refused") else "broken"] += 1
        if answer not in ("good", "refused"):
            broken.setdefault(answer.strip().splitlines()[-1], (done, case, answer))
    assert not broken, (
        "\n\n".join(
            f"{release}, case {case}: {answer}"
            for release, case, answer in broken.values()
        )
        + f"\n{counts}"
    )
    return counts


def test_each_release_is_whole(tmp_path):
    for release in releases.RELEASES:
        _write(tmp_path / "r", release.files)
        assert _answer(registry.get(release.task), tmp_path / "r") == "good", release
    covered = {release.task for release in releases.RELEASES}
    # They are read and scored as a task that is covered.
    alike = {"superglue_rte", "physicaliqa", "winogrande", "same_document"}
    assert covered | alike == set(registry.names())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_files_load_or_are_named(tmp_path, seed):
    counts = _fuzz(tmp_path / "r", cases=2500, seed=seed)
    assert counts["good"] > 250 and counts["refused"] > 250


@pytest.mark.matrix
def test_many_damaged_files_load_or_are_named(tmp_path, record_property):
    counts = _fuzz(tmp_path / "r", cases=60_000, seed=2)
    for answer, count in counts.items():
        record_property(answer, count)
