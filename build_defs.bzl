"""The rules of all BUILD files: Python libraries, programs and pytest tests.

They add `//:clinometer`, the import root, to every target, so that
`from clinometer.data import token_store` means the same file under Bazel, pip and
a plain checkout. Third-party packages come from the interpreter's environment and
are named in a comment (`# pip: numpy`).
"""

_ROOT = "//:clinometer"

def _with_root(deps):
    return deps if _ROOT in deps else deps + [_ROOT]

def cl_py_library(name, srcs, deps = [], data = [], visibility = None, **kwargs):
    """A py_library; `deps` are our own targets, as full labels."""
    native.py_library(
        name = name,
        srcs = srcs,
        data = data,
        deps = _with_root(deps),
        srcs_version = "PY3",
        visibility = visibility or ["//visibility:public"],
        **kwargs
    )

def cl_py_binary(name, srcs, deps = [], data = [], visibility = None, **kwargs):
    """A py_binary; other targets may also import its source as a library."""
    native.py_binary(
        name = name,
        srcs = srcs,
        data = data,
        deps = _with_root(deps),
        python_version = "PY3",
        srcs_version = "PY3",
        visibility = visibility or ["//visibility:public"],
        **kwargs
    )

def cl_py_test(name, srcs, deps = [], data = [], size = "medium", **kwargs):
    """A pytest file as a Bazel test, without its slow and matrix cases.

    Args:
      name: the file's name without `.py`.
      srcs: the one test file.
      deps: what it imports, as full labels.
      data: files it reads at run time.
      size: Bazel's test size.
      **kwargs: passed to py_test.
    """
    if len(srcs) != 1:
        fail("cl_py_test %s: give exactly one file in srcs" % name)
    native.py_test(
        name = name,
        srcs = srcs + ["//tools/bazel:run_pytest.py"],
        main = "//tools/bazel:run_pytest.py",
        args = ["$(location %s)" % srcs[0]],
        data = data + ["//:pyproject.toml"],
        deps = _with_root(deps) + ["//tests:conftest"],
        python_version = "PY3",
        srcs_version = "PY3",
        size = size,
        **kwargs
    )
