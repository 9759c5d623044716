"""A repository rule for the Python interpreter: headers, package headers, toolchain.

The interpreter is that of CLINOMETER_PYTHON, which tools/bazel/setup.sh sets to the
checkout's .venv, or else the first python3 on PATH.
"""

_QUESTION = """
import os, sysconfig
import jaxlib, pybind11
print(pybind11.get_include())
print(os.path.join(os.path.dirname(jaxlib.__file__), "include"))
print(sysconfig.get_path("include"))
"""

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

cc_library(
    name = "python",
    hdrs = glob(["python/**/*.h"]),
    includes = ["python"],
)

cc_library(
    name = "pybind11",
    hdrs = glob(["pybind11/**/*.h"]),
    includes = ["pybind11"],
    deps = [":python"],
)

cc_library(
    name = "xla_ffi",
    hdrs = glob(["xla_ffi/xla/ffi/api/*.h"]),
    includes = ["xla_ffi"],
)

py_runtime(
    name = "runtime",
    interpreter_path = "{python}",
    python_version = "PY3",
    # Bazel's default needs a command `python`, which Debian doesn't have.
    stub_shebang = "#!{python}",
)

py_runtime_pair(
    name = "runtimes",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtimes",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _interpreter_impl(repository_ctx):
    python = repository_ctx.os.environ.get("CLINOMETER_PYTHON")
    if not python:
        python = repository_ctx.which("python3")
    if not python:
        fail("no python3 on PATH; run `make setup`, then tools/bazel/setup.sh")
    result = repository_ctx.execute([python, "-c", _QUESTION])
    if result.return_code != 0:
        fail(("%s lacks what the C++ kernels need (pybind11, jaxlib); run " % python) +
             "`make setup`, then tools/bazel/setup.sh. Its error was:\n" + result.stderr)
    pybind11, xla_ffi, headers = result.stdout.strip().split("\n")
    repository_ctx.symlink(pybind11, "pybind11")
    repository_ctx.symlink(xla_ffi, "xla_ffi")
    repository_ctx.symlink(headers, "python")
    repository_ctx.file("BUILD", _BUILD.replace("{python}", str(python)))

# local: evaluated again whenever the Bazel server starts.
interpreter = repository_rule(
    implementation = _interpreter_impl,
    environ = [
        "CLINOMETER_PYTHON",
        "PATH",
    ],
    local = True,
)
