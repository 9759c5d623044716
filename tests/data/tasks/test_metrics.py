"""Metrics, compared with cases by hand, scikit-learn, SciPy and rouge-score."""

import math

import numpy as np
import pytest
from rouge_score import rouge_scorer
from scipy import stats
from sklearn import metrics as sklearn_metrics

from clinometer.data.errors import DataError
from clinometer.data.tasks import metrics
from clinometer.data.tasks import scores

LABELS = ("entailment", "not_entailment")


def _random_classes(num_classes, seed=0, size=200):
    """Returns answers, and predictions that are mostly correct and partly invalid."""
    rng = np.random.default_rng(seed)
    answers = rng.integers(num_classes, size=size)
    other = rng.integers(-1, num_classes, size=size)
    return answers, np.where(rng.random(size) < 0.6, answers, other)


@pytest.mark.parametrize(
    ("prediction", "index"),
    [
        ("entailment", 0),
        ("not_entailment", 1),
        ("Entailment", -1),
        (" entailment", -1),
        ("entail", -1),
        ("", -1),
    ],
)
def test_class_index_is_to_the_letter(prediction, index):
    assert metrics.class_index(prediction, LABELS) == index


def test_accuracy_counts_invalid_as_wrong():
    assert metrics.accuracy([0, 1, 1, 0], [0, 1, -1, 1]) == 50.0
    assert metrics.accuracy([2], [2]) == 100.0


def test_matthews_by_hand():
    # TP 2, TN 1, FP 0, FN 1: 2 / sqrt(2 * 3 * 1 * 2).
    value = metrics.matthews([1, 1, 1, 0], [1, 1, 0, 0])
    assert value == pytest.approx(100 * 2 / math.sqrt(12), abs=1e-9)
    assert metrics.matthews([1, 0, 1], [1, 1, 1]) == 0.0
    assert metrics.matthews([1, 0], [0, 1]) == pytest.approx(-100)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_matthews_has_invalid_as_a_class_of_its_own(num_classes):
    answers, predictions = _random_classes(num_classes)
    assert (predictions == -1).any()
    expected = 100 * sklearn_metrics.matthews_corrcoef(answers, predictions)
    assert metrics.matthews(answers, predictions) == pytest.approx(expected, abs=1e-9)
    wrong = np.where(predictions == -1, (answers + 1) % num_classes, predictions)
    # The difference is larger than rounding errors.
    assert abs(metrics.matthews(answers, wrong) - expected) > 0.1


def test_f1_takes_invalid_for_the_wrong_label():
    # The invalid predictions count as a false negative and a false positive of class 1:
    # TP 1, FP 1, FN 1.
    assert metrics.f1_binary([1, 1, 0, 0], [1, -1, -1, 0]) == pytest.approx(50)
    answers, predictions = _random_classes(2)
    replaced = np.where(predictions == -1, 1 - answers, predictions)
    expected = 100 * sklearn_metrics.f1_score(answers, replaced)
    assert metrics.f1_binary(answers, predictions) == pytest.approx(expected)
    assert metrics.f1_binary([0, 0], [0, 0]) == 0.0


def test_macro_f1_over_all_classes():
    answers, predictions = _random_classes(3)
    expected = sklearn_metrics.f1_score(
        answers, predictions, labels=[0, 1, 2], average="macro"
    )
    value = metrics.f1_macro(answers, predictions, 3)
    assert value == pytest.approx(100 * expected)
    # Class 2 occurs in neither answers nor predictions, so its F1 is 0.
    assert metrics.f1_macro([0, 1], [0, 1], 3) == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(metrics.pearson, stats.pearsonr), (metrics.spearman, stats.spearmanr)],
)
def test_correlations_equal_scipy(ours, theirs):
    rng = np.random.default_rng(1)
    answers = rng.integers(26, size=100) / 5
    numbers = np.round(answers + rng.normal(size=100), 1)
    texts = [str(number) for number in numbers]
    expected = 100 * theirs(answers, numbers).statistic
    assert ours(answers, texts) == pytest.approx(expected, abs=1e-9)
    texts[3], numbers[3] = "three", -1.0
    expected = 100 * theirs(answers, numbers).statistic
    assert ours(answers, texts) == pytest.approx(expected, abs=1e-9)
    assert ours([1.0, 2.0, 3.0], ["2.0"] * 3) == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [("3.8", 3.8), (" 5 ", 5.0), ("", -1), ("3,8", -1), ("nan", -1), ("inf", -1)],
)
def test_what_is_no_number_is_minus_one(text, number):
    assert metrics.parse_number(text) == number


