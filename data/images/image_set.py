"""A set of labelled images, whose encoded bytes are read when they are needed."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.errors import nearest
from clinometer.data.errors import quoted


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in a fixed order.

    Attributes:
        path: where they are.
        classes: names of the classes.
        names: names of the images, each unique.
        labels: index of each image's class, int32 [n].
        sizes: bytes of each image's file, int64 [n].
        read: returns the encoded bytes of the image of an index; it may be called by
            several threads.
    """

    path: str
    classes: tuple[str, ...]
    names: Sequence[str]
    labels: np.ndarray
    sizes: np.ndarray
    read: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """A hash of the names, sizes and classes of all images."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for name, label, size in zip(self.names, self.labels, self.sizes, strict=True):
            digest.update(f"\n{name}\0{label}\0{size}".encode())
        return digest.hexdigest()

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """Returns some of the images, with the same classes.

        Args:
            indices: of the images, in their new order.
        """
        chosen = np.asarray(indices, np.int64)
        return dataclasses.replace(
            self,
            names=[self.names[i] for i in chosen],
            labels=self.labels[chosen],
            sizes=self.sizes[chosen],
            read=lambda index: self.read(int(chosen[index])),
        )

    def of_classes(self, classes: Sequence[str]) -> "ImageSet":
        """Returns the images of some classes, which are numbered in the given order.

        Args:
            classes: names of the classes.

        Raises:
            DataError: a class is unknown or given twice.
        """
        for name in classes:
            if name not in self.classes:
                near = nearest(name, self.classes)
                raise DataError(
                    f"{self.path}: has no class {quoted(name)}"
                    + (f"; did you mean {near!r}?" if near else "")
                    + f"; classes: {_listed(self.classes)}"
                )
        if len(set(classes)) < len(classes):
            raise DataError(f"classes {', '.join(classes)}: one is given twice")
        new = {self.classes.index(name): k for k, name in enumerate(classes)}
        chosen = [i for i, label in enumerate(self.labels) if int(label) in new]
        found = self.subset(chosen)
        labels = np.array([new[int(label)] for label in found.labels], np.int32)
        return dataclasses.replace(found, classes=tuple(classes), labels=labels)

    def held_out(self, share: float) -> tuple["ImageSet", "ImageSet"]:
        """Splits the images by the hash of their names.

        Args:
            share: of the images in the second set, approximately.

        Returns:
            The other images, and those held out.

        Raises:
            DataError: one of the two would have no image of a class.
        """
        limit = int(share * 2**64)
        hashes = (hashlib.sha256(name.encode()).digest()[:8] for name in self.names)
        held = np.array([int.from_bytes(value) < limit for value in hashes], bool)
        parts = self.subset(np.flatnonzero(~held)), self.subset(np.flatnonzero(held))
        for part in parts:
            missing = set(range(len(self.classes))) - set(map(int, part.labels))
            if missing:
                name = self.classes[min(missing)]
                raise DataError(
                    f"{self.path}: holding out {share:g} of the images leaves no image "
                    f"of the class {name!r} on one side; give more images, another "
                    "share, or folders train/ and validation/"
                )
        return parts


def checked(found: ImageSet) -> ImageSet:
    """Returns a set; DataError unless it has images of two or more classes."""
    if not len(found):
        raise DataError(
            f"{found.path}: has no images; accepted: a folder of CLASS/NAME.png (or "
            ".jpg, ...), of .tar shards with such members, or of .array_record files"
        )
    if len(found.classes) < 2:
        raise DataError(
            f"{found.path}: all images are of one class, {found.classes[0]!r}; "
            "a classifier needs two or more"
        )
    return found


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:20])
    return shown if len(classes) <= 20 else f"{shown} and {len(classes) - 20:,} more"
