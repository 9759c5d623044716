"""Writes the BUILD files from the imports of the sources: `make build-files`.

Every Python file has one target. Of a file that moved (one of this name lost its
target elsewhere), the target moves along with what is written by hand in it.
"""

import argparse
from collections.abc import Iterable
import dataclasses
import difflib
import pathlib
import re
import sys

from clinometer.tools.bazel import build_syntax
from clinometer.tools.bazel import source_tree

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MAIN_GUARD = re.compile(r"^if __name__ == ['\"]__main__['\"]:", re.MULTILINE)
_BUILT_IN = ("//visibility:", "//conditions:")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to write."""

    texts: dict[str, str]  # Of each BUILD file that changes; an empty one goes.
    warnings: list[str]  # What only a person can put right.


def _folder(name: str) -> str:
    return str(pathlib.PurePosixPath(name).parent)


def _usual_name(name: str) -> str:
    """Returns the name of the target that the file `name` gets by itself."""
    path = pathlib.PurePosixPath(name)
    return path.parent.name if path.name == "__init__.py" else path.stem


def _new_target(root: pathlib.Path, name: str) -> build_syntax.Target:
    """Returns the target of a file that has none."""
    file = pathlib.PurePosixPath(name).name
    if file.startswith("test_"):
        rule = "cl_py_test"
    elif _MAIN_GUARD.search((root / name).read_text(encoding="utf-8")):
        rule = "cl_py_binary"
    else:
        rule = "cl_py_library"
    return build_syntax.Target(rule, _usual_name(name), file)


def _moves(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Returns where each of the `new` files was, as far as their names tell.

    A file moved where one of its name is gone and one is new, its folder's name
    included if more than one are.
    """
    gone, new, found = set(gone), set(new), {}
    for depth in (3, 2, 1):
        for name in sorted(new):
            tail = pathlib.PurePosixPath(name).parts[-depth:]
            before, after = (
                [n for n in names if pathlib.PurePosixPath(n).parts[-depth:] == tail]
                for names in (gone, new)
            )
            if len(before) == len(after) == 1:
                found[name] = before[0]
        gone -= set(found.values())
        new -= set(found)
    return found


def _conftests(name: str, files: set[str]) -> set[str]:
    """Returns the conftest.py files that pytest loads for `name`, which none imports.

    The one of tests/ comes with the rule.
    """
    path = pathlib.PurePosixPath(name)
    if not path.name.startswith("test_"):
        return set()
    found = {str(parent / "conftest.py") for parent in path.parents} & files
    return found - {"tests/conftest.py"}


def _dangling(root: pathlib.Path, texts: dict[str, str]) -> list[str]:
    """Returns a warning for each label in BUILD files that names nothing."""
    targets, used = {}, {}
    for path, text in texts.items():
        package = "" if path == "BUILD" else _folder(path)
        targets[package], used[package] = build_syntax.labels(text, path)
    found = []
    for package, names in used.items():
        for written in names:
            label = build_syntax.full_label(written, package)
            if label.startswith(_BUILT_IN):
                continue
            other, name = label.removeprefix("//").split(":")
            known = targets.get(other, set()) | {"__pkg__", "__subpackages__"}
            here = other in targets and (root / other / name).is_file()
            if other not in targets or not (here or name in known):
                path = f"{package}/BUILD".lstrip("/")
                found.append(f"{path} names {written}, which does not exist")
    return found


def _owners(
    root: pathlib.Path, files: list[str], parsed: dict[str, build_syntax.BuildFile]
) -> tuple[dict[str, build_syntax.Target], list[str]]:
    """Returns the target of each of `files`, and warnings."""
    owners, gone, warnings = {}, {}, []
    for folder, build in parsed.items():
        for target in build.targets:
            name = f"{folder}/{target.file}"
            if name in owners:
                # As a merge leaves it.
                warnings.append(
                    f"{folder}/BUILD: only the first target of {name} stays"
                )
                continue
            if target.file == "__init__.py":  # Its folder may have been renamed.
                target = dataclasses.replace(target, name=_usual_name(name))
            (owners if name in files else gone)[name] = target
    new = sorted(set(files) - set(owners))
    moves = _moves(gone, new)
    for name in new:
        owners[name] = _new_target(root, name)
        if name in moves:
            old = gone.pop(moves[name])
            if old.name == _usual_name(moves[name]):
                old = dataclasses.replace(old, name=_usual_name(name))
            owners[name] = old
    for name, target in gone.items():
        if lost := [*target.comments, *target.attributes]:
            warnings.append(f"{name} is gone, and of its target: {'; '.join(lost)}")
    return owners, warnings


