"""Loads the C++ extension and calls its handlers from JAX.

Importing this module registers every handler with XLA once. If the extension was not
built, or was built against another version of XLA's FFI than that of the jaxlib in use,
the import raises an ImportError that says what to do.
"""

from collections.abc import Sequence
import pathlib
import re

import jax
import numpy as np

_BUILD_HINT = (
    "build it with `make setup` or `bazel build //kernels/cpu:native` in the checkout, "
    "or install g++ and Python's headers and then `pip install --force-reinstall "
    "--no-deps --no-cache-dir SOURCE`, where SOURCE is the checkout or the .tar.gz"
)
_BUILD_AGAIN_HINT = (
    "rebuild it for the installed jaxlib: `pip install setuptools "
    "pybind11`, then `pip install --force-reinstall --no-deps --no-build-isolation "
    "SOURCE`, where SOURCE is the checkout or the .tar.gz"
)

try:
    from clinometer.kernels.cpu import _native
except ImportError as error:
    raise ImportError(
        f"clinometer's C++ extension kernels/cpu/_native could not be loaded "
        f"({error}); {_BUILD_HINT}"
    ) from error


def header_api_version(include_dir: str) -> tuple[int, int]:
    """Returns (major, minor) of the XLA FFI headers under `include_dir`.

    Raises:
        ImportError: if the header is missing or has no version.
    """
    header = pathlib.Path(include_dir) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text(encoding="utf-8")
    except OSError as error:
        raise ImportError(f"cannot read XLA's FFI header {header}: {error}") from error
    parts = [
        re.search(rf"^#define XLA_FFI_API_{part}\s+(\d+)", text, re.MULTILINE)
        for part in ("MAJOR", "MINOR")
    ]
    if None in parts:
        raise ImportError(f"{header} does not define XLA_FFI_API_MAJOR and _MINOR")
    major, minor = (int(part.group(1)) for part in parts)
    return major, minor


def check_api_version(built: tuple[int, int], running: tuple[int, int]) -> None:
    """Raises ImportError unless the extension was built for the running jaxlib.

    Args:
        built: (major, minor) of XLA's FFI that the extension was built for.
        running: (major, minor) of the installed jaxlib.
    """
    if built != running:
        raise ImportError(
            f"clinometer's C++ extension was built for version {built[0]}.{built[1]} "
            f"of XLA's FFI, but the installed jaxlib {jax.lib.__version__} has "
            f"{running[0]}.{running[1]}; {_BUILD_AGAIN_HINT}"
        )


check_api_version(
    tuple(_native.FFI_API_VERSION), header_api_version(jax.ffi.include_dir())
)
if _native.isa_request_error():
    raise ImportError(_native.isa_request_error())
for _name, _handler in _native.handlers().items():
    jax.ffi.register_ffi_target(f"clinometer_{_name}", _handler, platform="cpu")


def active_isa() -> str:
    """Returns the instruction set of the kernels.

    One of "baseline", "avx2", "avx512", "avx512_bf16" and "amx": the fastest that the
    processor supports, unless CLINOMETER_CPU_ISA is set.
    """
    return _native.active_isa()


def multiplies_bfloat16() -> bool:
    """Returns whether that instruction set multiplies bfloat16 numbers."""
    return _native.multiplies_bfloat16()


def call(
    name: str,
    results: Sequence[jax.ShapeDtypeStruct],
    *operands: jax.Array,
    **attributes: bool | int | float,
) -> tuple[jax.Array, ...]:
    """Calls a handler of the extension.

    Args:
        name: its name in the extension, e.g. "relative_attention_forward".
        results: the shapes and dtypes of the results.
        *operands: the operands of the handler.
        **attributes: its attributes; an int is passed as 64 bits, a float as 32.
    """
    convert = {bool: bool, int: np.int64, float: np.float32}
    return tuple(
        jax.ffi.ffi_call(f"clinometer_{name}", tuple(results))(
            *operands, **{key: convert[type(x)](x) for key, x in attributes.items()}
        )
    )
