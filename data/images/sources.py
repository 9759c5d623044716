"""Opens a set of images: a folder of files, of tar shards or of ArrayRecords.

The three hold the same: the encoded bytes of an image, with its class and its name.
- Files: `CLASS/NAME.png`, also `.jpg`, `.jpeg`, `.webp`, `.bmp`, `.gif` and `.tif`.
- `*.tar`: members of the same names, or pairs `KEY.jpg` and `KEY.cls` (WebDataset),
  where the second holds the name of the class.
- `*.array_record`: records that are the JSON object {"class": CLASS, "name": NAME} in
  one line, and then the bytes of the image.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import json
import os
import tarfile

from array_record.python import array_record_data_source
import numpy as np

from clinometer.data import paths
from clinometer.data.corpus import tar_archives
from clinometer.data.errors import DataError
from clinometer.data.errors import quoted
from clinometer.data.images import image_set

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_TAR, _RECORDS, _CLASS = ".tar", ".array_record", ".cls"


@dataclasses.dataclass(frozen=True)
class _Found:
    """An image: its class, its unique name, its bytes and how to read them."""

    label: str
    name: str
    size: int
    read: Callable[[], bytes]


def open_folder(path: paths.PathLike) -> image_set.ImageSet:
    """Opens the images of a folder, in the order of their names.

    Args:
        path: a folder of one of the three kinds.

    Raises:
        DataError: there is no such folder, it has no images or images of one class
            only, an image has no class, or a shard is damaged.
    """
    place = str(path)
    if paths.is_remote(place):
        raise DataError(f"{place}: images are read from local folders only")
    if not os.path.isdir(place):
        raise DataError(f"{place}: is not a folder")
    entries = sorted(os.listdir(place))
    tars = [name for name in entries if name.endswith(_TAR)]
    records = [name for name in entries if name.endswith(_RECORDS)]
    if tars:
        found = [one for name in tars for one in _in_tar(os.path.join(place, name))]
    elif records:
        found = [one for name in records for one in _in_records(place, name)]
    else:
        found = list(_in_folders(place, entries))
    found.sort(key=lambda one: (one.label, one.name))
    for one, other in zip(found, found[1:]):
        if one.name == other.name:
            raise DataError(f"{place}: has two images of the name {one.name!r}")
    classes = tuple(sorted({one.label for one in found}))
    number = {name: k for k, name in enumerate(classes)}
    return image_set.checked(
        image_set.ImageSet(
            path=place,
            classes=classes,
            names=[one.name for one in found],
            labels=np.array([number[one.label] for one in found], np.int32),
            sizes=np.array([one.size for one in found], np.int64),
            read=lambda index: found[index].read(),
        )
    )


def _is_image(name: str) -> bool:
    hidden = os.path.basename(name).startswith(".") or name.startswith("__MACOSX")
    return not hidden and name.lower().endswith(EXTENSIONS)


def _in_folders(place: str, entries: Sequence[str]) -> Iterator[_Found]:
    loose = [name for name in entries if _is_image(name)]
    if loose:
        raise DataError(
            f"{os.path.join(place, loose[0])}: is an image in the root of the folder; "
            "accepted: a folder for each class, CLASS/NAME.png"
        )
    for label in entries:
        folder = os.path.join(place, label)
        if label.startswith(".") or not os.path.isdir(folder):
            continue
        names = [name for name in sorted(os.listdir(folder)) if _is_image(name)]
        if not names:
            raise DataError(f"{folder}: the class {label!r} has no images")
        for name in names:
            file = os.path.join(folder, name)
            yield _Found(
                label,
                f"{label}/{name}",
                os.path.getsize(file),
                lambda file=file: _bytes(file),
            )


def _bytes(file: str) -> bytes:
    with open(file, "rb") as stream:
        return stream.read()


def _in_tar(file: str) -> Iterator[_Found]:
    """Yields the images of a shard, which is read once to index it."""
    images: dict[str, tuple[str, int, int]] = {}  # key -> (name, offset, size)
    labels: dict[str, str] = {}
    try:
        with open(file, "rb") as stream:
            for member, contents in tar_archives.members(stream):
                if contents is None:
                    continue
                key, extension = os.path.splitext(member.name)
                if extension == _CLASS:
                    labels[key] = contents.read().decode().strip()
                elif _is_image(member.name):
                    images[key] = member.name, member.offset_data, member.size
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a tar archive ({error})") from error
    for key, (name, offset, size) in images.items():
        label = labels.get(key) or os.path.basename(os.path.dirname(name))
        if not label:
            raise DataError(
                f"{file}: the image {name!r} has no class; accepted: CLASS/NAME.jpg, "
                f"or a member {key}{_CLASS} with the name of the class"
            )
        yield _Found(
            label,
            name if os.path.dirname(name) else f"{label}/{name}",
            size,
            lambda offset=offset, size=size: _part(file, offset, size),
        )


def _part(file: str, offset: int, size: int) -> bytes:
    with open(file, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _in_records(place: str, name: str) -> Iterator[_Found]:
    file = os.path.join(place, name)
    try:
        source = array_record_data_source.ArrayRecordDataSource([file])
        count = len(source)
    except Exception as error:  # The library's own classes differ by version.
        raise DataError(f"{file}: cannot be read as ArrayRecord ({error})") from error
    for index in range(count):
        record = source[index]
        told, _, image = record.partition(b"\n")
        try:
            fields = json.loads(told)
            label, own = str(fields["class"]), str(fields["name"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file}: record {index} begins with {quoted(told[:40])}; accepted: "
                '{"class": CLASS, "name": NAME} in one line, then the image'
            ) from error
        yield _Found(
            label,
            f"{label}/{own}",
            len(image),
            lambda index=index: source[index].partition(b"\n")[2],
        )
