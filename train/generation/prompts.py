"""Reads prompts and turns them into tokens."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import pathlib
import re
import sys

import numpy as np

from clinometer.data import errors as data_errors
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.data.tasks import readers
from clinometer.train import errors

STANDARD_INPUT = "-"
# Those that a vocabulary does not have are plain text to it.
_ANY_SENTINEL = re.compile(r"<extra_id_\d+>")


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A text to decode from.

    Attributes:
        text: the text.
        origin: where it is from, for messages.
    """

    text: str
    origin: str


def given(texts: Iterable[str]) -> list[Prompt]:
    """Returns the prompts given as arguments."""
    return [Prompt(text, f"prompt {n}") for n, text in enumerate(texts, start=1)]


def read(path: str) -> list[Prompt]:
    """Reads one prompt a line.

    Args:
        path: a UTF-8 file, or `STANDARD_INPUT`.

    Raises:
        ConfigError: the file cannot be read, or has no lines.
    """
    try:
        if path == STANDARD_INPUT:
            lines = sys.stdin.buffer.read().decode("utf-8").splitlines()
            found = [Prompt(text, f"stdin:{n}") for n, text in enumerate(lines, 1)]
        else:
            lines = readers.lines(pathlib.Path(path))
            found = [Prompt(text, origin) for origin, text in lines]
    except (data_errors.DataError, OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"--file: {error}") from error
    if not found:
        raise errors.ConfigError(
            f"--file: {path} is empty; accepted: one prompt a line"
        )
    return found


def tokens(
    prompts: Sequence[Prompt],
    vocabulary: vocabulary_lib.Vocabulary,
    encoder_length: int,
) -> list[np.ndarray]:
    """Returns the tokens of prompts, with end-of-sequence; none is truncated.

    Args:
        prompts: the prompts.
        vocabulary: the vocabulary of the model.
        encoder_length: the largest accepted number of tokens, with end-of-sequence.

    Raises:
        ConfigError: a prompt is empty, too long or not valid Unicode, or has a sentinel
            that the vocabulary does not have.
    """
    most = vocabulary.num_sentinels - 1
    found = []
    for prompt in prompts:
        for sentinel in _ANY_SENTINEL.findall(prompt.text):
            if not vocabulary_lib.SENTINEL.fullmatch(sentinel):
                shown = data_errors.quoted(sentinel)
                raise errors.ConfigError(
                    f"{prompt.origin}: the vocabulary has no {shown}; accepted: "
                    f"<extra_id_0> to <extra_id_{most}>"
                )
        try:  # The error of the vocabulary's library depends on its version.
            prompt.text.encode()
        except UnicodeEncodeError as error:
            raise errors.ConfigError(
                f"{prompt.origin}: not valid Unicode: {error.reason}"
            ) from None
        ids = vocabulary.encode(prompt.text, parse_sentinels=True)
        if not ids:
            raise errors.ConfigError(f"{prompt.origin}: the prompt is empty")
        ids.append(vocabulary.eos_id)
        if len(ids) > encoder_length:
            raise errors.ConfigError(
                f"{prompt.origin}: {len(ids)} tokens with end-of-sequence; accepted: "
                f"at most {encoder_length} (--encoder-length)"
            )
        found.append(np.array(ids, vocabulary.dtype))
    return found
