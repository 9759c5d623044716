"""Tests of few-shot accuracy against scikit-learn, and of its invariances."""

import numpy as np
import pytest
from sklearn import linear_model

from clinometer.train.fewshot import ridge


def _clusters(each, spread, classes=4, d=12, seed=0):
    """Features around one centre for each class, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(classes, d))
    labels = np.repeat(np.arange(classes), each)
    noise = rng.normal(size=(len(labels), d))
    return centres[labels] + spread * noise, labels


@pytest.mark.parametrize("each", [2, 3, 10])  # 8, 12 and 40 rows for 13 columns.
@pytest.mark.parametrize("l2", [0.5, 1024.0])
def test_weights_are_those_of_scikit_learn(each, l2):
    features, labels = _clusters(each, 0.7)
    design = ridge.design(features, features)
    targets = 2.0 * np.eye(4)[labels] - 1
    peer = linear_model.Ridge(alpha=l2, fit_intercept=False, solver="svd")
    expected = peer.fit(design, targets).coef_.T
    found = ridge.fit(features, labels, 4, l2)
    # Squares of the constant, 1e4 times as large as the others, cost four digits.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11)


def test_both_systems_have_one_solution():
    features, labels = _clusters(3, 0.7)
    x = ridge.design(features, features)
    y = 2.0 * np.eye(4)[labels] - 1
    primal = np.linalg.solve(x.T @ x + 1024 * np.eye(13), x.T @ y)
    dual = x.T @ np.linalg.solve(x @ x.T + 1024 * np.eye(12), y)
    np.testing.assert_allclose(primal, dual, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ridge.fit(features, labels, 4), dual, atol=1e-10)


def test_scaling_and_moving_a_feature_changes_nothing():
    features, labels = _clusters(30, 1.0)
    test, test_labels = _clusters(50, 1.0, seed=1)
    scale = np.geomspace(0.1, 10, 12)
    plain = ridge.accuracies(features, labels, test, test_labels)
    moved = ridge.accuracies(
        scale * features + 3, labels, scale * test + 3, test_labels
    )
    assert plain == moved
    values = [np.mean(plain[number]) for number in ridge.SHOTS]
    assert values == sorted(values) and 0.25 < values[0] < values[-1] <= 1


def test_an_infinite_penalty_leaves_the_constant_alone():
    features, labels = _clusters(20, 0.1)
    kept = np.concatenate(
        [np.flatnonzero(labels == 0)[:20], np.flatnonzero(labels)[::4]]
    )
    # Features are divided by about 1 and the constant is 100, so that the largest
    # class wins everywhere as the penalty grows.
    weights = ridge.fit(features[kept], labels[kept], 4, 1e30)
    guesses = ridge.predict(weights, features[kept], features)
    assert set(guesses) == {0}
    weak = ridge.predict(
        ridge.fit(features[kept], labels[kept], 4, 1.0), features[kept], features
    )
    assert np.mean(weak == labels) == 1


def test_separate_clusters_are_classified_without_error():
    features, labels = _clusters(12, 0.0)
    test, test_labels = _clusters(20, 0.0, seed=1)
    found = ridge.accuracies(features, labels, test, test_labels, shots=(1, 10))
    assert found == {1: [1.0] * 3, 10: [1.0] * 3}


def test_the_draws_are_those_of_numpy():
    labels = np.array([1, 0, 1, 0, 0, 1])
    rng = np.random.default_rng(2)
    first = rng.permutation([1, 3, 4])
    second = rng.permutation([0, 2, 5])
    drawn = ridge.draw(labels, 2, 2)
    np.testing.assert_array_equal(drawn[0], first)
    np.testing.assert_array_equal(drawn[1], second)


def test_features_of_the_drawn_images_are_enough():
    features, labels = _clusters(30, 1.0)
    test, test_labels = _clusters(50, 1.0, seed=1)
    options = {"shots": (1, 5), "seeds": (0, 4)}
    rows = ridge.drawn(labels, 4, (1, 5), (0, 4))
    assert len(rows) <= 40 and np.all(np.diff(rows) > 0)
    whole = ridge.accuracies(features, labels, test, test_labels, **options)
    part = ridge.accuracies(
        features[rows], labels, test, test_labels, rows=rows, **options
    )
    assert whole == part


def test_the_test_images_are_normalised_as_the_others():
    features, test = np.array([[1.0], [3.0]]), np.array([[2.0], [5.0]])
    found = ridge.design(features, test)
    expected = [[0.0, 100.0], [3 / (1 + 1e-5), 100.0]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "labels, test_labels, shots, words",
    [
        ([0, 0, 1], [0], (2,), "the class 1 has 1 images to draw 2 from"),
        ([0, 0], [0], (1,), "only one class"),
        ([0, 1], [], (1,), "no test images"),
        ([0, 1], [2], (1,), "the class 2 has 0 images"),
    ],
)
def test_bad_data(labels, test_labels, shots, words):
    features, test = np.zeros((len(labels), 2)), np.zeros((len(test_labels), 2))
    count = None if test_labels else 2
    with pytest.raises(ridge.FewShotError, match=words):
        ridge.accuracies(
            features,
            np.array(labels),
            test,
            np.array(test_labels, int),
            num_classes=count,
            shots=shots,
        )


def test_shuffled_labels_are_those_of_the_drawn_images():
    features, labels = _clusters(10, 0.1)
    test_features, test_labels = _clusters(50, 0.1, seed=1)
    (scores,) = ridge.accuracies(
        features, labels, test_features, test_labels, shots=(5,), seeds=(0, 1, 2)
    ).values()
    assert min(scores) == 1.0
    (shuffled,) = ridge.accuracies(
        features,
        labels,
        test_features,
        test_labels,
        shots=(5,),
        seeds=(0, 1, 2),
        shuffle_labels=True,
    ).values()
    for seed, score in zip((0, 1, 2), shuffled):
        chosen = np.concatenate([one[:5] for one in ridge.draw(labels, 4, seed)])
        given = np.random.default_rng(seed).permutation(labels[chosen])
        weights = ridge.fit(features[chosen], given, 4)
        guesses = ridge.predict(weights, features[chosen], test_features)
        assert score == np.mean(guesses == test_labels) < 0.9
