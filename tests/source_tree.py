"""Reads the checkout as text: its Python files, their imports, and BUILD targets."""

import ast
import dataclasses
import pathlib
import re

FOLDERS = ("kernels", "models", "data", "train", "tools", "tests")
# The import shim belongs to the root package; setup.py and Bazel's runner are run by
# their tools and imported by nobody.
NOT_OURS = ("tools/imports/clinometer/__init__.py", "tools/bazel/run_pytest.py")

_RULES = ("cl_py_library", "cl_py_binary", "cl_py_test")


@dataclasses.dataclass(frozen=True)
class Imports:
    """The files of ours that one file needs, as paths relative to the root."""

    needed: frozenset[str]  # By import statement, or a string that is a module's name.
    mentioned: frozenset[str]  # Named inside other strings, such as code to run.


@dataclasses.dataclass(frozen=True)
class Target:
    """One Python rule of a BUILD file."""

    rule: str
    label: str
    sources: tuple[str, ...]  # Relative to the root.
    deps: tuple[str, ...]  # Full labels.


def python_files(root: pathlib.Path, folders=FOLDERS) -> list[str]:
    """Returns the Python files of `folders`, relative to the root, sorted."""
    found = []
    for folder in folders:
        for path in (root / folder).rglob("*.py"):
            name = path.relative_to(root).as_posix()
            if "__pycache__" not in name and name not in NOT_OURS:
                found.append(name)
    return sorted(found)


def module_file(root: pathlib.Path, dotted: str) -> str | None:
    """Returns the file of `clinometer.x.y`, or None if there is none."""
    path = pathlib.PurePosixPath(*dotted.split(".")[1:])
    candidates = [path / "__init__.py"]
    if path.name:
        candidates.insert(0, path.with_suffix(".py"))
    for candidate in candidates:
        if (root / candidate).is_file():
            return candidate.as_posix()
    return None


def imported_file(root: pathlib.Path, package: str, name: str) -> str | None:
    """Returns the file that `from package import name` needs, or None if not ours.

    A name that the package binds itself hides a module of that name.
    """
    own = module_file(root, package)
    if own and own.endswith("/__init__.py"):
        tree = ast.parse((root / own).read_text(encoding="utf-8"), own)
        bound = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module != package
            for alias in node.names
        }
        if name in bound:
            return own
    return module_file(root, f"{package}.{name}") or own


def imports(root: pathlib.Path, name: str) -> Imports:
    """Returns what the file `name` imports, also inside functions."""
    tree = ast.parse((root / name).read_text(encoding="utf-8"), name)
    needed, mentioned = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module.split(".")[0] == "clinometer":
                for alias in node.names:
                    needed.add(imported_file(root, node.module, alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "clinometer":
                    needed.add(module_file(root, alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"clinometer(\.\w+)+", node.value):
                needed.add(module_file(root, node.value))
            else:
                for match in re.finditer(r"clinometer(?:\.\w+)+", node.value):
                    mentioned.add(module_file(root, match.group()))
                pattern = r"from (clinometer[\w.]*) import (\w+(?:, \w+)*)"
                for match in re.finditer(pattern, node.value):
                    for inner in match.group(2).split(", "):
                        mentioned.add(imported_file(root, match.group(1), inner))
    nothing = {None, "__init__.py", name}
    return Imports(frozenset(needed - nothing), frozenset(mentioned - nothing))


def full_label(label: str, package: str) -> str:
    """Returns `label` as //package:name."""
    if label.startswith(":"):
        return f"//{package}{label}"
    if ":" not in label and label.startswith("//"):
        return f"{label}:{label.rsplit('/', 1)[-1]}"
    return label


def short_label(label: str) -> str:
    """Returns //a/b:b as //a/b, the way it is written in BUILD files."""
    package, name = label.split(":")
    return package if package.rsplit("/", 1)[-1] == name else label


def targets(root: pathlib.Path) -> list[Target]:
    """Returns the Python targets of all BUILD files; BUILD is read as Python."""
    found = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("BUILD")):
            package = path.parent.relative_to(root).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
                if not isinstance(call.func, ast.Name) or call.func.id not in _RULES:
                    continue
                kwargs = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
                found.append(
                    Target(
                        rule=call.func.id,
                        label=f"//{package}:{kwargs['name']}",
                        sources=tuple(f"{package}/{s}" for s in kwargs["srcs"]),
                        deps=tuple(
                            full_label(d, package) for d in kwargs.get("deps", [])
                        ),
                    )
                )
    return found
