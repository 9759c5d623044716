"""Reads the `pytorch_model.bin` of a released model with PyTorch's weights-only loader.

Such a file is a pickle, which can run any code when it is loaded. Only PyTorch's loader
with `weights_only=True` opens it here, which builds nothing but tensors and refuses the
rest; this module does not import Python's own loader of pickles.
"""

import functools
import importlib
import pathlib
from typing import Any
import zipfile

import numpy as np

from clinometer.tools.released import errors
from clinometer.tools.released.readers import tensor

EXTRA = "torch"  # The extra of pyproject.toml.


def read(path: pathlib.Path) -> dict[str, tensor.Tensor]:
    """Returns the tensors of a file by name.

    Raises:
        ReleaseError: PyTorch is not installed, the file holds anything but tensors, or
            it is damaged.
    """
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise errors.ReleaseError(
            f"{path}: a .bin file is a pickle, which only PyTorch's weights-only "
            f"loader opens here: pip install 'clinometer[{EXTRA}]', or use the model's "
            "safetensors or flax_model.msgpack"
        ) from error
    try:
        # Files from before PyTorch 1.6 are no archives and are read whole.
        state = torch.load(
            path,
            map_location="cpu",
            weights_only=True,
            mmap=zipfile.is_zipfile(path),
        )
    except Exception as error:  # Of many types, and some from Python's pickle.
        reason = str(error).strip().partition("\n")[0][:300]
        raise errors.ReleaseError(
            f"{path}: refused by PyTorch's weights-only loader, so that nothing in it "
            f"was run: {reason}"
        ) from error
    if not isinstance(state, dict):
        raise errors.ReleaseError(
            f"{path}: holds a {type(state).__name__}; accepted: a dictionary of tensors"
        )
    problems, tensors = [], {}
    for name, value in state.items():
        dtype = str(getattr(value, "dtype", type(value).__name__))
        dtype = dtype.removeprefix("torch.")
        if dtype not in tensor.DTYPES:
            accepted = ", ".join(tensor.DTYPES)
            problems.append(f"tensor {name!r}: {dtype}; accepted: {accepted}")
            continue
        values = functools.partial(_values, value, dtype)
        tensors[str(name)] = tensor.Tensor(tuple(value.shape), dtype, values)
    if problems:
        raise errors.of_problems(f"{path}: cannot be read", problems)
    return tensors


def _values(value: Any, dtype: str) -> np.ndarray:
    if dtype != "bfloat16":  # Which NumPy does not have.
        return value.numpy()
    torch = importlib.import_module("torch")
    return value.view(torch.uint16).numpy().view(tensor.DTYPES[dtype])
