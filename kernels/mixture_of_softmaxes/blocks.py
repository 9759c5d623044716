"""Block sizes of the Pallas kernels of the Mixture of Softmaxes."""

import dataclasses
from typing import Any

from clinometer.kernels.tpu import chips
from clinometer.kernels.tpu import lanes
from clinometer.kernels.tpu import wrap

_ROWS = 16  # Of a bfloat16 register; blocks of tokens are multiples.
_MOST_TOKENS = 64
_MOST_COLUMNS = (2048, 1024, 512)  # Longer code pays no more.
# A block of the table's gradient must have reached HBM before it is read for the next
# tokens: blocks are written one program later, and read one program ahead.
_FEWEST_COLUMN_BLOCKS = 6
_SHARE_OF_VMEM = 0.85  # XLA keeps other arrays in the rest.


@dataclasses.dataclass(frozen=True)
class MixtureBlocks:
    """Block sizes of `mixture_of_softmaxes` on a TPU.

    Attributes:
        tokens: tokens per program, a multiple of 16.
        columns: rows of the table per program, a multiple of 128: all, or few enough
            for 6 blocks.
    """

    tokens: int
    columns: int


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes of a call, and its blocks.

    Attributes:
        num_tokens: N.
        components: K.
        width: d, padded to a multiple of 128.
        vocabulary: V.
        tokens: tokens per program, T.
        columns: rows of the table per program.
    """

    num_tokens: int
    components: int
    width: int
    vocabulary: int
    tokens: int
    columns: int

    @property
    def rows(self) -> int:
        """Rows of a program, one per component and token."""
        return self.components * self.tokens

    @property
    def token_blocks(self) -> int:
        """Blocks of tokens."""
        return -(-self.num_tokens // self.tokens)

    @property
    def column_blocks(self) -> int:
        """Blocks of the vocabulary."""
        return -(-self.vocabulary // self.columns)

    @property
    def padded_tokens(self) -> int:
        """Tokens of all blocks, P."""
        return self.token_blocks * self.tokens

    @property
    def padded_vocabulary(self) -> int:
        """Columns of all blocks."""
        return self.column_blocks * self.columns

    def may_end(self, start: int) -> bool:
        """Returns whether the vocabulary may end within 128 columns of a block.

        Args:
            start: the first of them.
        """
        last = (self.column_blocks - 1) * self.columns
        return last + start + lanes.LANES > self.vocabulary

    def vmem_bytes(self, pass_name: str) -> int:
        """Returns an estimate of the VMEM of a program, with a margin.

        Args:
            pass_name: "forward" or "backward".
        """
        logits = 4 * self.rows * self.padded_vocabulary
        contexts, table = 2 * self.rows * self.width, 2 * self.columns * self.width
        outputs = 4 * self.tokens * self.columns
        by_row = 4 * self.rows * lanes.LANES  # A number per row takes 128 lanes.
        if pass_name == "forward":
            buffers, scratch = contexts + table + outputs + 2 * by_row, 3 * by_row
            values = 2 * by_row
        else:
            # Contexts of two blocks of tokens and a gradient; the table, and its
            # gradient before and after.
            buffers = 4 * contexts + 5 * table + 4 * outputs + 3 * by_row
            scratch = 2 * self.rows * self.columns + 5 * by_row
            values = 2 * contexts + 2 * table + 2 * by_row
        return logits + 2 * buffers + scratch + values + (2 << 20)


def choose(chip: chips.Chip, num_tokens: int, mixture: Any, table: Any) -> Shapes:
    """Returns the sizes set by `kernels.block_sizes`, or as many tokens as fit.

    They are the same for both passes, so that XLA computes their contexts once.

    Args:
        chip: the chip that the kernel is lowered for.
        num_tokens: N.
        mixture: [_, K, d], or its shape.
        table: [_, V, d], or its shape.

    Raises:
        ValueError: if the requested block sizes do not fit.
    """
    given = wrap.blocks(MixtureBlocks)
    if given is not None:
        sizes = given.tokens, given.columns
        return _checked(_shapes(num_tokens, mixture, table, *sizes))
    for most_tokens in range(_MOST_TOKENS, 0, -_ROWS):
        # As few tokens as need no more programs.
        programs = -(-num_tokens // most_tokens)
        tokens = -(-num_tokens // (programs * _ROWS)) * _ROWS
        for columns in _columns(table.shape[1]):
            made = _shapes(num_tokens, mixture, table, tokens, columns)
            if made.vmem_bytes("backward") <= _most(chip):
                return made
    return made


def refusal(chip: chips.Chip, num_tokens: int, mixture: Any, table: Any) -> str | None:
    """Returns why the kernels of both passes do not support a call, or None.

    Args:
        chip: the chip that the kernel is lowered for.
        num_tokens: N.
        mixture: [_, K, d], or its shape.
        table: [_, V, d], or its shape.
    """
    columns = _columns(table.shape[1])[-1]
    least = _shapes(num_tokens, mixture, table, _ROWS, columns)
    needed = least.vmem_bytes("backward")
    if needed > _most(chip):
        return (
            f"the logits of {_ROWS} tokens, {least.components} components and a "
            f"vocabulary of {least.vocabulary} need about {-(-needed >> 20)} MiB of "
            f"VMEM, and on TPU {chip.name} it takes up to {_most(chip) >> 20} MiB"
        )
    return None


def _columns(vocabulary: int) -> list[int]:
    """Returns the possible blocks of columns, the largest first."""
    tiles = -(-vocabulary // lanes.LANES)
    found = []
    for most in _MOST_COLUMNS:
        most //= lanes.LANES
        if tiles <= most:
            found.append(tiles)
            continue
        sizes = range(1, min(most, -(-tiles // _FEWEST_COLUMN_BLOCKS)) + 1)
        fitting = [n for n in sizes if -(-tiles // n) >= _FEWEST_COLUMN_BLOCKS]
        found.append(min(fitting, key=lambda n: _padded(tiles, n)))
    return [n * lanes.LANES for n in found]


def _padded(tiles: int, size: int) -> float:
    """Returns tiles in whole blocks; a program of its own counts as a sixth of one."""
    blocks = -(-tiles // size)
    return blocks * size + blocks / 6


def _shapes(
    num_tokens: int, mixture: Any, table: Any, tokens: int, columns: int
) -> Shapes:
    return Shapes(
        num_tokens=num_tokens,
        components=mixture.shape[1],
        width=-(-mixture.shape[2] // lanes.LANES) * lanes.LANES,
        vocabulary=table.shape[1],
        tokens=tokens,
        columns=columns,
    )


def _checked(s: Shapes) -> Shapes:
    if s.tokens < 1 or s.tokens % _ROWS:
        raise ValueError(
            f"MixtureBlocks: tokens: got {s.tokens}; accepted are multiples of {_ROWS}"
        )
    fits = s.columns > 0 and s.columns % lanes.LANES == 0
    if not fits or 1 < s.column_blocks < _FEWEST_COLUMN_BLOCKS:
        raise ValueError(
            f"MixtureBlocks: columns: got {s.columns}; accepted are multiples of "
            f"{lanes.LANES} of which one, or at least {_FEWEST_COLUMN_BLOCKS}, make a "
            f"vocabulary of {s.vocabulary}"
        )
    return s


def _most(chip: chips.Chip) -> int:
    return int(_SHARE_OF_VMEM * chip.info.vmem_capacity_bytes)
