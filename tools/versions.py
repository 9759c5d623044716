"""Prints the versions of Clinometer and of the packages it runs on."""

import argparse
import importlib.metadata
import platform

import clinometer

PACKAGES = (
    "jax",
    "jaxlib",
    "dm-haiku",
    "numpy",
    "optax",
    "orbax-checkpoint",
    "grain",
    "array-record",
    "sentencepiece",
    "ml-collections",
    "scipy",
    "altair",
    "libtpu",
)


def versions() -> dict[str, str | None]:
    """Returns the version of each package, or None if it is not installed."""
    found = {"clinometer": clinometer.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def main(argv: list[str]) -> int:
    """Prints one line per package; returns 0."""
    parser = argparse.ArgumentParser(
        prog="clinometer version",
        description="Prints the versions of Clinometer and of the packages it runs on.",
    )
    parser.parse_args(argv)
    for name, version in versions().items():
        print(f"{name:<18} {version or 'not installed'}")
    return 0
