"""The difference in loss of two trained models, by a paired bootstrap of rows.

It compares two trained models, never two architectures: the resampled rows say what
other validation data could show, and nothing about what other seeds of either model
would. Rows are resampled as if independent, though neighbors may share a document.
"""

import dataclasses

import numpy as np
from scipy import stats

from clinometer.tools.inference import errors
from clinometer.train.run import validation_rows

CONFIDENCE = 0.95
RESAMPLES = 10_000
SCOPE = (
    "The interval is over validation rows, for these two trained models. It does not "
    "compare architectures: another seed of either model may differ by more than this."
)
_CHUNK = 1 << 22  # Number of indices drawn at a time.


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Losses of two trained models on the same rows, in nats per target.

    Attributes:
        rows: number of rows.
        losses: mean losses of the two models.
        difference: the first loss less the second.
        standard_error: of the difference, over rows.
        interval: 95 % percentile interval of the difference, over rows.
        resamples: number of resamples of the rows.
    """

    rows: int
    losses: tuple[float, float]
    difference: float
    standard_error: float
    interval: tuple[float, float]
    resamples: int


def compare(
    one: validation_rows.ValidationRows,
    other: validation_rows.ValidationRows,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compares two trained models.

    Args:
        one: losses of the first model.
        other: losses of the second model on the same rows.
        resamples: number of resamples of the rows, at least 2.

    Raises:
        InferenceError: the rows are not the same, or are fewer than two, or the losses
            of all rows differ by the same amount.
    """
    _check_same(one, other)
    targets = one.targets.astype(np.float64)
    differences = one.losses - other.losses
    if not np.ptp(differences / targets):
        raise errors.InferenceError(
            "the losses of all rows differ by the same amount, so these are not two "
            "separately trained models; is one run a copy of the other?"
        )

    def per_target(
        differences: np.ndarray, targets: np.ndarray, axis: int
    ) -> np.ndarray:
        return differences.sum(axis=axis) / targets.sum(axis=axis)

    found = stats.bootstrap(
        (differences, targets),
        per_target,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CHUNK // len(targets)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    total = targets.sum()
    return Comparison(
        rows=len(targets),
        losses=(float(one.losses.sum() / total), float(other.losses.sum() / total)),
        difference=float(differences.sum() / total),
        standard_error=float(found.standard_error),
        interval=tuple(map(float, found.confidence_interval)),
        resamples=resamples,
    )


def _check_same(
    one: validation_rows.ValidationRows, other: validation_rows.ValidationRows
) -> None:
    if not np.array_equal(one.digests, other.digests) or not np.array_equal(
        one.targets, other.targets
    ):
        shared = len(np.intersect1d(one.digests, other.digests))
        raise errors.InferenceError(
            f"evaluated on different rows: {len(one.digests):,} and "
            f"{len(other.digests):,} rows, of which {shared:,} are the same. The runs "
            "need the same token store or tasks, lengths, noise and number of "
            "validation rows"
        )
    if len(one.digests) < 2:
        raise errors.InferenceError("one validation row; at least two are needed")