@pytest.mark.parametrize(
    ("accepted", "prediction", "exact", "f1"),
    [
        # Case, punctuation, articles and whitespace are ignored.
        (["Denver Broncos"], "the  Denver Broncos!", 1, 1),
        (["U.S."], "us", 1, 1),
        (["anthem"], "them", 0, 0),
        # Punctuation is removed without leaving a blank.
        (["Saint-Denis"], "Saint Denis", 0, 0),
        # Bags of three words each that have one cat and one dog in common.
        (["cat cat dog"], "cat dog dog", 0, 2 / 3),
        (["in the year 1066"], "1066", 0, 2 * 1 * (1 / 3) / (1 + 1 / 3)),
        # The best answer counts, for each of the two metrics separately.
        (["1066", "the year 1066", "in 1066"], "year 1066", 1, 1),
        (["north east", "east of it"], "north", 0, 2 / 3),
        # If both are empty, the texts are equal but have no words in common.
        (["an"], "the", 1, 0),
        (["word"], "", 0, 0),
        # Only ASCII punctuation is removed.
        (["“word”"], "word", 0, 0),
    ],
)
def test_squad_rules(accepted, prediction, exact, f1):
    value = metrics.squad([accepted], [prediction])
    assert value["em"] == 100 * exact
    assert value["f1"] == pytest.approx(100 * f1)


def test_squad_is_the_mean_over_questions():
    value = metrics.squad([["a cat"], "dog", ["one two"]], ["cat", "cat", "one"])
    assert value["em"] == pytest.approx(100 / 3)
    assert value["f1"] == pytest.approx(100 * (1 + 0 + 2 / 3) / 3)


def test_multirc_by_hand():
    groups = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0)]
    answers = [1, 0, 1, 1, 0]
    predictions = [1, 0, 1, 0, -1]
    value = metrics.multirc(groups, answers, predictions)
    # TP 2, FN 1, and the invalid one is a false positive: 2 * 2 / (3 + 3).
    assert value["f1"] == pytest.approx(100 * 4 / 6)
    # Only for the first of the three questions are all answers correct.
    assert value["em"] == pytest.approx(100 / 3)


