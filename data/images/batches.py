"""Batches of images, a pure function of (seed, step).

Row i of batch `step` is example step * B + i, whichever rows a process asks for, and
however many threads decode. Resuming therefore needs only the step.

Shapes: B images of a global batch, H x W pixels.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import logging
import threading
from typing import Protocol

import grain
import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.images import augmentation
from clinometer.data.images import decoding
from clinometer.data.images import image_set
from clinometer.data.pretraining import batches as text_batches

Batch = text_batches.Batch
_USUAL = augmentation.Augmentation()
_MIXUP = 1  # Stream of the random numbers for mixing.


class MakeBatch(Protocol):
    """A function that makes a batch of images; the model determines its arrays."""

    def __call__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        other_labels: np.ndarray | None = None,
        other_shares: np.ndarray | None = None,
    ) -> Batch:
        """Returns a batch.

        Args:
            images: [B, H, W, 3], 0 to 255: uint8, or float32 if they are mixed.
            labels: int32 [B]; -1 for rows that fill a batch.
            other_labels: of mixed images, the label of the second, int32 [B].
            other_shares: of mixed images, the share of the second, float32 [B].
        """


@dataclasses.dataclass(frozen=True)
class Broken:
    """Images that could not be decoded, name -> reason; written by all threads."""

    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def add(self, path: str, name: str, reason: str) -> None:
        """Adds an image, with a warning the first time."""
        with self._lock:
            if name in self.reasons:
                return
            self.reasons[name] = reason
        logging.warning("%s: image %s %s; it is left out", path, name, reason)


class ImageBatches:
    """An infinite sequence of shuffled training batches.

    Every epoch contains each image once, in a new order and newly augmented. An image
    that cannot be decoded is replaced by the next one that can.

    Attributes:
        batch_size: B, over all processes.
        broken: images that could not be decoded so far.
    """

    def __init__(
        self,
        images: image_set.ImageSet,
        *,
        make_batch: MakeBatch,
        height: int,
        width: int,
        batch_size: int,
        how: augmentation.Augmentation = _USUAL,
        mixup: float = 0.0,
        threads: int = 1,
        seed: int = 0,
    ):
        """Checks the arguments; images are read later.

        Args:
            images: the images.
            make_batch: makes a batch of arrays.
            height: H.
            width: W.
            batch_size: B, over all processes.
            how: what is drawn for each image.
            mixup: a of Zhang et al. 2018: a batch is mixed with itself, moved by one
                row, in shares from the beta distribution (a, a), of which the larger is
                the image's own; 0 mixes nothing.
            threads: number of threads that decode.
            seed: seed of order, crops and shares, in [0, 2^32).

        Raises:
            DataError: an argument is out of range, or there are less images than B.
        """
        text_batches.check_batch_size(batch_size)
        if not 0 <= seed < 1 << 32:
            raise DataError(f"Data seed {seed} is not in [0, 2^32).")
        if len(images) < batch_size:
            raise DataError(
                f"{images.path}: has {len(images)} images, less than a batch of "
                f"{batch_size}."
            )
        self.batch_size, self.broken = batch_size, Broken()
        self._images, self._make_batch = images, make_batch
        self._size, self._how = (height, width), how
        self._mixup, self._threads, self._seed = mixup, threads, seed
        self._examples = (
            grain.MapDataset.range(len(images))
            .seed(seed)
            .shuffle()
            .repeat()
            .random_map(self._example)
        )

    def epoch(self, step: int) -> float:
        """Returns the number of epochs seen before batch `step`."""
        return step * self.batch_size / len(self._images)

    def batch(self, step: int, rows: Sequence[int] | None = None) -> Batch:
        """Returns batch `step`, or some of its rows.

        Args:
            step: index of the batch, 0 or more.
            rows: indices of rows of the batch; None for all.

        Raises:
            DataError: an argument is out of range, or no image can be decoded.
        """
        if step < 0:
            raise DataError(f"Step {step} is negative.")
        rows = text_batches.rows_of(self.batch_size, rows)
        first = step * self.batch_size
        if not self._mixup:
            found = [self._examples[first + row] for row in rows]
            images, labels = zip(*found)
            return self._make_batch(np.stack(images), np.array(labels, np.int32))
        before = [(row - 1) % self.batch_size for row in rows]
        made = {row: self._examples[first + row] for row in {*rows, *before}}
        rng = np.random.default_rng([_MIXUP, self._seed, step])
        own = rng.beta(self._mixup, self._mixup)
        other = np.float32(min(own, 1 - own))
        mixed = [
            (1 - other) * np.float32(made[row][0]) + other * np.float32(made[back][0])
            for row, back in zip(rows, before, strict=True)
        ]
        return self._make_batch(
            np.stack(mixed),
            np.array([made[row][1] for row in rows], np.int32),
            np.array([made[row][1] for row in before], np.int32),
            np.full(len(rows), other),
        )

    def iterate(
        self, start_step: int = 0, rows: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Returns an iterator over the batches from `start_step` on.

        The batches equal `batch(step, rows)` and are made in advance by background
        threads. Call the iterator's `close()` when it is no longer needed.

        Args:
            start_step: index of the first batch.
            rows: indices of rows of each batch; None for all.

        Raises:
            DataError: an argument is out of range.
        """
        rows = text_batches.rows_of(self.batch_size, rows)
        return text_batches.prefetched(self.batch, start_step, rows, self._threads)

    def _example(
        self, index: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.int32]:
        for place in range(index, index + len(self._images)):
            number = place % len(self._images)
            image = read(self._images, number, self.broken)
            if image is not None:
                made = augmentation.training(image, *self._size, self._how, rng)
                return made, self._images.labels[number]
        raise DataError(f"{self._images.path}: none of the images can be decoded.")


