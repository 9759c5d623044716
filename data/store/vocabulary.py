"""SentencePiece vocabularies with T5's special ids and sentinels.

Ids: pad 0, end-of-sequence 1, unknown 2, then the model's pieces, then 100 sentinels
on top; sentinel j (`<extra_id_j>`) has id `size - 1 - j`, so that sentinel 0 is last.
Whitespace is T5's: text is NFKC-normalised and every run of blanks, tabs and newlines
becomes one space, so that line breaks and indentation are not kept.
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
_SENTINEL = re.compile(r"<extra_id_(\d{1,2})>")
MIN_PIECES, MAX_SIZE = 16, 1 << 22  # what can be trained
_MAX_LINE_BYTES = 4192  # SentencePiece skips longer lines in training
# Fixed: the sums of the trainer's threads are rounded in an order set by their number.
_TRAINING_THREADS = 16


class Vocabulary:
    """A SentencePiece model and the sentinels on top of it.

    Attributes:
      model: the serialised SentencePiece model.
      sha256: fingerprint of `model`, in hex.
      size: number of ids: pieces and sentinels, not padded.
      pad_id, eos_id, unk_id: 0, 1, 2.
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
                "The SentencePiece model has (pad, eos, unk) = "
                f"{ids}; accepted is {(PAD_ID, EOS_ID, UNK_ID)}, as T5's."
            )
        self.model = model
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.size = processor.GetPieceSize() + NUM_SENTINELS
        self._processor = processor

    @classmethod
    def load(cls, path: str) -> "Vocabulary":
        """Reads a SentencePiece `.model` file, such as T5's `spiece.model`."""
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
        """`size` rounded up, as the models' embedding tables want it."""
        return -(-self.size // multiple) * multiple

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned type that holds every id: uint16 or uint32."""
        return np.dtype(np.uint16 if self.size <= 1 << 16 else np.uint32)

    def sentinel_id(self, index: int) -> int:
        """The id of `<extra_id_INDEX>`."""
        if not 0 <= index < NUM_SENTINELS:
            raise DataError(f"Sentinel {index} does not exist; 0 to 99 do.")
        return self.size - 1 - index

    def encode(self, text: str, *, parse_sentinels: bool = False) -> list[int]:
        """Token ids of a text, without end-of-sequence.

        Args:
          text: any text.
          parse_sentinels: `<extra_id_N>` becomes a sentinel; else it is plain text,
            as in a corpus, where nobody may write sentinels.
        """
        if not parse_sentinels:
            return self._processor.Encode(text)
        ids = []
        for position, part in enumerate(_SENTINEL.split(text)):
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
        """Token ids of many texts, in order.

        Args:
          texts: any texts.
          num_threads: of SentencePiece, for texts without sentinels.
          parse_sentinels: as of `encode`.
        """
        if parse_sentinels:
            encoded = [self.encode(text, parse_sentinels=True) for text in texts]
        else:
            encoded = self._processor.Encode(list(texts), num_threads=num_threads)
        return [np.array(ids, self.dtype) for ids in encoded]

    def decode_batch(self, sequences: Iterable[np.ndarray]) -> list[str]:
        """The texts of many sequences of ids of a corpus, which has no sentinels."""
        return self._processor.Decode([ids.tolist() for ids in sequences])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; sentinels as `<extra_id_N>`, pad and EOS dropped."""
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
    """Trains a unigram model; the same texts and options give the same bytes.

    Args:
      texts: documents; read until `max_bytes` of UTF-8 have been taken.
      size: ids of the vocabulary, sentinels included (32100 for T5's 32000 pieces).
      max_bytes: how much text to train on.
      character_coverage: share of the text's characters, the commonest first, that
        have a piece of their own; None => SentencePiece's, 0.9995.
      byte_fallback: spell characters without a piece in 256 pieces for bytes, so that
        nothing is unknown.

    Raises:
      DataError: the text is too small for that many pieces, or `size` too small.
    """
    pieces = size - NUM_SENTINELS
    if pieces < MIN_PIECES:
        raise DataError(
            f"vocab_size {size} is too small: 100 ids are sentinels, "
            f"and at least {MIN_PIECES} pieces are needed."
        )
    if size > MAX_SIZE:
        raise DataError(f"vocab_size is {size}; accepted is up to {MAX_SIZE}.")
    # A model records the options that it was given, those of the default value, too.
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
        raise DataError(
            f"Could not train a vocabulary of {size} ids ({pieces} pieces and 100 "
            f"sentinels): {error}. Give more text or a smaller size."
        ) from error
    return Vocabulary(model.getvalue())


def _lines(texts: Iterable[str], max_bytes: int) -> Iterable[str]:
    """Lines short enough for the trainer, until `max_bytes` have been yielded."""
    total = 0
    for text in texts:
        for line in text.splitlines():
            # At most 4 bytes a character.
            for start in range(0, len(line), _MAX_LINE_BYTES // 4):
                part = line[start : start + _MAX_LINE_BYTES // 4].strip()
                if not part:
                    continue
                total += len(part.encode("utf-8"))
                if total > max_bytes:
                    return
                yield part
