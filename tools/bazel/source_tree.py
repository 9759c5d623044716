"""Finds the Python files of the checkout and parses their imports."""

import ast
import dataclasses
import functools
import pathlib
import re
import sys

FOLDERS = ("kernels", "models", "data", "train", "tools", "tests")
# The import shim belongs to the root package; Bazel's runner is never imported.
NOT_OURS = ("tools/imports/clinometer/__init__.py", "tools/bazel/run_pytest.py")
# Records of studies, among them copies of their claims.
_RECORDS = "tools/study/results/"
# Module -> name on the package index, if they differ.
_PACKAGES = {
    "haiku": "dm-haiku",
    "orbax": "orbax-checkpoint",
    "rouge_score": "rouge-score",
    "sklearn": "scikit-learn",
}


@dataclasses.dataclass(frozen=True)
class Imports:
    """The imports of a file.

    Attributes:
        needed: our files, relative to the root, that it imports or whose module name is
            one of its strings.
        mentioned: our files that are imported inside its strings, such as code to run.
        packages: third-party packages, by their names on the package index.
    """

    needed: frozenset[str]
    mentioned: frozenset[str]
    packages: frozenset[str]


def python_files(root: pathlib.Path, folders=FOLDERS) -> list[str]:
    """Returns the Python files of `folders`, relative to the root, sorted."""
    found = []
    for folder in folders:
        for path in (root / folder).rglob("*.py"):
            name = path.relative_to(root).as_posix()
            ours = name not in NOT_OURS and not name.startswith(_RECORDS)
            if ours and "__pycache__" not in name:
                found.append(name)
    return sorted(found)


def module_file(root: pathlib.Path, dotted: str) -> str | None:
    """Returns the file of the module `clinometer.x.y`, or None if there is none."""
    path = pathlib.PurePosixPath(*dotted.split(".")[1:])
    candidates = [path / "__init__.py"]
    if path.name:
        candidates.insert(0, path.with_suffix(".py"))
    for candidate in candidates:
        if (root / candidate).is_file():
            return candidate.as_posix()
    return None


@functools.cache
def _bound(text: str, package: str) -> frozenset[str]:
    """Returns the names that an `__init__.py` imports from other modules."""
    return frozenset(
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text, package))
        if isinstance(node, ast.ImportFrom) and node.module != package
        for alias in node.names
    )


def imported_file(root: pathlib.Path, package: str, name: str) -> str | None:
    """Returns the file that `from package import name` needs, or None if not ours.

    If the package's `__init__.py` imports the name, that hides a module of that name.

    Args:
        root: the checkout's root.
        package: dotted name of the package.
        name: the imported name.
    """
    own = module_file(root, package)
    is_package = own is not None and own.endswith("/__init__.py")
    if is_package and name in _bound((root / own).read_text("utf-8"), package):
        return own
    return module_file(root, f"{package}.{name}") or own


def _mentions(root: pathlib.Path, text: str) -> set[str | None]:
    """Returns the files that code inside the string `text` imports."""
    pattern = r"from (clinometer[\w.]*) import (\w+(?:, \w+)*)"
    found = {
        imported_file(root, package, name)
        for package, names in re.findall(pattern, text)
        for name in names.split(", ")
    }
    rest = re.sub(pattern, "", text)
    found |= {module_file(root, m) for m in re.findall(r"clinometer(?:\.\w+)+", rest)}
    return found


def _package_code(root: pathlib.Path, name: str) -> str | None:
    """Returns the `__init__.py` beside a file, if it does more than re-export ours."""
    file = (pathlib.PurePosixPath(name).parent / "__init__.py").as_posix()
    if not (root / file).is_file():
        return None
    text = (root / file).read_text("utf-8")
    code = [node for node in ast.parse(text).body if not isinstance(node, ast.Expr)]
    return file if code and "from clinometer" not in text else None


def imports(root: pathlib.Path, name: str) -> Imports:
    """Returns the imports of the file `name`, including those inside functions.

    Importing a file runs the `__init__.py` of its package, which is needed too if it
    has code of its own. One that imports our files is left out: they would need it and
    it them.
    """
    tree = ast.parse((root / name).read_text(encoding="utf-8"), name)
    needed, mentioned, modules = {_package_code(root, name)}, set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module.split(".")[0])
            if node.module.split(".")[0] == "clinometer":
                for alias in node.names:
                    needed.add(imported_file(root, node.module, alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                modules.add(alias.name.split(".")[0])
                if alias.name.split(".")[0] == "clinometer":
                    needed.add(module_file(root, alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"clinometer(\.\w+)+", node.value):
                needed.add(module_file(root, node.value))
            else:
                mentioned |= _mentions(root, node.value)
    nothing = {None, "__init__.py", name}
    third_party = modules - sys.stdlib_module_names - {"clinometer"}
    return Imports(
        needed=frozenset(needed - nothing),
        mentioned=frozenset(mentioned - nothing),
        packages=frozenset(_PACKAGES.get(m, m) for m in third_party),
    )