class ImageEvalBatches:
    """A fixed set of batches with the centre of every image.

    The last batch is filled up, and an image that cannot be decoded replaced, by black
    images with label -1, which have no weight.

    Attributes:
        batch_size: B.
        broken: images that could not be decoded so far.
        num_rows: number of images, without those that fill a batch.
    """

    def __init__(
        self,
        images: image_set.ImageSet,
        *,
        make_batch: MakeBatch,
        height: int,
        width: int,
        batch_size: int,
        max_rows: int | None = None,
        keep_aspect: bool = True,
    ):
        """Checks the arguments; images are read later.

        Args:
            images: the images.
            make_batch: makes a batch of arrays.
            height: H.
            width: W.
            batch_size: B.
            max_rows: number of images to use, evenly spaced; None => all.
            keep_aspect: see `augmentation.evaluation`.

        Raises:
            DataError: `batch_size` or `max_rows` is below 1.
        """
        text_batches.check_batch_size(batch_size)
        if max_rows is not None and max_rows < 1:
            raise DataError(f"max_rows is {max_rows}; accepted is 1 or more, or None.")
        total = len(images)
        self.batch_size, self.broken = batch_size, Broken()
        self.num_rows = total if max_rows is None else min(max_rows, total)
        self._rows = [k * total // self.num_rows for k in range(self.num_rows)]
        self._images, self._make_batch = images, make_batch
        self._size, self._keep_aspect = (height, width), keep_aspect

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return (self.batch(index) for index in range(len(self)))

    def batch(self, index: int) -> Batch:
        """Returns batch `index`."""
        if not 0 <= index < len(self):
            raise DataError(f"Evaluation batch {index} is not in [0, {len(self)}).")
        images = np.zeros((self.batch_size, *self._size, 3), np.uint8)
        labels = np.full(self.batch_size, -1, np.int32)
        first = index * self.batch_size
        for place, row in enumerate(self._rows[first : first + self.batch_size]):
            image = read(self._images, row, self.broken)
            if image is not None:
                images[place] = augmentation.evaluation(
                    image, *self._size, keep_aspect=self._keep_aspect
                )
                labels[place] = self._images.labels[row]
        return self._make_batch(images, labels)


def read(
    images: image_set.ImageSet, index: int, broken: Broken
) -> "decoding.Image.Image | None":
    """Returns a decoded image, or None and adds it to the broken ones.

    Args:
        images: the images.
        index: which of them.
        broken: where one that cannot be read is added.
    """
    try:
        return decoding.decode(images.read(index))
    except (decoding.ImageError, OSError) as error:
        broken.add(images.path, images.names[index], str(error))
        return None
