"""Build settings that pyproject.toml cannot express: packages and a C++ extension."""

import os
import pathlib

import setuptools
from setuptools.command import build_py

FOLDERS = ["kernels*", "models*", "train*", "data*", "tools*"]
CPU_KERNELS = pathlib.Path("kernels/cpu")
EXTENSION_SOURCES = sorted(str(path) for path in CPU_KERNELS.glob("*.cc"))
EXTENSION_HEADERS = sorted(str(path) for path in CPU_KERNELS.glob("*.h"))


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
    ext_modules=[extension()],
)
