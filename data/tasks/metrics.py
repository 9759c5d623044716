"""Metrics of the downstream tasks, as T5 computes them (FORMATS.md#metrics).

Every metric is in percent and is a `scores.Score`, a number with a standard error.
Classes are given as indices; -1 is a prediction that is not a label.
"""

import collections
from collections.abc import Hashable
from collections.abc import Sequence
import math
import re
import string

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.tasks import scores
from clinometer.data.tasks import terms
from clinometer.data.tasks.scores import Score

INVALID = -1
# T5's value for a prediction that is not a number.
INVALID_NUMBER = -1.0

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Words that are ignored when referents of the Winograd schemas are compared.
_DETERMINERS = frozenset(
    ("a", "an", "few", "her", "his", "each", "every", "many", "much", "my", "our")
    + ("some", "that", "the", "their", "these", "this", "those", "which", "whose")
    + ("your",)
)


# Classes.


def class_index(prediction: str, labels: Sequence[str]) -> int:
    """Returns the index of the label that equals a prediction, or -1 if none does."""
    return labels.index(prediction) if prediction in labels else INVALID


def accuracy(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """Returns the fraction of correct predictions.

    Args:
        answers: class indices, [N].
        predictions: class indices, or -1, [N].
    """
    answers, predictions = _classes(answers, predictions)
    return scores.mean(answers == predictions)


def matthews(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """Returns the multiclass Matthews correlation, as scikit-learn defines it.

    It is 0 if undefined, when all answers or all predictions are of one class.

    Args:
        answers: class indices, [N].
        predictions: class indices, or -1, which is a class of its own, [N].
    """
    answers, predictions = _classes(answers, predictions)
    size = 1 + max(answers.max(initial=0), predictions.max(initial=0)) - INVALID
    cells = (answers - INVALID) * size + predictions - INVALID
    return terms.matthews(np.eye(size * size)[cells])


def f1_binary(answers: Sequence[int], predictions: Sequence[int]) -> Score:
    """Returns the F1 of class 1.

    Args:
        answers: 0 or 1, [N].
        predictions: class indices, [N]; other values than 0 and 1 count as the wrong
            class.
    """
    answers, predictions = _binary(answers, predictions)
    return terms.f1(_f1_counts(answers == 1, predictions == 1))


def f1_macro(
    answers: Sequence[int], predictions: Sequence[int], num_classes: int
) -> Score:
    """Returns the mean F1 over classes; a class that does not occur has F1 0.

    Args:
        answers: class indices, [N].
        predictions: class indices, or -1, [N].
        num_classes: number of classes.
    """
    answers, predictions = _classes(answers, predictions, num_classes)
    rows = np.stack(
        [_f1_counts(answers == k, predictions == k) for k in range(num_classes)], axis=1
    )
    return terms.f1_macro(rows.reshape(len(rows), -1))


def multirc(
    groups: Sequence[Hashable], answers: Sequence[int], predictions: Sequence[int]
) -> dict[str, Score]:
    """Returns the metrics of MultiRC.

    Args:
        groups: the question that each answer belongs to, [N].
        answers: 1 if the answer is true, else 0, [N].
        predictions: likewise, or -1, [N].

    Returns:
        `f1` over all answers, and `em`, the fraction of questions for which all answers
        are predicted correctly.
    """
    _check_lengths("groups", groups, predictions)
    answers, predictions = _binary(answers, predictions)
    question = _group_indices(groups)
    counts = np.zeros([question.max(initial=-1) + 1, 3])
    np.add.at(counts, question, _f1_counts(answers == 1, predictions == 1))
    right = np.ones(len(counts))
    np.minimum.at(right, question, (answers == predictions).astype(float))
    return {"f1": terms.f1(counts), "em": scores.mean(right)}


# Numbers.


def pearson(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> Score:
    """Returns the Pearson correlation.

    It is 0 if undefined, when all answers or all predictions are equal.

    Args:
        answers: numbers, or texts of numbers, [N].
        predictions: likewise; text that is not a number counts as -1, [N].
    """
    return terms.pearson(_numbers(answers, predictions))


def spearman(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> Score:
    """Returns the Spearman rank correlation, with ties at their mean rank.

    Otherwise as `pearson`.
    """
    return terms.spearman(_numbers(answers, predictions))


def parse_number(text: float | str) -> float:
    """Returns the value of a text that is a finite number, else -1.0."""
    try:
        number = float(text)
    except ValueError:
        return INVALID_NUMBER
    return number if math.isfinite(number) else INVALID_NUMBER


# Texts.


def squad(
    answers: Sequence[Sequence[str]], predictions: Sequence[str]
) -> dict[str, Score]:
    """Returns exact match (`em`) and token F1 (`f1`) by the rules of SQuAD 1.1.

    Args:
        answers: the accepted texts of each question, of which the best match counts.
        predictions: a text for each question.
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
    """Returns the metrics of ReCoRD, those of `squad` with each query counted once.

    Args:
        groups: the query that each example belongs to; all examples of a query have the
            same input.
        answers: accepted texts of each example; those of all its examples are accepted
            for a query.
        predictions: a text for each example; the first one of a query counts.
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
    """Returns the class that a predicted noun phrase implies for a WSC referent.

    Case and determiners are ignored. The phrases are the same if the words of one are a
    subset of the words of the other, and both or neither have an apostrophe ("Bob" is
    not "Bob's hat").

    Args:
        prediction: the predicted noun phrase.
        referent: the noun phrase of the example.

    Returns:
        1 if the phrases are the same, 0 if not, and -1, which is always wrong, if the
        prediction has no words besides determiners.
    """
    said, wanted = _referent_words(prediction), _referent_words(referent)
    if not said:
        return INVALID
    if ("'" in " ".join(said)) != ("'" in " ".join(wanted)):
        return 0
    return int(bool(wanted) and (said <= wanted or wanted <= said))


def wsc_match(prediction: str, referent: str) -> bool:
    """Returns whether a predicted noun phrase is the referent; see `wsc_class`."""
    return wsc_class(prediction, referent) == 1


def rouge(references: Sequence[str], predictions: Sequence[str]) -> dict[str, Score]:
    """Returns ROUGE F-measures without stemming, averaged over examples.

    Args:
        references: the reference texts.
        predictions: a text for each reference.

    Returns:
        `rouge1`, `rouge2` and `rougeLsum`; for the last, " . " ends a line, as in T5.
    """
    from rouge_score import rouge_scorer  # Only summaries need it and its nltk.

    _check_lengths("references", references, predictions)
    names = ["rouge1", "rouge2", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names)
    found = [
        scorer.score(*(text.replace(" . ", " .\n") for text in pair))
        for pair in zip(references, predictions)
    ]
    return {name: scores.mean([one[name].fmeasure for one in found]) for name in names}


def normalize_answer(text: str) -> str:
    """Returns an answer normalised as in SQuAD 1.1.

    It is in lower case, without punctuation, articles and extra whitespace.
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def _token_f1(wanted: list[str], said: list[str]) -> float:
    """Returns the F1 of two bags of words; 0 if they share none or are both empty."""
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
    """Returns true positives, positives and predicted positives, float [N, 3]."""
    return np.stack([true & said, true, said], axis=-1).astype(float)


def _group_indices(groups: Sequence[Hashable]) -> np.ndarray:
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(group, len(order)) for group in groups], int)


def _numbers(
    answers: Sequence[float | str], predictions: Sequence[float | str]
) -> np.ndarray:
    """Returns the pairs of numbers, [N, 2]."""
    _check_lengths("answers", answers, predictions)
    pairs = [
        (parse_number(answer), parse_number(prediction))
        for answer, prediction in zip(answers, predictions)
    ]
    return np.array(pairs, float).reshape(len(pairs), 2)


def _binary(
    answers: Sequence[int], predictions: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns classes 0 and 1, with invalid predictions replaced by the wrong class."""
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
                f"Example {index} has answer {answer}; accepted is a class index, "
                f"{accepted} (examples without a label cannot be scored)."
            )
    return np.asarray(answers, int), np.maximum(np.asarray(predictions, int), INVALID)


def _check_lengths(name: str, some: Sequence, predictions: Sequence) -> None:
    if len(some) != len(predictions):
        raise DataError(
            f"There are {len(some)} {name}, but {len(predictions)} predictions."
        )
