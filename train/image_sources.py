"""Training and evaluation data of a run on labelled images."""

import os

from ml_collections import config_dict

from clinometer import models
from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.images import augmentation
from clinometer.data.images import batches as batches_lib
from clinometer.data.images import digits
from clinometer.data.images import image_set
from clinometer.data.images import sources as image_folders
from clinometer.train import errors
from clinometer.train import sources
from clinometer.train.run import record as run_record

_TRAIN, _VALIDATION = "train", "validation"


def open_images(
    data: config_dict.ConfigDict,
) -> tuple[image_set.ImageSet, image_set.ImageSet]:
    """Opens the images of a run.

    Args:
        data: `config.data`, see `configs/classify.py`.

    Returns:
        The images for training and those for validation, of the same classes.

    Raises:
        ConfigError: the folder is missing or has not the images that are needed.
    """
    if not data.folder:
        raise errors.ConfigError(
            "config.data.folder: missing; give a folder of images (data/README.md), or "
            f"{digits.NAME} for scikit-learn's"
        )
    wanted = [name.strip() for name in data.classes.split(",") if name.strip()]
    try:
        folder = digits.folder() if data.folder == digits.NAME else data.folder
        parts = [os.path.join(folder, name) for name in (_TRAIN, _VALIDATION)]
        if all(map(os.path.isdir, parts)):
            found = [image_folders.open_folder(part) for part in parts]
            if found[0].classes != found[1].classes and not wanted:
                different = set(found[0].classes) ^ set(found[1].classes)
                raise data_errors.DataError(
                    f"{folder}: the class {min(different)!r} is only in one of "
                    f"{_TRAIN}/ and {_VALIDATION}/; name those to use in data.classes"
                )
            train, validation = (
                image_set.checked(one.of_classes(wanted)) if wanted else one
                for one in found
            )
        else:
            whole = image_folders.open_folder(folder)
            if wanted:
                whole = image_set.checked(whole.of_classes(wanted))
            train, validation = whole.held_out(data.validation_share)
    except data_errors.DataError as error:
        raise errors.ConfigError(f"config.data: {error}") from error
    return train, validation


def classification(
    config: config_dict.ConfigDict,
    model: models.VisionTransformer,
    train: image_set.ImageSet,
    validation: image_set.ImageSet,
) -> sources.Source:
    """Returns the data of a run on labelled images.

    Args:
        config: see `configs/classify.py`.
        model: the model, which determines the size of the images.
        train: the images for training.
        validation: the images for validation.

    Raises:
        ConfigError: a field of `config.data` or `config.eval` is wrong.
    """
    data = config.data
    shape = models.ImageShape(
        model.config.image_height,
        model.config.image_width,
        mixed=data.mixup > 0,
    )
    settings = {
        "make_batch": models.image_batch.make,
        "batch_size": data.batch_size,
        "height": shape.height,
        "width": shape.width,
    }
    try:
        model.check(shape)
        batches = batches_lib.ImageBatches(
            train,
            how=augmentation.Augmentation(data.min_area, data.flip),
            mixup=data.mixup,
            threads=data.threads,
            seed=data.order,
            **settings,
        )
        eval_batches = batches_lib.ImageEvalBatches(
            validation, max_rows=config.eval.max_rows, **settings
        )
    except data_errors.DataError as error:
        raise errors.ConfigError(f"config.data: {error}") from error
    except models.ConfigError as error:
        raise errors.ConfigError(f"config.model: {error}") from error
    hashes = {
        "train_sha256": train.fingerprint,
        "validation_sha256": validation.fingerprint,
    }

    def describe(step: int) -> run_record.Data:
        is_digits = data.folder == digits.NAME
        return run_record.Data(
            folder=data.folder if is_digits else paths.absolute(data.folder),
            epochs=batches.epoch(step),
            images=run_record.ImageData(
                classes=len(train.classes),
                train_images=len(train),
                validation_images=len(validation),
                broken={**batches.broken.reasons, **eval_batches.broken.reasons},
                **hashes,
            ),
        )

    return sources.Source(
        shape=shape,
        tokens_per_row=model.config.length,
        batches=batches,
        eval_batches=eval_batches,
        identity={f"data.{name}": value[:16] for name, value in hashes.items()},
        describe=describe,
    )
