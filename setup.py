"""Build settings that pyproject.toml cannot express: packages and a C++ extension.

Without a C++ compiler or Python's headers, the package is built without the extension,
and its kernels run in their jnp forms. CLINOMETER_BUILD_KERNELS=1 makes that an error,
and CLINOMETER_BUILD_KERNELS=0 leaves the extension out.
"""

import os
import pathlib
import sys
import sysconfig
import tempfile

import setuptools
from setuptools.command import build_py

FOLDERS = ["kernels*", "models*", "train*", "data*", "tools*"]
CPU_KERNELS = pathlib.Path("kernels/cpu")
EXTENSION_SOURCES = sorted(str(path) for path in CPU_KERNELS.glob("*.cc"))
EXTENSION_HEADERS = sorted(str(path) for path in CPU_KERNELS.glob("*.h"))
SWITCH = "CLINOMETER_BUILD_KERNELS"


class BuildPy(build_py.build_py):
    """Keeps setup.py out of the package, since the root folder is `clinometer`."""

    def find_package_modules(self, package, package_dir):
        """Returns the package's modules; only `__init__.py` for the root package."""
        modules = super().find_package_modules(package, package_dir)
        return [m for m in modules if package != "clinometer" or m[1] == "__init__"]


def extension() -> setuptools.Extension:
    """Returns the C++ kernels, compiled against this environment's jaxlib."""
    import jaxlib
    from pybind11 import setup_helpers

    # One compiler process per core, unless the environment variable is set.
    setup_helpers.ParallelCompile("CLINOMETER_BUILD_JOBS").install()
    return setup_helpers.Pybind11Extension(
        "clinometer.kernels.cpu._native",
        EXTENSION_SOURCES,
        depends=EXTENSION_HEADERS,
        include_dirs=["."],
        # As system headers, so that warnings in XLA's headers are not shown.
        extra_compile_args=[
            "-O3",
            "-isystem",
            os.path.join(os.path.dirname(jaxlib.__file__), "include"),
        ],
        cxx_std=17,
    )


def why_nothing_compiles() -> str | None:
    """Returns why no extension can be compiled here, or None if one can."""
    from setuptools._distutils import ccompiler
    from setuptools._distutils import errors
    from setuptools._distutils import sysconfig as compiler_config

    compiler = ccompiler.new_compiler()
    compiler_config.customize_compiler(compiler)
    compiler.add_include_dir(sysconfig.get_path("include"))
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "trial.cc")
        source.write_text("#include <Python.h>\n#include <vector>\n")
        try:
            compiler.compile([str(source)], output_dir=folder)
        except (errors.CompileError, errors.DistutilsError) as error:
            return str(error)
    return None


def extensions() -> list[setuptools.Extension]:
    """Returns the C++ kernels; nothing where they cannot or must not be compiled."""
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", "0", "1"):
        sys.exit(f"{SWITCH}: got {wanted!r}, accepted: 0, 1 or nothing")
    if wanted == "0":
        return []
    reason = None if wanted == "1" else why_nothing_compiles()
    if reason is not None:
        print(
            f"WARNING: built without the C++ kernels, as nothing compiles: {reason}; "
            f"install g++ and Python's headers, or set {SWITCH}=1 for an error",
            file=sys.stderr,
        )
        return []
    return [extension()]


PACKAGES = setuptools.find_packages(".", include=FOLDERS, exclude=["tools.imports*"])
setuptools.setup(
    package_dir={"clinometer": "."},
    packages=["clinometer"] + ["clinometer." + package for package in PACKAGES],
    package_data={
        "": ["py.typed", "*.json", "*.csv"],
        "clinometer.tools.report": [
            "templates/*.html",
            "templates/*/*.html",
            "static/*",
        ],
    },
    cmdclass={"build_py": BuildPy},
    ext_modules=extensions(),
)
