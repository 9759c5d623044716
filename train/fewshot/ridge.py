"""Few-shot accuracy of a linear classifier on frozen features, by ridge regression.

It is the evaluation of *Scale Efficiently*'s Table 5 (`fewshot_lsr` in Big Vision). For
each seed, some images of each class are drawn. Their features are normalised by their
own mean and standard deviation, a constant of 100 is appended in place of a bias, which
the penalty then hardly touches, and W minimises |X W - Y|^2 + l2 |W|^2, with Y +1 at
the class of an image and -1 elsewhere. An image's class is the largest of its outputs.

Shapes: N images, d features, C classes.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

SHOTS = (1, 5, 10, 25)
SEEDS = (0, 1, 2)
L2 = 2.0**10
_CONSTANT = 100.0
_EPSILON = 1e-5


class FewShotError(ValueError):
    """The data do not allow the evaluation; the message says what they lack."""


def accuracies(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    num_classes: int | None = None,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = SEEDS,
    l2: float = L2,
    rows: np.ndarray | None = None,
    shuffle_labels: bool = False,
) -> dict[int, list[float]]:
    """Returns the accuracy for each number of shots and each seed, in [0, 1].

    Args:
        features: of the images to draw from, [N, d]; or only of those in `rows`.
        labels: their classes, int [N], 0 to C - 1.
        test_features: of the images to classify, [M, d].
        test_labels: their classes, int [M].
        num_classes: C; None for one more than the largest label.
        shots: numbers of images of each class.
        seeds: of the draws. The images of fewer shots are among those of more.
        l2: weight of the penalty.
        rows: rising indices of the images whose features are given; None for all. They
            must include all that are drawn, see `drawn`.
        shuffle_labels: whether the drawn images exchange their labels at random, which
            gives the accuracy of chance.

    Returns:
        shots -> accuracies by seed.

    Raises:
        FewShotError: a class has less images than shots, there is only one class, or no
            test images.
    """
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    count = num_classes or int(max(labels.max(), test_labels.max())) + 1
    check(labels, test_labels, count, shots)
    found: dict[int, list[float]] = {number: [] for number in shots}
    for seed in seeds:
        by_class = draw(labels, count, seed)
        for number in shots:
            chosen = np.concatenate([of_class[:number] for of_class in by_class])
            places = chosen if rows is None else np.searchsorted(rows, chosen)
            given = labels[chosen]
            if shuffle_labels:
                given = np.random.default_rng(seed).permutation(given)
            weights = fit(features[places], given, count, l2)
            guesses = predict(weights, features[places], test_features)
            found[number].append(float(np.mean(guesses == test_labels)))
    return found


def check(
    labels: np.ndarray,
    test_labels: np.ndarray,
    num_classes: int,
    shots: Sequence[int],
    names: Sequence[str] = (),
) -> None:
    """Raises FewShotError unless there are enough images of every class.

    Args:
        labels: classes of the images to draw from, int [N].
        test_labels: classes of the images to classify, int [M].
        num_classes: C.
        shots: numbers of images of each class.
        names: of the classes, for the message.
    """
    if num_classes < 2:
        raise FewShotError("there is only one class; a classifier needs two or more")
    if not len(test_labels):
        raise FewShotError("there are no test images")
    counts = np.bincount(labels, minlength=num_classes)
    least = int(np.argmin(counts))
    if counts[least] < max(shots):
        name = names[least] if names else least
        raise FewShotError(
            f"the class {name!r} has {counts[least]} images to draw {max(shots)} from; "
            f"accepted: up to {counts[least]} shots"
        )


def draw(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """Returns the indices of each class's images in a random order.

    Args:
        labels: int [N].
        num_classes: C.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    return [
        rng.permutation(np.flatnonzero(labels == label)) for label in range(num_classes)
    ]


def drawn(
    labels: np.ndarray, num_classes: int, shots: Sequence[int], seeds: Sequence[int]
) -> np.ndarray:
    """Returns the rising indices of all images that `accuracies` uses.

    Args:
        labels: int [N].
        num_classes: C.
        shots: numbers of images of each class.
        seeds: of the draws.
    """
    chosen = [
        of_class[: max(shots)]
        for seed in seeds
        for of_class in draw(labels, num_classes, seed)
    ]
    return np.unique(np.concatenate(chosen))


def fit(
    features: np.ndarray, labels: np.ndarray, num_classes: int, l2: float = L2
) -> np.ndarray:
    """Returns the weights of the ridge regression, float64 [d + 1, C].

    The smaller of the two equivalent systems is solved: with N images or with d + 1
    features.

    Args:
        features: [N, d].
        labels: int [N].
        num_classes: C.
        l2: weight of the penalty.
    """
    x = design(features, features)
    y = np.where(labels[:, np.newaxis] == np.arange(num_classes), 1.0, -1.0)
    if len(x) >= x.shape[1]:
        return _solve(x.T @ x, l2, x.T @ y)
    return x.T @ _solve(x @ x.T, l2, y)


def predict(
    weights: np.ndarray, features: np.ndarray, test_features: np.ndarray
) -> np.ndarray:
    """Returns the classes of images, int [M].

    Args:
        weights: from `fit`, [d + 1, C].
        features: those that were fitted, [N, d].
        test_features: of the images to classify, [M, d].
    """
    return np.argmax(design(features, test_features) @ weights, axis=1)


def design(features: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Returns normalised features and the constant, float64 [M, d + 1].

    Args:
        features: those with whose mean and standard deviation to normalise, [N, d].
        of: those to normalise, [M, d].
    """
    features = np.asarray(features, np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    made = (np.asarray(of, np.float64) - mean) / (deviation + _EPSILON)
    return np.concatenate([made, np.full((len(made), 1), _CONSTANT)], axis=1)


def _solve(matrix: np.ndarray, l2: float, right: np.ndarray) -> np.ndarray:
    """Solves (matrix + l2 I) x = right for a symmetric, non-negative matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ ((vectors.T @ right) / (values[:, np.newaxis] + l2))


def summary(found: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """Returns the mean accuracy over seeds for each number of shots."""
    return {number: float(np.mean(values)) for number, values in found.items()}
