"""Tasks whose answer is one of a few labels: their template and their score."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from clinometer.data.tasks import metrics
from clinometer.data.tasks.task import UNLABELED
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Example
from clinometer.data.tasks.task import Examples
from clinometer.data.tasks.task import Row
from clinometer.data.tasks.task import ScoreFunction


def template(
    prefix: str,
    keys: Sequence[str],
    labels: Sequence[str],
    *,
    unlabeled: Mapping[str, str] = {},
) -> Examples:
    """Returns T5's template: the prefix, then "key: value" for each field.

    Args:
        prefix: the task's.
        keys: fields in their order.
        labels: the classes in order, as they are taught.
        unlabeled: labels of rows to leave out -> the reason.
    """

    def examples(row: Row) -> Iterable[Example | Dropped]:
        reason = unlabeled.get(str(row.get("label")))
        if reason is not None:
            return [Dropped(row.origin, reason)]
        parts = [f"{key}: {row.text(key)}" for key in keys]
        answer = row.class_index(labels)
        return [Example(" ".join([prefix, *parts]), target(answer, labels), answer)]

    return examples


def target(answer: int | None, labels: Sequence[str]) -> str:
    """Returns the text of a class, or that of an unlabeled example."""
    return UNLABELED if answer is None else labels[answer]


def score(labels: Sequence[str], *names: str) -> ScoreFunction:
    """Returns the score of classes by some of these metrics.

    Args:
        labels: the classes in order.
        *names: accuracy, f1 (of class 1), f1_macro, matthews.
    """
    functions = {
        "accuracy": metrics.accuracy,
        "f1": metrics.f1_binary,
        "f1_macro": lambda answers, said: metrics.f1_macro(answers, said, len(labels)),
        "matthews": metrics.matthews,
    }

    def scores(
        examples: Sequence[Example], predictions: Sequence[str]
    ) -> dict[str, float]:
        answers = [example.answer for example in examples]
        said = [metrics.class_index(prediction, labels) for prediction in predictions]
        return {name: functions[name](answers, said) for name in names}

    return scores
