"""Tests the generation of BUILD files for a small source tree."""

import ast
import shutil

import pytest

from clinometer.tools.bazel import build_files
from clinometer.tools.bazel import build_syntax
from clinometer.tools.bazel import source_tree

DATA = """load("//:build_defs.bzl", "cl_py_library")

cl_py_library(
    name = "data",
    srcs = ["__init__.py"],
)

cl_py_library(
    name = "a",
    srcs = ["a.py"],
)

cl_py_library(
    name = "b",
    srcs = ["b.py"],
    deps = ["//data:a"],
)
"""
TEST_A = """load("//:build_defs.bzl", "cl_py_test")

# Reads the clock.
# pip: numpy
cl_py_test(
    name = "test_a",
    srcs = ["test_a.py"],
    size = "small",
    data = [
        "//data:b",  # A file that it opens.
    ],
    deps = ["//data:a"],
)
"""


@pytest.fixture
def tree(tmp_path):
    """Returns a tree of three files with correct BUILD files."""
    for folder in source_tree.FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "BUILD").write_text("")
    (tmp_path / "build_defs.bzl").write_text("")
    (tmp_path / "data/__init__.py").write_text("")
    (tmp_path / "data/a.py").write_text("import os\n")
    (tmp_path / "data/b.py").write_text("from clinometer.data import a\n")
    (tmp_path / "data/BUILD").write_text(DATA)
    (tmp_path / "tests/data").mkdir()
    test = "import numpy\nfrom clinometer.data import a\n"
    (tmp_path / "tests/data/test_a.py").write_text(test)
    (tmp_path / "tests/data/BUILD").write_text(TEST_A)
    return tmp_path


def update(tree):
    """Writes the BUILD files; returns the warnings."""
    changes = build_files.plan(tree)
    build_files.write(tree, changes)
    assert build_files.plan(tree).texts == {}  # Once is enough.
    return changes.warnings


def deps(tree, label):
    """Returns the deps of a target."""
    folder, name = label.removeprefix("//").split(":")
    for node in ast.walk(ast.parse((tree / folder / "BUILD").read_text())):
        if isinstance(node, ast.Call):
            found = {k.arg: k.value for k in node.keywords}
            if "name" in found and ast.literal_eval(found["name"]) == name:
                return ast.literal_eval(found["deps"]) if "deps" in found else []
    raise AssertionError(f"no {label}")


def test_a_right_tree_stays(tree):
    assert build_files.plan(tree) == build_files.Plan({}, [])


IMPORT = "from clinometer.data import a"
AS_TEXT = f"x = 'import os; {IMPORT}'"


@pytest.mark.parametrize(
    ("path", "old", "new", "label", "expected"),
    [
        ("data/BUILD", '    deps = ["//data:a"],\n', "", "//data:b", ["//data:a"]),
        ("data/BUILD", '"//data:a"', '"//data"', "//data:b", ["//data:a"]),
        ("data/BUILD", 'srcs = ["a.py"]', 'srcs = ["c.py"]', "//data:a", []),
        ("data/b.py", "import a", "import *", "//data:b", ["//data"]),
        ("data/b.py", "from", "# from", "//data:b", []),
        ("data/b.py", IMPORT, "'clinometer.data.a'", "//data:b", ["//data:a"]),
        # Code in strings, which only tests run.
        ("data/b.py", IMPORT, AS_TEXT, "//data:b", []),
        ("tests/data/test_a.py", IMPORT, AS_TEXT, "//tests/data:test_a", ["//data:a"]),
    ],
)
def test_deps_follow_the_imports(tree, path, old, new, label, expected):
    file = tree / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert update(tree) == []
    assert deps(tree, label) == expected


def test_the_tests_of_a_folder_need_its_conftest_and_those_above(tree):
    (tree / "tests/data/conftest.py").write_text("")
    (tree / "tests/conftest.py").write_text("")  # Comes with the rule.
    (tree / "tests/data/tasks").mkdir()
    (tree / "tests/data/tasks/test_b.py").write_text("")
    assert update(tree) == []
    assert "//tests/data:conftest" in deps(tree, "//tests/data:test_a")
    assert deps(tree, "//tests/data/tasks:test_b") == ["//tests/data:conftest"]


def test_a_name_that_a_package_binds_hides_its_module(tree):
    (tree / "data/c.py").write_text("from clinometer.data import b\n")
    assert update(tree) == []
    assert deps(tree, "//data:c") == ["//data:b"]
    (tree / "data/__init__.py").write_text("from clinometer.data.a import b\n")
    assert update(tree) == []
    assert deps(tree, "//data:c") == ["//data"]


def test_a_package_with_code_of_its_own_is_needed_by_its_files(tree):
    (tree / "data/__init__.py").write_text("import os\n\nos.umask(0)\n")
    assert update(tree) == []
    assert deps(tree, "//data:a") == ["//data"]
    assert deps(tree, "//data:b") == ["//data", "//data:a"]


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("data/tasks/c.py", "import grain, haiku\n", "# pip: dm-haiku, grain\ncl_py_l"),
        ("tools/run.py", 'if __name__ == "__main__":\n    pass\n', "cl_py_binary(\n"),
        ("tests/test_c.py", "", 'cl_py_test(\n    name = "test_c",\n    srcs'),
        ("tests/helper.py", "", 'name = "helper",\n    testonly = True,\n    srcs'),
    ],
)
def test_a_new_file_gets_a_target(tree, path, source, expected):
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text(source)
    assert update(tree) == []
    text = (tree / path).with_name("BUILD").read_text()
    assert expected in text
    assert text.startswith('load("//:build_defs.bzl", "cl_py_')