def _text(
    root: pathlib.Path,
    folder: str,
    others: tuple[str, ...],
    owners: dict[str, build_syntax.Target],
) -> str:
    """Returns the BUILD file of a folder whose kept statements are `others`."""
    here = sorted(
        (name for name in owners if _folder(name) == folder),
        key=lambda name: (not name.endswith("/__init__.py"), owners[name].name),
    )
    names = [owners[name].name for name in here]
    names += build_syntax.labels("\n".join(others), folder)[0]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"{folder}/BUILD: more than one target is called {', '.join(twice)}"
        raise build_syntax.BuildFileError(message)
    in_tests = folder.split("/")[0] == "tests"
    written = []
    for name in here:
        target, imports = owners[name], source_tree.imports(root, name)
        needed = imports.needed | _conftests(name, set(owners))
        if in_tests:
            needed |= imports.mentioned  # Tests run code that they hold as text.
        deps = [f"//{_folder(n)}:{owners[n].name}" for n in needed & set(owners)]
        testonly = in_tests and target.rule != "cl_py_test"
        written.append(
            build_syntax.target_text(target, deps, imports.packages, testonly=testonly)
        )
    rules = {owners[name].rule for name in here}
    return build_syntax.file_text(others, rules, written)


def plan(root: pathlib.Path) -> Plan:
    """Returns what changes in the BUILD files of the tree at `root`.

    Raises:
        build_syntax.BuildFileError: a BUILD file cannot be rewritten.
        SyntaxError: a source file is not Python.
    """
    present = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for folder in source_tree.FOLDERS
        for path in sorted((root / folder).rglob("BUILD"))
    }
    parsed = {
        _folder(path): build_syntax.parse(text, path) for path, text in present.items()
    }
    owners, warnings = _owners(root, source_tree.python_files(root), parsed)
    # A BUILD file without Python targets of ours is not ours to write.
    ours = {folder for folder, build in parsed.items() if build.targets}
    texts = {}
    for folder in sorted({*ours, *map(_folder, owners)}):
        others = parsed[folder].others if folder in parsed else ()
        texts[f"{folder}/BUILD"] = _text(root, folder, others, owners)
    whole = {path: text for path, text in (present | texts).items() if text}
    if (root / "BUILD").is_file():
        whole["BUILD"] = (root / "BUILD").read_text(encoding="utf-8")
    changed = {path: t for path, t in texts.items() if t != present.get(path, "")}
    return Plan(changed, warnings + _dangling(root, whole))


def difference(root: pathlib.Path, changes: Plan) -> str:
    """Returns the changes of the BUILD files as a unified diff."""
    lines = []
    for name, text in changes.texts.items():
        path = root / name
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines += difflib.unified_diff(
            old.splitlines(keepends=True), text.splitlines(keepends=True), name, name
        )
    return "".join(lines)


def write(root: pathlib.Path, changes: Plan) -> None:
    """Writes the BUILD files that change, and removes those that would be empty."""
    for name, text in changes.texts.items():
        if text:
            (root / name).write_text(text, encoding="utf-8")
        else:
            (root / name).unlink()


def main(arguments: list[str] | None = None) -> int:
    """Rewrites the BUILD files of this checkout; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="build_files", description="Writes the BUILD files from the imports."
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print what would change and exit with 1 if anything would",
    )
    check = parser.parse_args(arguments).check
    try:
        changes = plan(_ROOT)
    except build_syntax.BuildFileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except SyntaxError as error:
        print(f"error: {error.filename}:{error.lineno}: {error.msg}", file=sys.stderr)
        return 1
    for warning in changes.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if check:
        print(difference(_ROOT, changes), end="")
        return 1 if changes.texts else 0
    write(_ROOT, changes)
    for name, text in changes.texts.items():
        print(f"{'wrote' if text else 'removed'} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
