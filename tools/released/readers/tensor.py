"""A tensor of a released file, whose values are read when they are needed."""

from collections.abc import Callable
import dataclasses

import ml_dtypes
import numpy as np

# Names of dtypes that are read; all values become float32, which holds them exactly.
DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        shape: its shape.
        dtype: name of its dtype, one of `DTYPES`.
        read: reads its values, in its dtype; each call reads them again.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @property
    def transposed(self) -> "Tensor":
        """The tensor with its axes in reverse order."""
        return Tensor(self.shape[::-1], self.dtype, lambda: self.read().T)