def test_a_folder_without_build_gets_one(tree):
    (tree / "data/BUILD").unlink()
    assert update(tree) == []
    assert (tree / "data/BUILD").read_text() == DATA


def test_a_vanished_file_takes_its_target_along(tree):
    (tree / "tests/data/test_a.py").unlink()
    (tree / "data/a.py").unlink()
    (warning,) = update(tree)
    assert 'size = "small"' in warning
    assert "tests/data/test_a.py is gone" in warning
    assert not (tree / "tests/data/BUILD").exists()  # Nothing else was in it.
    assert '"a"' not in (tree / "data/BUILD").read_text()


@pytest.mark.parametrize("with_build", [False, True])
def test_a_moved_file_keeps_what_is_written_by_hand(tree, with_build):
    if with_build:  # As `git mv tests/data tests/tools`.
        shutil.move(tree / "tests/data", tree / "tests/tools")
    else:
        (tree / "tests/tools").mkdir()
        shutil.move(tree / "tests/data/test_a.py", tree / "tests/tools")
    shutil.move(tree / "data/a.py", tree / "models/a.py")
    test = tree / "tests/tools/test_a.py"
    test.write_text(test.read_text().replace("clinometer.data", "clinometer.models"))
    assert update(tree) == []
    expected = TEST_A.replace('deps = ["//data:a"]', 'deps = ["//models:a"]')
    assert (tree / "tests/tools/BUILD").read_text() == expected
    assert not (tree / "tests/data/BUILD").exists()


def test_a_renamed_folder_renames_the_target_of_its_package(tree):
    shutil.rmtree(tree / "tests/data")
    shutil.move(tree / "data", tree / "tools/corpus")
    (tree / "tools/corpus/b.py").write_text("from clinometer.tools.corpus import *\n")
    (tree / "data").mkdir()
    assert update(tree) == []
    assert 'name = "corpus"' in (tree / "tools/corpus/BUILD").read_text()
    assert deps(tree, "//tools/corpus:b") == ["//tools/corpus"]


def test_moved_files_of_one_name_are_told_apart_by_their_folders(tree):
    program = 'cl_py_{rule}(\n    name = "main",\n    srcs = ["main.py"],\n)\n'
    for folder, rule in (("x", "library"), ("y", "binary")):
        (tree / "data" / folder).mkdir()
        (tree / "data" / folder / "main.py").write_text("")
        (tree / "data" / folder / "BUILD").write_text(program.format(rule=rule))
        (tree / "tools" / folder).mkdir()
    update(tree)
    for folder in "xy":
        shutil.move(tree / "data" / folder / "main.py", tree / "tools" / folder)
    assert update(tree) == []
    assert "cl_py_library(" in (tree / "tools/x/BUILD").read_text()
    assert "cl_py_binary(" in (tree / "tools/y/BUILD").read_text()


def test_a_name_given_by_hand_stays(tree):
    text = DATA.replace('name = "a"', 'name = "alpha"')
    (tree / "data/BUILD").write_text(text)
    assert update(tree) == []
    assert deps(tree, "//data:b") == ["//data:alpha"]
    shutil.move(tree / "data/a.py", tree / "tools/a.py")
    (tree / "data/b.py").write_text("from clinometer.tools import a\n")
    (tree / "tests/data/test_a.py").write_text("")
    assert update(tree) == []
    assert deps(tree, "//data:b") == ["//tools:alpha"]


@pytest.mark.parametrize("label", ["//data:c", "//data/c", ":test_c", "//data:c.txt"])
def test_a_label_of_nothing_is_told(tree, label):
    suite = f'test_suite(\n    name = "all",\n    tests = ["//data:a", "{label}"],\n)\n'
    (tree / "tests/BUILD").write_text(suite)
    assert update(tree) == [f"tests/BUILD refers to {label}, which does not exist"]
    assert (tree / "tests/BUILD").read_text() == suite


def test_two_targets_of_one_name_are_refused(tree):
    (tree / "data/data.py").write_text("")
    message = "data/BUILD: more than one target is named data"
    with pytest.raises(build_syntax.BuildFileError, match=message):
        build_files.plan(tree)


def test_what_a_merge_wrote_twice_is_written_once(tree):
    (tree / "data/BUILD").write_text(DATA + "\n" + DATA.partition("\n\n")[2])
    assert len(update(tree)) == 3
    assert (tree / "data/BUILD").read_text() == DATA


def test_check_writes_nothing(tree, monkeypatch, capsys):
    monkeypatch.setattr(build_files, "_ROOT", tree)
    assert build_files.main(["--check"]) == 0
    wrong = DATA.replace('deps = ["//data:a"]', 'deps = ["//data:b"]')
    (tree / "data/BUILD").write_text(wrong)
    assert build_files.main(["--check"]) == 1
    diff = capsys.readouterr().out
    assert '-    deps = ["//data:b"],\n+    deps = ["//data:a"],\n' in diff
    assert (tree / "data/BUILD").read_text() == wrong
    assert build_files.main([]) == 0
    assert (tree / "data/BUILD").read_text() == DATA
    (tree / "data/BUILD").write_text("<<<<<<< HEAD\n")
    assert build_files.main([]) == 1
    assert "error: data/BUILD:1: invalid syntax" in capsys.readouterr().err