def test_record_counts_a_query_once():
    groups = ["q1", "q1", "q1", "q2"]
    answers = [["Paris"], ["the city"], ["France"], ["Bob Hope"]]
    predictions = ["City", "City", "City", "Bob"]
    value = metrics.record(groups, answers, predictions)
    assert value["em"] == 50
    assert value["f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    whole = [["Paris", "the city", "France"]] * 3 + [["Bob Hope"]]
    assert metrics.record(groups, whole, predictions) == value


@pytest.mark.parametrize(
    ("prediction", "referent", "expected"),
    [
        ("the cat", "The Cat", 1),
        ("her father", "father", 1),
        ("bunny", "the fuzzy bunny", 1),
        ("the fuzzy bunny rabbit", "fuzzy bunny", 1),
        ("fuzzy dog", "fuzzy bunny", 0),
        ("Bob", "Bob's hat", 0),
        ("Bob's", "Bob's hat", 1),
        ("bun", "bunny", 0),
        ("", "bunny", -1),
        ("the", "the bunny", -1),
    ],
)
def test_wsc_referents(prediction, referent, expected):
    assert metrics.wsc_class(prediction, referent) == expected
    assert metrics.wsc_match(prediction, referent) == (expected == 1)


def test_rouge_by_hand():
    value = metrics.rouge(["the cat sat"], ["The cat"])
    # Unigrams: two of two and two of three match; bigrams: one of one and one of two.
    assert value["rouge1"] == value["rougeLsum"] == pytest.approx(80)
    assert value["rouge2"] == pytest.approx(100 * 2 / 3)
    # There is no stemming, and punctuation is ignored.
    assert metrics.rouge(["cats"], ["cat"])["rouge1"] == 0
    assert metrics.rouge(["cat!"], ["cat"])["rouge1"] == 100


def test_rouge_l_goes_by_sentences_that_end_in_a_spaced_full_stop():
    assert metrics.rouge(["a b . c d"], ["c d . a b"])["rougeLsum"] == 100
    assert metrics.rouge(["a b. c d"], ["c d. a b"])["rougeLsum"] == 50


def test_rouge_is_the_mean_of_the_packages_f_measures():
    references = ["one two three . four five", "six seven", "eight"]
    predictions = ["four five . one two", "seven six", "nine"]
    value = metrics.rouge(references, predictions)
    names = ["rouge1", "rouge2", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=False)
    each = [
        scorer.score(reference.replace(" . ", " .\n"), said.replace(" . ", " .\n"))
        for reference, said in zip(references, predictions)
    ]
    for name in names:
        expected = 100 * np.mean([one[name].fmeasure for one in each])
        assert value[name] == pytest.approx(expected)


def _resampled(score, recompute, num_units):
    """Compares a score's replicates with the metric of each drawn sample."""
    drawn = np.random.default_rng(2).integers(num_units, size=(5, num_units))
    values = score.replicates(drawn)
    assert len(set(values)) > 1
    for value, indices in zip(values, drawn):
        assert value == pytest.approx(recompute(indices), abs=1e-9)


def test_replicates_are_the_metric_of_the_drawn_examples():
    answers, predictions = _random_classes(3, size=60)
    for ours in (metrics.accuracy, metrics.matthews):
        _resampled(
            ours(answers, predictions),
            lambda drawn, ours=ours: ours(answers[drawn], predictions[drawn]),
            60,
        )
    _resampled(
        metrics.f1_macro(answers, predictions, 3),
        lambda drawn: metrics.f1_macro(answers[drawn], predictions[drawn], 3),
        60,
    )
    _resampled(
        metrics.spearman(answers, predictions),
        lambda drawn: (
            100 * stats.spearmanr(answers[drawn], predictions[drawn]).statistic
        ),
        60,
    )
    _resampled(
        metrics.matthews(answers, predictions),
        lambda drawn: (
            100 * sklearn_metrics.matthews_corrcoef(answers[drawn], predictions[drawn])
        ),
        60,
    )


def test_multirc_draws_whole_questions():
    answers, predictions = _random_classes(2, size=60)
    value = metrics.multirc(np.arange(60) // 3, answers, predictions)
    assert value["f1"].num_units == value["em"].num_units == 20

    def recompute(name):
        def of(drawn):
            rows = (3 * drawn[:, None] + np.arange(3)).ravel()
            groups = np.repeat(np.arange(len(drawn)), 3)
            return metrics.multirc(groups, answers[rows], predictions[rows])[name]

        return of

    _resampled(value["f1"], recompute("f1"), 20)
    _resampled(value["em"], recompute("em"), 20)


@pytest.mark.parametrize(
    "score",
    [
        lambda: metrics.accuracy([0, 1], [0]),
        lambda: metrics.squad([["a"]], []),
        lambda: metrics.record(["q"], [["a"]], ["a", "b"]),
        lambda: metrics.rouge(["a"], []),
        lambda: metrics.pearson([1.0], []),
        lambda: metrics.multirc([1], [0, 1], [0, 1]),
    ],
)
def test_other_numbers_of_answers_and_predictions(score):
    with pytest.raises(DataError, match="but . predictions"):
        score()


@pytest.mark.parametrize("answer", [None, -1, 2])
def test_an_answer_that_is_no_class(answer):
    with pytest.raises(DataError, match=f"Example 1 has answer {answer}; accepted"):
        metrics.f1_binary([0, answer], [0, 0])


def test_nothing_to_score():
    for score in (metrics.accuracy, metrics.squad, metrics.matthews, metrics.pearson):
        with pytest.raises(DataError, match="nothing to score"):
            score([], [])
    with pytest.raises(DataError, match="no accepted answer"):
        metrics.squad([[]], ["a"])


def test_scores_are_numbers():
    value = metrics.accuracy([0, 1], [0, 0])
    assert isinstance(value, float) and isinstance(value, scores.Score)
    assert f"{value:.1f}" == "50.0"
