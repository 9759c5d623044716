"""Templates and scores of classification tasks."""

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
        prefix: the task's prefix.
        keys: the fields in order.
        labels: the class names in order, which are the targets.
        unlabeled: label of rows to drop -> the reason.

    Returns:
        A function from a row to its examples.
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
    """Returns the target text of a class index, or of an unlabeled example (None)."""
    return UNLABELED if answer is None else labels[answer]


def score(labels: Sequence[str], *names: str) -> ScoreFunction:
    """Returns the score function of a classification task.

    Args:
        labels: the class names in order.
        *names: metrics: "accuracy", "f1" (of class 1), "f1_macro" or "matthews".

    Returns:
        A function from examples and predicted texts to metrics in percent.
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
