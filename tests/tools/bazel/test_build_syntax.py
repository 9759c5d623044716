"""Tests that parsing and writing a BUILD file keeps the parts written by hand."""

import pytest

from clinometer.tools.bazel import build_syntax

TEXT = """# About the file.

load("//:build_defs.bzl", "cl_py_library", "cl_py_test")
load("//x:y.bzl", "z")

# About the group,
# in two lines.
filegroup(
    name = "files",
    srcs = glob(["*.json"]),  # Not the rest.
)
# About a.
# pip: numpy
cl_py_library(
    name = "a",
    visibility = [
        # Said inside.
        "//tests:__pkg__",
    ],
    srcs = ["a.py"],  # Why not b.
    deps = ["//data:b"],  # pip: jax
)  # At the end.

# Alone.

SIZE = "small"
"""


def test_kept_parts():
    parsed = build_syntax.parse(TEXT, "data/BUILD")
    assert parsed.others == (
        "# About the file.",
        'load("//x:y.bzl", "z")',
        '# About the group,\n# in two lines.\nfilegroup(\n    name = "files",\n'
        '    srcs = glob(["*.json"]),  # Not the rest.\n)',
        "# Alone.",
        'SIZE = "small"',
    )
    (target,) = parsed.targets
    assert target == build_syntax.Target(
        rule="cl_py_library",
        name="a",
        file="a.py",
        comments=("# About a.", "# Why not b.", "# At the end."),
        attributes=(
            'visibility = [\n        # Said inside.\n        "//tests:__pkg__",\n    ]',
        ),
    )


def test_a_written_file_reads_as_it_was():
    parsed = build_syntax.parse(TEXT, "data/BUILD")
    target = build_syntax.target_text(
        parsed.targets[0], ["//data:b"], ["jax"], testonly=False
    )
    text = build_syntax.file_text(parsed.others, {"cl_py_library"}, [target])
    assert build_syntax.parse(text, "data/BUILD") == parsed
    for line in TEXT.splitlines():
        if "#" in line and "pip:" not in line:
            assert line[line.index("#") :] in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cl_py_library(\n", "data/BUILD:1: '\\(' was never closed"),
        ('\ncl_py_library(name = "a")', "data/BUILD:2: a target must have a name"),
        ('cl_py_test(name = "a", srcs = ["a.py", "b.py"])', "exactly one file in srcs"),
        ('cl_py_test(name = "a", srcs = glob(["*"]))', "srcs must be a literal"),
    ],
)
def test_what_cannot_be_rewritten_is_refused(text, message):
    with pytest.raises(build_syntax.BuildFileError, match=message):
        build_syntax.parse(text, "data/BUILD")


@pytest.mark.parametrize(
    ("written", "full", "short"),
    [
        ("//data", "//data:data", "//data"),
        (":a", "//models:a", "//models:a"),
        ("//data/tasks:tasks", "//data/tasks:tasks", "//data/tasks"),
    ],
)
def test_labels(written, full, short):
    assert build_syntax.full_label(written, "models") == full
    assert build_syntax.short_label(full) == short
