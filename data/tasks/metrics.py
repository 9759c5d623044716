"""Metrics of the downstream tasks, as T5 computes them (FORMATS.md#metrics).

Every value is in percent and a `scores.Score`, a number with its sampling error.
Classes are indices; -1 is a prediction that is no label. The sums behind each formula
are kept, so that a thousand resamples cost one matrix product.
"""

import collections
from collections.abc import Hashable
from collections.abc import Sequence
import math
import re
import string

import numpy as np
from scipy import stats

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores
from clinometer.data.tasks.scores import Score

INVALID = -1
# What T5 gives to a prediction that is not a number.
INVALID_NUMBER = -1.0

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Words that do not tell one referent of the Winograd schemas from another.
_DETERMINERS = frozenset(
    ("a", "an", "few", "her", "his", "each", "every", "many", "much", "my", "our")
    + ("some", "that", "the", "their", "these", "this", "those", "which", "whose")
    + ("your",)
)


# Classes.


def class_index(prediction: str, labels: Sequence[str]) -> int:
    """The index of the label that a prediction is, to the letter; -1 if it is none."""
    return labels.index(prediction) if prediction in labels else INVALID


def accuracy(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """The share of predictions that are right."""
    answers, predictions = _classes(answers, predictions)
    return scores.mean(answers == predictions)


def matthews(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """Matthews correlation; -1 is a class of its own (scikit-learn's many classes).

    0 where it is undefined: one class only among the answers or the predictions.
    """
    answers, predictions = _classes(answers, predictions)
    size = 1 + max(answers.max(initial=0), predictions.max(initial=0)) - INVALID
    cells = (answers - INVALID) * size + predictions - INVALID

    def finish(sums: np.ndarray) -> np.ndarray:
        confusion = sums.reshape(*sums.shape[:-1], size, size)
        total = confusion.sum(axis=(-2, -1))
        right = np.trace(confusion, axis1=-2, axis2=-1)
        true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
        covariance = right * total - (true * said).sum(axis=-1)
        spread = np.sqrt(
            (total**2 - (true**2).sum(axis=-1)) * (total**2 - (said**2).sum(axis=-1))
        )
        return 100 * _ratio(covariance, spread)

    return scores.of_sums(np.eye(size * size)[cells], finish)


def f1_binary(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """F1 of class 1; a prediction that is neither 0 nor 1 counts as the wrong one."""
    answers, predictions = _binary(answers, predictions)
    return scores.of_sums(_f1_counts(answers == 1, predictions == 1), _f1)


def f1_macro(
    answers: Sequence[int], predictions: Sequence[int], num_classes: int
) -> Score:
    """The mean of the classes' F1; 0 for a class that nobody has or predicts."""
    answers, predictions = _classes(answers, predictions, num_classes)
    rows = np.stack(
        [_f1_counts(answers == k, predictions == k) for k in range(num_classes)], axis=1
    )

    def finish(sums: np.ndarray) -> np.ndarray:
        return _f1(sums.reshape(*sums.shape[:-1], num_classes, 3)).mean(axis=-1)

    return scores.of_sums(rows.reshape(len(rows), -1), finish)


def multirc(
    groups: Sequence[Hashable], answers: Sequence[int], predictions: Sequence[int]
) -> dict[str, Score]:
    """MultiRC: `f1` over all answers, and `em`, the share of wholly right questions.

    Args:
        groups: the question of each answer.
        answers: 1 where the answer is true, else 0.
        predictions: likewise, or -1.
    """
    _check_lengths("groups", groups, predictions)
    answers, predictions = _binary(answers, predictions)
    question = _group_indices(groups)
    counts = np.zeros([question.max(initial=-1) + 1, 3])
    np.add.at(counts, question, _f1_counts(answers == 1, predictions == 1))
    right = np.ones(len(counts))
    np.minimum.at(right, question, (answers == predictions).astype(float))
    return {"f1": scores.of_sums(counts, _f1), "em": scores.mean(right)}


# Numbers.


def pearson(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> Score:
    """Pearson correlation; texts are read as numbers, -1 if they are none.

    0 where it is undefined: all answers or all predictions are equal.
    """
    x, y = _numbers(answers, predictions)
    return scores.of_function(lambda drawn: _correlation(x[drawn], y[drawn]), len(x))


def spearman(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> Score:
    """Spearman rank correlation, ties at their mean rank; else as `pearson`."""
    x, y = _numbers(answers, predictions)

    def value(drawn: np.ndarray) -> float:
        return _correlation(stats.rankdata(x[drawn]), stats.rankdata(y[drawn]))

    return scores.of_function(value, len(x))


def parse_number(text: float | str) -> float:
    """The finite number that a text is, else -1.0."""
    try:
        number = float(text)
    except ValueError:
        return INVALID_NUMBER
    return number if math.isfinite(number) else INVALID_NUMBER


# Texts.


def squad(
    answers: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, Score]:
    """Exact match and token F1 by SQuAD v1.1's rules: `em`, `f1`.

    Args:
        answers: the accepted texts of each question; the best of them counts.
        predictions: one text each.
    """
    _check_lengths("answers", answers, predictions)
    exact, f1 = [], []
    for accepted, prediction in zip(answers, predictions):
        said = normalize_answer(prediction)
        wanted = [normalize_answer(text) for text in _texts(accepted)]
        exact.append(said in wanted)
        f1.append(max(_token_f1(text.split(), said.split()) for text in wanted))
    return {"em": scores.mean(exact), "f1": scores.mean(f1)}


def record(
    groups: Sequence[Hashable],
    answers: Sequence[Sequence[str]],
    predictions: Sequence[str],
) -> dict[str, Score]:
    """ReCoRD: `squad` with each query counted once: `em`, `f1`.

    Args:
        groups: the query of each example; all its examples have the same input.
        answers: accepted texts of each example; a query accepts its examples' together.
        predictions: one text each; a query's first counts.
    """
    _check_lengths("groups", groups, predictions)
    _check_lengths("answers", answers, predictions)
    queries: dict[Hashable, tuple[str, list[str]]] = {}
    for group, accepted, prediction in zip(groups, answers, predictions):
        queries.setdefault(group, (prediction, []))[1].extend(_texts(accepted))
    return squad(
        [accepted for _, accepted in queries.values()],
        [prediction for prediction, _ in queries.values()],
    )


def wsc_class(prediction: str, referent: str) -> int:
    """What a predicted noun phrase says about a WSC referent: 1 same, 0 other.

    Case and determiners do not count; then all the words of one must be among the
    other's, and both or neither have an apostrophe ("Bob" is not "Bob's hat"). A
    prediction with nothing left is -1, so that it is never right.
    """
    said, wanted = _referent_words(prediction), _referent_words(referent)
    if not said:
        return INVALID
    if ("'" in " ".join(said)) != ("'" in " ".join(wanted)):
        return 0
    return int(bool(wanted) and (said <= wanted or wanted <= said))


def wsc_match(prediction: str, referent: str) -> bool:
    """Whether a predicted noun phrase is the referent; `wsc_class` is scored."""
    return wsc_class(prediction, referent) == 1


def rouge(references: Sequence[str], predictions: Sequence[str]) -> dict[str, Score]:
    """ROUGE F-measures without stemming, the mean over examples.

    `rouge1`, `rouge2` and `rougeLsum`, for which " . " ends a line as in T5.
    """
    from rouge_score import rouge_scorer  # only summaries need it and its nltk

    _check_lengths("references", references, predictions)
    names = ["rouge1", "rouge2", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names)
    found = [
        scorer.score(*(text.replace(" . ", " .\n") for text in pair))
        for pair in zip(references, predictions)
    ]
    return {name: scores.mean([one[name].fmeasure for one in found]) for name in names}


def normalize_answer(text: str) -> str:
    """SQuAD v1.1's form of an answer: lower case, no punctuation, articles, blanks."""
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def _token_f1(wanted: list[str], said: list[str]) -> float:
    """F1 of two bags of words; 0 if they share none, also where both are empty."""
    common = sum((collections.Counter(wanted) & collections.Counter(said)).values())
    return 2 * common / (len(wanted) + len(said)) if common else 0.0


def _referent_words(text: str) -> set[str]:
    return set(text.lower().split()) - _DETERMINERS


def _texts(accepted: Sequence[str]) -> Sequence[str]:
    texts = (accepted,) if isinstance(accepted, str) else accepted
    if not texts:
        raise DataError("An example has no accepted answer, so it cannot be scored.")
    return texts


def _f1_counts(true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """True positives, answers and predictions of a class: float [N, 3]."""
    return np.stack([true & said, true, said], axis=-1).astype(float)


def _f1(counts: np.ndarray) -> np.ndarray:
    return 100 * _ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient; 0 where `below` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    spread = math.sqrt((x @ x) * (y @ y))
    return 100 * float(x @ y) / spread if spread else 0.0


def _group_indices(groups: Sequence[Hashable]) -> np.ndarray:
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(group, len(order)) for group in groups], int)


def _numbers(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> tuple[np.ndarray, np.ndarray]:
    _check_lengths("answers", answers, predictions)
    return (
        np.array([parse_number(answer) for answer in answers], float),
        np.array([parse_number(prediction) for prediction in predictions], float),
    )


def _binary(
    answers: Sequence[int], predictions: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes 0 and 1, where an invalid prediction is the wrong one."""
    answers, predictions = _classes(answers, predictions, 2)
    invalid = (predictions != 0) & (predictions != 1)
    return answers, np.where(invalid, 1 - answers, predictions)


def _classes(
    answers: Sequence[int], predictions: Sequence[int], num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    _check_lengths("answers", answers, predictions)
    for index, answer in enumerate(answers):
        if answer is None or answer < 0 or (num_classes and answer >= num_classes):
            accepted = f"0 to {num_classes - 1}" if num_classes else "0 or more"
            raise DataError(
                f"Example {index} has answer {answer}; accepted is a class, {accepted} "
                "(a row without a label cannot be scored)."
            )
    return np.asarray(answers, int), np.maximum(np.asarray(predictions, int), INVALID)


def _check_lengths(name: str, some: Sequence, predictions: Sequence) -> None:
    if len(some) != len(predictions):
        raise DataError(f"{len(some)} {name}, but {len(predictions)} predictions.")
