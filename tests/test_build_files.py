"""Every Python file has one BUILD target, whose deps equal the file's imports."""

import pathlib

import pytest

from clinometer.tests import source_tree


def usual_label(name: str) -> str:
    """Returns the label that the file `name` has or should have."""
    path = pathlib.PurePosixPath(name)
    target = path.parent.name if path.name == "__init__.py" else path.stem
    return f"//{path.parent}:{target}"


def suggestion(name: str, deps: list[str]) -> str:
    """Returns the target to write for the file `name`."""
    path = pathlib.PurePosixPath(name)
    rule = "cl_py_test" if path.name.startswith("test_") else "cl_py_library"
    target = usual_label(name).split(":")[1]
    lines = [f'{rule}(\n    name = "{target}",\n    srcs = ["{path.name}"],']
    if len(deps) == 1:
        lines.append(f'    deps = ["{deps[0]}"],')
    elif deps:
        lines += ["    deps = [", *(f'        "{d}",' for d in deps), "    ],"]
    return "\n".join(lines) + "\n)"


def problems(root: pathlib.Path) -> list[str]:
    """Returns what is wrong with the BUILD files, each with what to write."""
    targets = source_tree.targets(root)
    files = source_tree.python_files(root)
    owners = {source: t for t in targets for source in t.sources}
    found = []
    for folder in sorted({str(pathlib.PurePosixPath(name).parent) for name in files}):
        if not (root / folder / "BUILD").is_file():
            found.append(f"{folder}/BUILD is missing")
    for target in targets:
        if len(set(target.deps)) < len(target.deps):
            found.append(f"{target.label}: names one of its deps twice")
        if len(target.sources) != 1:
            found.append(f"{target.label}: one target has one file in srcs")
        for source in target.sources:
            if source not in files:
                found.append(f"{target.label}: there is no file {source}")
    labels = {name: usual_label(name) for name in files}
    labels.update({source: target.label for source, target in owners.items()})
    for name in files:
        imports = source_tree.imports(root, name)
        # pytest loads the conftest.py of a test's folder, which no import shows. The
        # one of tests/ comes with the macro.
        conftest = str(pathlib.PurePosixPath(name).with_name("conftest.py"))
        is_test = pathlib.PurePosixPath(name).name.startswith("test_")
        extra = {conftest} & set(files) if is_test else set()
        extra.discard("tests/conftest.py")
        needed = {labels[n] for n in imports.needed | extra}
        allowed = needed | {labels[n] for n in imports.mentioned}
        wanted = sorted(source_tree.short_label(label) for label in needed)
        if name not in owners:
            folder = pathlib.PurePosixPath(name).parent
            found.append(f"{folder}/BUILD, add:\n{suggestion(name, wanted)}")
            continue
        deps = set(owners[name].deps)
        if missing := sorted(map(source_tree.short_label, needed - deps)):
            found.append(f"{owners[name].label}: add to deps {missing}")
        if unused := sorted(map(source_tree.short_label, deps - allowed)):
            found.append(f"{owners[name].label}: remove from deps {unused}")
    return found


def test_targets_and_imports_agree(repo_root):
    found = problems(repo_root)
    if found:
        pytest.fail("\n\n".join(found), pytrace=False)


@pytest.fixture
def small_tree(tmp_path):
    """A tree of two files that is right."""
    for folder in source_tree.FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "data/__init__.py").write_text("")
    (tmp_path / "data/a.py").write_text("import os\n")
    (tmp_path / "data/b.py").write_text("from clinometer.data import a\n")
    (tmp_path / "data/BUILD").write_text(
        'cl_py_library(name = "data", srcs = ["__init__.py"])\n'
        'cl_py_library(name = "a", srcs = ["a.py"])\n'
        'cl_py_library(name = "b", srcs = ["b.py"], deps = ["//data:a"])\n'
    )
    return tmp_path


def test_a_right_tree_passes(small_tree):
    assert problems(small_tree) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("data/BUILD", ', deps = ["//data:a"]', "", "//data:b: add to deps"),
        ("data/b.py", "import a", "import *", "//data:b: add to deps ['//data']"),
        ("data/b.py", "from", "# from", "//data:b: remove from deps ['//data:a']"),
        ("data/b.py", "from clinometer.data import a", "'clinometer.data.a'", None),
        ("data/BUILD", 'srcs = ["a.py"]', 'srcs = ["c.py"]', "add:\ncl_py_library("),
    ],
)
def test_a_change_is_seen(small_tree, path, old, new, message):
    file = small_tree / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    found = problems(small_tree)
    if message is None:
        assert found == []
    else:
        assert any(message in problem for problem in found)


def test_a_conftest_is_needed_by_the_tests_of_its_folder(small_tree):
    folder = small_tree / "tests/data"
    folder.mkdir()
    (folder / "conftest.py").write_text("")
    (folder / "test_a.py").write_text("")
    build = 'cl_py_library(name = "conftest", srcs = ["conftest.py"])\n'
    build += 'cl_py_test(name = "test_a", srcs = ["test_a.py"], deps = [%s])\n'
    (folder / "BUILD").write_text(build % '"//tests/data:conftest"')
    assert problems(small_tree) == []
    (folder / "BUILD").write_text(build % "")
    assert any("//tests/data:test_a: add to deps" in p for p in problems(small_tree))


def test_a_name_that_a_package_binds_hides_its_module(small_tree):
    (small_tree / "data/c.py").write_text("from clinometer.data import b\n")
    assert any('deps = ["//data:b"]' in problem for problem in problems(small_tree))
    (small_tree / "data/__init__.py").write_text("from clinometer.data.a import b\n")
    assert any('deps = ["//data"]' in problem for problem in problems(small_tree))


def test_a_folder_without_build_is_seen(small_tree):
    (small_tree / "data/BUILD").unlink()
    assert "data/BUILD is missing" in problems(small_tree)
