"""Tests that an image model trains with the ordinary loop, which assumes no text.

Shapes: B batch, H x W pixels of C channels, K classes.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import json
import math
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.train import whole_runs
from clinometer.train import job as job_lib
from clinometer.train import loop
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import schedules
from clinometer.train import sources
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.run import directory as run_directory

_FILLER = -1  # Label of a row with weight 0.
_BATCH_SIZE, _STEPS = 8, 12
_EVAL_ROWS = 13  # The second batch is padded.


@dataclasses.dataclass(frozen=True)
class Shape:
    """Shape of one image."""

    height: int
    width: int
    channels: int


@dataclasses.dataclass(frozen=True)
class Config:
    """Number of classes, and the only image shape that the model accepts."""

    shape: Shape = Shape(4, 6, 3)
    num_classes: int = 5
    dropout_rate: float = 0.1
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Counts:
    """Parameter and FLOP counts of the model."""

    params_total: int
    flops_train_step: int

    def to_dict(self):
        return dataclasses.asdict(self)


class LinearClassifier:
    """A `models.Model` whose logits are linear in the pixels."""

    name = "toy-linear"

    def __init__(self):
        self.config = Config()

    @property
    def _num_pixels(self):
        return math.prod(dataclasses.astuple(self.config.shape))

    def init(self, key):
        kernel = 0.01 * jax.random.normal(
            key, (self._num_pixels, self.config.num_classes)
        )
        return {"head": {"w": kernel, "b": jnp.zeros(self.config.num_classes)}}

    def param_axes(self):
        return {"head": {"w": ("embed", "vocab"), "b": ("vocab",)}}

    def from_canonical(self, params):
        return params

    def abstract_batch(self, batch_size, shape):
        pixels = (batch_size, shape.height, shape.width, shape.channels)
        return {
            "images": jax.ShapeDtypeStruct(pixels, jnp.float32),
            "labels": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        }

    def random_batch(self, seed, batch_size, shape):
        return draw_batch(np.random.default_rng(seed), batch_size, shape)

    def loss(self, params, batch, key=None, *, z_loss=0.0, collect_health=False):
        rows, logits = self._losses(params, batch, key, z_loss)
        sums = models.Loss(*(jnp.sum(values) for values in rows))
        health = {"head/logit_max": jnp.max(logits)} if collect_health else {}
        return models.LossOutputs(sums, batch["labels"].size, jnp.float32(0), health)

    def row_losses(self, params, batch):
        return self._losses(params, batch, None, 0.0)[0]

    def _losses(self, params, batch, key, z_loss):
        x, labels = batch["images"].reshape(batch["labels"].size, -1), batch["labels"]
        if key is not None:
            keep = 1 - self.config.dropout_rate
            x = jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0)
        logits = x @ params["head"]["w"] + params["head"]["b"][None]
        log_z = jax.nn.logsumexp(logits, axis=-1)
        weights = (labels != _FILLER).astype(jnp.float32)
        picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        correct = jnp.argmax(logits, axis=-1) == labels
        rows = models.Loss(
            (log_z - picked) * weights,
            z_loss * log_z**2 * weights,
            weights,
            correct * weights,
        )
        return rows, logits

    def check(self, shape):
        if shape != self.config.shape:
            raise models.ConfigError(f"images of {self.config.shape}, got {shape}")

    def check_parts(self, batch_size, shape, parts):
        if batch_size % parts:
            raise models.ConfigError(f"{parts} parts do not divide {batch_size} images")

    def count(self, batch_size, shape):
        self.check(shape)
        products = self._num_pixels * self.config.num_classes
        return Counts(products + self.config.num_classes, 6 * batch_size * products)


def draw_batch(rng, num_rows, shape):
    """Returns images that are brighter in the column of their class."""
    labels = rng.integers(0, Config.num_classes, num_rows).astype(np.int32)
    size = (num_rows, shape.height, shape.width, shape.channels)
    images = rng.normal(size=size).astype(np.float32)
    images[np.arange(num_rows), :, labels] += 1.0
    return {"images": images, "labels": labels}


class Batches:
    """Training batches that are a function of the step."""

    def iterate(
        self, start_step: int = 0, rows: Sequence[int] | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        assert list(rows) == list(range(_BATCH_SIZE))
        step = start_step
        while True:
            rng = np.random.default_rng([1, step])
            yield draw_batch(rng, _BATCH_SIZE, Config.shape)
            step += 1


def eval_batches():
    rows = draw_batch(np.random.default_rng(2), 2 * _BATCH_SIZE, Config.shape)
    rows["labels"][_EVAL_ROWS:] = _FILLER
    halves = {name: np.split(array, 2) for name, array in rows.items()}
    return [{name: parts[k] for name, parts in halves.items()} for k in range(2)]


def make_job(train_steps: int) -> job_lib.Job:
    config = pretrain.get_config()
    config.model = config_dict.ConfigDict({"name": LinearClassifier.name})
    config.data = config_dict.ConfigDict({"batch_size": _BATCH_SIZE})
    config.train_steps, config.num_microbatches = train_steps, 2
    config.schedule.name, config.schedule.learning_rate = "constant", 0.5
    config.eval.every_steps = config.checkpoint.every_steps = 4
    config.log.every_steps, config.log.health_every_steps = 3, 4
    config.log.trackers = ""
    model = LinearClassifier()
    optimizer = optimizer_lib.make(config.optimizer)
    source = sources.Source(
        shape=model.config.shape,
        tokens_per_row=1,
        batches=Batches(),
        eval_batches=eval_batches(),
        identity={},
        describe=lambda step: {"images_seen": step * _BATCH_SIZE},
    )
    return job_lib.Job(
        config=config_dict.FrozenConfigDict(config),
        model=model,
        source=source,
        initial=None,
        optimizer=optimizer,
        schedule=schedules.make(config.schedule, train_steps),
        placement=job_lib.place(config, model, optimizer, source.shape),
        identity={"model.name": model.name, "seed": config.seed},
        earlier_identity={},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """The run directory of an uninterrupted run; must not be modified."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert loop.train(make_job(_STEPS), workdir) == "finished"
    return workdir


