"""Generates the BUILD files from the imports of the sources (`make build-files`).

Every Python file has one target. If a file was moved (its target's file is gone, and
there is a new file of the same name), its target moves with it, including the parts
that were written by hand.
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
    """The changes to make.

    Attributes:
        texts: path -> new text of each BUILD file that changes; files with an empty
            text are deleted.
        warnings: problems that have to be fixed by hand.
    """

    texts: dict[str, str]
    warnings: list[str]


def _folder(name: str) -> str:
    return str(pathlib.PurePosixPath(name).parent)


def _usual_name(name: str) -> str:
    """Returns the default name of the target of the file `name`."""
    path = pathlib.PurePosixPath(name)
    return path.parent.name if path.name == "__init__.py" else path.stem


def _new_target(root: pathlib.Path, name: str) -> build_syntax.Target:
    """Returns a new target for a file that has none."""
    file = pathlib.PurePosixPath(name).name
    if file.startswith("test_"):
        rule = "cl_py_test"
    elif _MAIN_GUARD.search((root / name).read_text(encoding="utf-8")):
        rule = "cl_py_binary"
    else:
        rule = "cl_py_library"
    return build_syntax.Target(rule, _usual_name(name), file)


def _moves(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Returns new path -> old path of the files that were moved, judging by names.

    A file was moved if one file of its name is gone and one is new. If there are
    several, the names of their folders are compared too.
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
    """Returns the conftest.py files that pytest loads for a test file.

    tests/conftest.py is not included, since the rule adds it.
    """
    path = pathlib.PurePosixPath(name)
    if not path.name.startswith("test_"):
        return set()
    found = {str(parent / "conftest.py") for parent in path.parents} & files
    return found - {"tests/conftest.py"}


def _dangling(root: pathlib.Path, texts: dict[str, str]) -> list[str]:
    """Returns a warning for each label in BUILD files that doesn't exist."""
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
                found.append(f"{path} refers to {written}, which does not exist")
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
                # For instance after a merge.
                warnings.append(
                    f"{folder}/BUILD: {name} has several targets; kept only the first"
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
            warnings.append(
                f"{name} is gone, so this part of its target is lost: {'; '.join(lost)}"
            )
    return owners, warnings


def _text(
    root: pathlib.Path,
    folder: str,
    others: tuple[str, ...],
    owners: dict[str, build_syntax.Target],
) -> str:
    """Returns the text of a folder's BUILD file; `others` are its kept statements."""
    here = sorted(
        (name for name in owners if _folder(name) == folder),
        key=lambda name: (not name.endswith("/__init__.py"), owners[name].name),
    )
    names = [owners[name].name for name in here]
    names += build_syntax.labels("\n".join(others), folder)[0]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        message = f"{folder}/BUILD: more than one target is named {', '.join(twice)}"
        raise build_syntax.BuildFileError(message)
    in_tests = folder.split("/")[0] == "tests"
    written = []
    for name in here:
        target, imports = owners[name], source_tree.imports(root, name)
        needed = imports.needed | _conftests(name, set(owners))
        if in_tests:
            needed |= imports.mentioned  # Tests run code that is in their strings.
        deps = [f"//{_folder(n)}:{owners[n].name}" for n in needed & set(owners)]
        testonly = in_tests and target.rule != "cl_py_test"
        written.append(
            build_syntax.target_text(target, deps, imports.packages, testonly=testonly)
        )
    rules = {owners[name].rule for name in here}
    return build_syntax.file_text(others, rules, written)


def plan(root: pathlib.Path) -> Plan:
    """Returns the changes to the BUILD files of the tree at `root`.

    Raises:
        build_syntax.BuildFileError: a BUILD file cannot be rewritten.
        SyntaxError: a source file is not valid Python.
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
    # BUILD files without our Python targets are left alone.
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
    """Returns the changes to the BUILD files as a unified diff."""
    lines = []
    for name, text in changes.texts.items():
        path = root / name
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines += difflib.unified_diff(
            old.splitlines(keepends=True), text.splitlines(keepends=True), name, name
        )
    return "".join(lines)


def write(root: pathlib.Path, changes: Plan) -> None:
    """Writes the BUILD files that change, and deletes those that would be empty."""
    for name, text in changes.texts.items():
        if text:
            (root / name).write_text(text, encoding="utf-8")
        else:
            (root / name).unlink()


def main(arguments: list[str] | None = None) -> int:
    """Updates the BUILD files of this checkout; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="build_files",
        description="Generates the BUILD files from the imports of the sources.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; print the changes and exit with 1 if there are any",
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
