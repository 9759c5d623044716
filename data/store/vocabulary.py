"""SentencePiece vocabularies with T5's special ids and sentinels.

The ids are padding (0), end of sequence (1), unknown (2), the model's other pieces, and
100 sentinels: sentinel j (`<extra_id_j>`) has id `size - 1 - j`, so sentinel 0 is last.
Whitespace is treated as in T5: text is NFKC-normalised and every run of blanks, tabs
and newlines becomes one space, so line breaks and indentation are lost.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import hashlib
import io
import os
import re

import numpy as np
import sentencepiece

from clinometer.data.errors import DataError

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
NUM_SENTINELS = 100
SENTINEL = re.compile(r"<extra_id_(\d{1,2})>")  # as written in texts
MIN_PIECES, MAX_SIZE = 16, 1 << 22  # limits for training
_MAX_LINE_BYTES = 4192  # SentencePiece skips longer lines in training
# Fixed, because the number of threads changes the rounding of sums in the trainer.
_TRAINING_THREADS = 16


class Vocabulary:
    """A SentencePiece model extended with sentinels.

    Args:
        model: a serialised SentencePiece model.

    Attributes:
        model: the serialised SentencePiece model.
        sha256: SHA-256 of `model`, in hex.
        size: number of ids (pieces and sentinels), not padded.
        pad_id, eos_id, unk_id: the special ids 0, 1 and 2.
        num_sentinels: number of sentinels, 100.

    Raises:
        DataError: `model` is not a SentencePiece model, or has other special ids.
    """

    pad_id = PAD_ID
    eos_id = EOS_ID
    unk_id = UNK_ID
    num_sentinels = NUM_SENTINELS

    def __init__(self, model: bytes):
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model)
        except (RuntimeError, OSError) as error:
            raise DataError(f"Not a SentencePiece model: {error}") from error
        ids = (processor.pad_id(), processor.eos_id(), processor.unk_id())
        if ids != (PAD_ID, EOS_ID, UNK_ID):
            raise DataError(
                f"The SentencePiece model has (pad, eos, unk) = {ids}; accepted is "
                f"{(PAD_ID, EOS_ID, UNK_ID)}, as in T5."
            )
        self.model = model
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.size = processor.GetPieceSize() + NUM_SENTINELS
        self._processor = processor

    @classmethod
    def load(cls, path: str) -> "Vocabulary":
        """Reads a SentencePiece `.model` file, such as T5's `spiece.model`.

        Raises:
            DataError: the file is missing or is not a suitable model.
        """
        if not os.path.isfile(path):
            raise DataError(f"Vocabulary {str(path)!r} is not a file.")
        with open(path, "rb") as file:
            model = file.read()
        try:
            return cls(model)
        except DataError as error:
            raise DataError(f"Vocabulary {str(path)!r}: {error}") from error

    def __reduce__(self):
        return (Vocabulary, (self.model,))

    def padded_size(self, multiple: int = 128) -> int:
        """Returns `size` rounded up to a multiple, for the models' embedding tables."""
        return -(-self.size // multiple) * multiple

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that can hold every id, uint16 or uint32."""
        return np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)

    def sentinel_id(self, index: int) -> int:
        """Returns the id of the sentinel `<extra_id_INDEX>`.

        Raises:
            DataError: the index is not in [0, 100).
        """
        if not 0 <= index < NUM_SENTINELS:
            raise DataError(f"Sentinel {index} is not in [0, {NUM_SENTINELS}).")
        return self.size - 1 - index

    def encode(self, text: str, *, parse_sentinels: bool = False) -> list[int]:
        """Returns the token ids of a text, without end-of-sequence.

        Args:
            text: any text.
            parse_sentinels: whether `<extra_id_N>` is encoded as a sentinel; by default
                it is plain text, so that a corpus cannot contain sentinels.
        """
        if not parse_sentinels:
            return self._processor.Encode(text)
        ids = []
        for position, part in enumerate(SENTINEL.split(text)):
            if position % 2:
                ids.append(self.sentinel_id(int(part)))
            else:
                ids.extend(self._processor.Encode(part))
        return ids

    def encode_batch(
        self,
        texts: Sequence[str],
        num_threads: int = 1,
        *,
        parse_sentinels: bool = False,
    ) -> list[np.ndarray]:
        """Returns the token ids of many texts, in order.

        Args:
            texts: any texts.
            num_threads: SentencePiece threads; unused with `parse_sentinels`.
            parse_sentinels: see `encode`.

        Returns:
            An array of ids for each text, of type `dtype`.
        """
        if parse_sentinels:
            encoded = [self.encode(text, parse_sentinels=True) for text in texts]
        else:
            encoded = self._processor.Encode(list(texts), num_threads=num_threads)
        return [np.array(ids, self.dtype) for ids in encoded]

    def decode_batch(self, sequences: Iterable[np.ndarray]) -> list[str]:
        """Returns the texts of many sequences of ids, which contain no sentinels."""
        return self._processor.Decode([ids.tolist() for ids in sequences])

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of token ids.

        Sentinels are written as `<extra_id_N>`; padding and EOS are dropped.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        pieces = self.size - NUM_SENTINELS
        parts, run = [], []
        for token in map(int, ids):
            if not 0 <= token < self.size:
                raise DataError(f"Token {token} is not in [0, {self.size}).")
            if token < pieces:
                run.append(token)
                continue
            parts += [
                self._processor.Decode(run),
                f"<extra_id_{self.size - 1 - token}>",
            ]
            run = []
        parts.append(self._processor.Decode(run))
        return " ".join(part for part in parts if part)


def train(
    texts: Iterable[str],
    size: int,
    max_bytes: int = 32 << 20,
    *,
    character_coverage: float | None = None,
    byte_fallback: bool = False,
) -> Vocabulary:
    """Trains a unigram model; the same texts and options give the same model.

    Args:
        texts: documents; the first `max_bytes` are used.
        size: number of ids, sentinels included (32100 for T5's 32000 pieces).
        max_bytes: bytes of UTF-8 to train on.
        character_coverage: fraction of the text's characters, the most frequent first,
            that get a piece of their own; None => SentencePiece's default, 0.9995.
        byte_fallback: whether to spell characters without a piece in bytes, for which
            256 pieces are reserved, so that no character is unknown.

    Returns:
        The trained vocabulary, of exactly `size` ids.

    Raises:
        DataError: `size` is out of range, or there is too little text for so many
            pieces.
    """
    pieces = size - NUM_SENTINELS
    if pieces < MIN_PIECES:
        raise DataError(
            f"vocab_size {size} is too small: 100 ids are sentinels, and at least "
            f"{MIN_PIECES} pieces are needed."
        )
    if size > MAX_SIZE:
        raise DataError(f"vocab_size is {size}; accepted is at most {MAX_SIZE}.")
    # A model records every option that it was given, even one with the default value.
    options = {"byte_fallback": True} if byte_fallback else {}
    if character_coverage is not None:
        options["character_coverage"] = character_coverage
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=_lines(texts, max_bytes),
            model_writer=model,
            model_type="unigram",
            vocab_size=pieces,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            max_sentence_length=_MAX_LINE_BYTES,
            num_threads=_TRAINING_THREADS,
            minloglevel=2,
            **options,
        )
    except RuntimeError as error:
        reason = str(error).rstrip().removesuffix(".")
        raise DataError(
            f"Could not train a vocabulary of {size} ids ({pieces} pieces and 100 "
            f"sentinels): {reason}. Use more text or a smaller vocabulary size."
        ) from error
    return Vocabulary(model.getvalue())


def _lines(texts: Iterable[str], max_bytes: int) -> Iterable[str]:
    """Yields lines short enough for the trainer, up to `max_bytes` in all."""
    total = 0
    for text in texts:
        for line in text.splitlines():
            # UTF-8 has at most 4 bytes per character.
            for start in range(0, len(line), _MAX_LINE_BYTES // 4):
                part = line[start : start + _MAX_LINE_BYTES // 4].strip()
                if not part:
                    continue
                total += len(part.encode("utf-8"))
                if total > max_bytes:
                    return
                yield part
