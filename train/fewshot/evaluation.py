"""Scores the features of a run on images that it was not trained on."""

from collections.abc import Callable
import dataclasses
import hashlib
import os

import jax
import numpy as np

from clinometer import models
from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.images import batches as batches_lib
from clinometer.data.images import digits
from clinometer.data.images import image_set
from clinometer.data.images import sources
from clinometer.models import model as model_lib
from clinometer.train import errors
from clinometer.train import initial
from clinometer.train import state as state_lib
from clinometer.train.fewshot import ridge
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record

MIXTURE = "fewshot"
_DRAWN, _CLASSIFIED = "train", "validation"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        run: the run directory.
        folder: folder of labelled images, or "digits".
        classes: names of the classes to use; none for all.
        shots: numbers of images of each class.
        seeds: of the draws.
        l2: weight of the penalty.
        test_share: share of the images to classify, without folders for both.
        pool: number of images to draw from; None for all.
        step: step of the checkpoint; None for the newest, 0 for initial parameters.
        shuffle_labels: whether to shuffle the labels of the drawn images.
        batch_size: images per batch.
    """

    run: paths.AnyPath
    folder: str
    classes: tuple[str, ...] = ()
    shots: tuple[int, ...] = ridge.SHOTS
    seeds: tuple[int, ...] = ridge.SEEDS
    l2: float = ridge.L2
    test_share: float = 0.5
    pool: int | None = None
    step: int | None = None
    shuffle_labels: bool = False
    batch_size: int = 64


def evaluate(
    request: Request, say: Callable[[str], None] = lambda text: None
) -> run_record.Evaluation:
    """Scores a run.

    Args:
        request: what to score.
        say: called with progress messages.

    Returns:
        The results: for each number of shots a task "10-shot", whose score is the mean
        accuracy over the seeds, in percent.

    Raises:
        RunError: there is no such run, checkpoint or folder, the run is not of images,
            or a class has too few images.
    """
    record = initial.read_record(request.run)
    if record.kind != run_record.CLASSIFICATION:
        raise errors.RunError(
            f"{request.run}: was trained on texts; few-shot evaluation needs a model "
            "of images"
        )
    try:
        pool, test = _images(request)
        if request.shuffle_labels:
            shuffled = np.random.default_rng(0).permutation(pool.labels)
            pool = dataclasses.replace(pool, labels=shuffled)
        ridge.check(
            pool.labels, test.labels, len(pool.classes), request.shots, pool.classes
        )
    except data_errors.DataError as error:
        raise errors.ConfigError(f"--data: {error}") from error
    except ridge.FewShotError as error:
        raise errors.ConfigError(f"--shots: {request.folder}: {error}") from error
    model, step, params = _restored(request, record)
    count = len(pool.classes)
    rows = ridge.drawn(pool.labels, count, request.shots, request.seeds)
    drawn = pool.subset(rows)
    features = [
        _features(model, params, images, request.batch_size, what, say)
        for what, images in (("drawn", drawn), ("classified", test))
    ]
    found = ridge.accuracies(
        features[0],
        pool.labels,
        features[1],
        test.labels,
        num_classes=count,
        shots=request.shots,
        seeds=request.seeds,
        l2=request.l2,
        rows=rows,
    )
    return run_record.Evaluation(
        mixture=MIXTURE,
        evaluated_at=run_record.now(),
        options={
            "folder": request.folder,
            "classes": list(pool.classes),
            "l2": request.l2,
            "seeds": list(request.seeds),
            "drawn_sha256": content_hash(drawn),
            "test_sha256": content_hash(test),
        },
        tasks={
            f"{number}-shot": run_record.EvaluatedTask(
                step=step,
                score=100 * float(np.mean(values)),
                no_standard_error="the draws share the test images",
                metrics={
                    f"seed_{seed}": 100 * value
                    for seed, value in zip(request.seeds, values, strict=True)
                },
                examples=len(test),
            )
            for number, values in found.items()
        },
    )


def content_hash(images: image_set.ImageSet) -> str:
    """Returns a hash of the contents of all images, in any order.

    Args:
        images: the images, all of which are read.
    """
    hashes = sorted(
        hashlib.sha256(images.read(index)).digest() for index in range(len(images))
    )
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def render(found: run_record.Evaluation) -> str:
    """Returns the results as a table."""
    lines = ["shots    accuracy    by seed"]
    for name, task in found.tasks.items():
        seeds = "  ".join(f"{value:.1f}" for value in task.metrics.values())
        lines.append(
            f"{name.removesuffix('-shot'):>5}    {task.score:6.1f} %    {seeds}"
        )
    return "\n".join(lines)


def _images(request: Request) -> tuple[image_set.ImageSet, image_set.ImageSet]:
    """Returns the images to draw from and those to classify."""
    folder = request.folder
    if folder == digits.NAME:
        folder = digits.folder()
    parts = [os.path.join(folder, name) for name in (_DRAWN, _CLASSIFIED)]

    def chosen(images: image_set.ImageSet) -> image_set.ImageSet:
        if not request.classes:
            return images
        return image_set.checked(images.of_classes(request.classes))

    if not all(map(os.path.isdir, parts)):
        return chosen(sources.open_folder(folder)).held_out(request.test_share)
    pool, test = (chosen(sources.open_folder(part)) for part in parts)
    if pool.classes != test.classes:
        test = test.of_classes(pool.classes)
    if request.pool is not None and request.pool < len(pool):
        order = sorted(
            range(len(pool)),
            key=lambda index: hashlib.sha256(pool.names[index].encode()).digest(),
        )
        pool = pool.subset(sorted(order[: request.pool]))
    return pool, test


def _restored(
    request: Request, record: run_record.Record
) -> tuple[models.VisionTransformer, int, model_lib.Params]:
    """Returns the model of a run, the step of its checkpoint and the parameters."""
    model, optimizer = initial.built(record)
    if request.step == 0:
        return model, 0, model.from_canonical(model.init(jax.random.key(record.seed)))
    reader = run_directory.RunDirectory(request.run).checkpoints(read_only=True)
    step = max(reader.steps, default=None) if request.step is None else request.step
    if step not in reader.steps:
        raise errors.ConfigError(
            f"--step: {request.run} has no checkpoint"
            + (f" of step {step}" if step is not None else "")
            + f"; it has {', '.join(map(str, reader.steps)) or 'none'}"
        )
    state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0))
    return model, step, reader.read(step, state._replace(optimizer={})).params


def _features(
    model: models.VisionTransformer,
    params: model_lib.Params,
    images: image_set.ImageSet,
    batch_size: int,
    what: str,
    say: Callable[[str], None],
) -> np.ndarray:
    """Returns the features of all images, float32 [n, d]."""
    config = model.config
    batches = batches_lib.ImageEvalBatches(
        images,
        make_batch=models.image_batch.make,
        height=config.image_height,
        width=config.image_width,
        batch_size=batch_size,
        keep_aspect=False,
    )
    function = jax.jit(
        lambda params, batch: model.features(params, models.image_batch.pixels(batch))
    )
    found = []
    for index, batch in enumerate(batches):
        found.append(np.asarray(function(params, batch)))
        say(f"{what}: batch {index + 1} of {len(batches)}")
    if batches.broken.reasons:
        name, reason = next(iter(batches.broken.reasons.items()))
        raise errors.ConfigError(
            f"--data: {len(batches.broken.reasons)} images cannot be decoded, such as "
            f"{name}: {reason}"
        )
    return np.concatenate(found)[: len(images)]
