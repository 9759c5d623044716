"""Scores the features of a run on images that it was not trained on.

Two controls say what a score is worth: that of the features with the run's initial
parameters, and that with the labels of the drawn images shuffled.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
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
from clinometer.train import trained
from clinometer.train.fewshot import names
from clinometer.train.fewshot import ridge
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.sharding import mesh as mesh_lib
from clinometer.train.sharding import placement as placement_lib

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
        controls: whether to score random features and shuffled labels, too.
        batch_size: images per batch.
        mesh: sizes of axes of the mesh, see `trained.place`.
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
    controls: bool = False
    batch_size: int = 64
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)


def evaluate(
    request: Request, say: Callable[[str], None] = lambda text: None
) -> tuple[run_record.Evaluation, ...]:
    """Scores a run.

    Args:
        request: what to score.
        say: called with progress messages.

    Returns:
        The results, those of the controls last. For each number of shots they have a
        task such as "10-shot", whose score is the mean accuracy over the seeds, in
        percent.

    Raises:
        RunError: there is no such run, checkpoint or folder, the run is not of images,
            or a class has too few images.
        ConfigError: the mesh does not fit the devices, the model or the batch.
    """
    record = initial.read_record(request.run)
    if record.kind != run_record.CLASSIFICATION:
        raise errors.RunError(
            f"{request.run}: was trained on texts; few-shot evaluation needs a model "
            "of images"
        )
    model, optimizer = initial.built(record)
    placed = trained.place(record, model, optimizer, request.batch_size, request.mesh)
    pool, test = open_images(request)
    rows = ridge.drawn(pool.labels, len(pool.classes), request.shots, request.seeds)
    drawn = pool.subset(rows)
    options = {
        "folder": request.folder,
        "classes": list(pool.classes),
        "test_share": request.test_share,
        "pool": request.pool,
        "seeds": list(request.seeds),
        "l2": request.l2,
        "drawn_sha256": content_hash(drawn),
        "test_sha256": content_hash(test),
    }

    def features(step: int | None) -> tuple[int, list[np.ndarray]]:
        found, params = _restored(request.run, step, record.seed, model, placed)
        with mesh_lib.shard_over(placed.mesh):
            return found, [
                _features(model, params, images, placed, what, say)
                for what, images in (("drawn", drawn), ("classified", test))
            ]

    step, own = features(request.step)
    scored = [(names.MIXTURE if step else names.RANDOM_FEATURES, step, own)]
    if request.controls:
        if step:
            scored.append((names.RANDOM_FEATURES, *features(0)))
        scored.append((names.SHUFFLED_LABELS, step, own))
    return tuple(
        run_record.Evaluation(
            mixture=name,
            evaluated_at=run_record.now(),
            options=options,
            tasks=_tasks(
                request,
                ridge.accuracies(
                    of_drawn,
                    pool.labels,
                    of_test,
                    test.labels,
                    num_classes=len(pool.classes),
                    shots=request.shots,
                    seeds=request.seeds,
                    l2=request.l2,
                    rows=rows,
                    shuffle_labels=name == names.SHUFFLED_LABELS,
                ),
                step=at,
                examples=len(test),
            ),
        )
        for name, at, (of_drawn, of_test) in scored
    )


def _tasks(
    request: Request, found: Mapping[int, Sequence[float]], *, step: int, examples: int
) -> dict[str, run_record.EvaluatedTask]:
    return {
        f"{number}-shot": run_record.EvaluatedTask(
            step=step,
            score=100 * float(np.mean(values)),
            no_standard_error="the draws share the test images",
            metrics={
                f"seed_{seed}": 100 * value
                for seed, value in zip(request.seeds, values, strict=True)
            },
            examples=examples,
        )
        for number, values in found.items()
    }


def content_hash(images: image_set.ImageSet) -> str:
    """Returns a hash of the contents of all images, in any order.

    Args:
        images: the images, all of which are read.
    """
    hashes = sorted(
        hashlib.sha256(images.read(index)).digest() for index in range(len(images))
    )
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def render(found: Sequence[run_record.Evaluation]) -> str:
    """Returns the results as a table."""
    lines = ["shots    accuracy    by seed"]
    for one in found:
        if one.mixture != names.MIXTURE:
            lines.append(
                one.mixture.removeprefix(f"{names.MIXTURE}-").replace("-", " ")
            )
        for name, task in one.tasks.items():
            seeds = "  ".join(f"{value:.1f}" for value in task.metrics.values())
            lines.append(
                f"{name.removesuffix('-shot'):>5}    {task.score:6.1f} %    {seeds}"
            )
    return "\n".join(lines)


def open_images(request: Request) -> tuple[image_set.ImageSet, image_set.ImageSet]:
    """Returns the images to draw from and those to classify.

    Args:
        request: what to score; its run is not read.

    Raises:
        ConfigError: there is no such folder, or it has too few images of a class.
    """
    try:
        pool, test = _images(request)
        ridge.check(
            pool.labels, test.labels, len(pool.classes), request.shots, pool.classes
        )
    except data_errors.DataError as error:
        raise errors.ConfigError(f"--data: {error}") from error
    except ridge.FewShotError as error:
        raise errors.ConfigError(f"--shots: {request.folder}: {error}") from error
    return pool, test


def _images(request: Request) -> tuple[image_set.ImageSet, image_set.ImageSet]:
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
    run: paths.AnyPath,
    step: int | None,
    seed: int,
    model: models.VisionTransformer,
    placed: placement_lib.Placement,
) -> tuple[int, model_lib.Params]:
    """Returns the step of a checkpoint and its parameters, on the mesh."""
    if step == 0:
        params = model.from_canonical(model.init(jax.random.key(seed)))
        return 0, jax.device_put(params, placed.state_shardings.params)
    reader = run_directory.RunDirectory(run).checkpoints(read_only=True)
    found = max(reader.steps, default=None) if step is None else step
    if found not in reader.steps:
        raise errors.ConfigError(
            f"--step: {run} has no checkpoint"
            + (f" of step {found}" if found is not None else "")
            + f"; it has {', '.join(map(str, reader.steps)) or 'none'}"
        )
    return found, reader.read(found, placed.state._replace(optimizer={})).params


def _features(
    model: models.VisionTransformer,
    params: model_lib.Params,
    images: image_set.ImageSet,
    placed: placement_lib.Placement,
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
        batch_size=placed.batch_size,
        keep_aspect=False,
    )
    function = jax.jit(
        lambda params, batch: model.features(params, models.image_batch.pixels(batch)),
        out_shardings=placed.whole,
    )
    found = []
    for index, batch in enumerate(batches):
        found.append(np.asarray(function(params, placed.put_whole(batch))))
        say(f"{what}: batch {index + 1} of {len(batches)}")
    if batches.broken.reasons:
        name, reason = next(iter(batches.broken.reasons.items()))
        raise errors.ConfigError(
            f"--data: {len(batches.broken.reasons)} images cannot be decoded, such as "
            f"{name}: {reason}"
        )
    return np.concatenate(found)[: len(images)]