def _saved_params(workdir):
    job = make_job(_STEPS)
    abstract = jax.eval_shape(
        lambda: state_lib.initialise(job.model, job.optimizer, job.config.seed)
    )
    reader = run_directory.RunDirectory(workdir).checkpoints(read_only=True)
    params = reader.read(_STEPS, abstract).params
    reader.close()
    return jax.device_get(params)


def test_it_learns_and_is_evaluated(finished):
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["data"] == {"images_seen": _STEPS * _BATCH_SIZE}
    assert record["counts"]["params_total"] == (4 * 6 * 3 + 1) * 5
    # The same numbers from the saved parameters, in float64 NumPy.
    head = _saved_params(finished)["head"]
    losses, correct = [], []
    for batch in eval_batches():
        x = batch["images"].reshape(_BATCH_SIZE, -1).astype(np.float64)
        logits = x @ head["w"].astype(np.float64) + head["b"]
        for row, label in zip(logits, batch["labels"], strict=True):
            if label != _FILLER:
                losses.append(np.log(np.exp(row).sum()) - row[label])
                correct.append(row.argmax() == label)
    metrics = record["metrics"]
    assert len(losses) == metrics["validation/tokens"] == _EVAL_ROWS
    assert metrics["validation/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics["validation/accuracy"] == pytest.approx(np.mean(correct))
    assert metrics["validation/loss"] < 0.7 * np.log(5)  # Of a uniform guess.
    health = [r for r in whole_runs.records(finished) if "health/head/logit_max" in r]
    assert [r["step"] for r in health] == [4, 8, 12]


def test_it_resumes_exactly(finished, tmp_path):
    assert loop.train(make_job(4), tmp_path) == "finished"
    assert loop.train(make_job(_STEPS), tmp_path) == "finished"
    jax.tree.map(
        np.testing.assert_array_equal, _saved_params(tmp_path), _saved_params(finished)
    )
    resumed, whole = (whole_runs.records(folder) for folder in (tmp_path, finished))
    # The shorter run logged its last step, too.
    extra = [r for r in resumed if r not in whole]
    assert all(r["step"] in (4, 6) for r in extra)
    assert resumed[-1] == whole[-1]
