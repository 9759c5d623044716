"""The likelihood of the right answer among a task's answers: a continuous score.

It changes smoothly where accuracy jumps, so that it has a smaller standard error than
the scores of decoded texts.
"""

from collections.abc import Sequence

import numpy as np

from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib

METRIC = "likelihood"
EXPLANATION = (
    "likelihood: 100 (1 + log p / log n) %, where p is the probability of the right "
    "answer among the task's n possible answers; 100 is certainty and 0 a uniform guess"
)


def answers(
    task: task_lib.Task, examples: Sequence[task_lib.Example]
) -> tuple[str, ...]:
    """Returns the targets that are possible in a task; () if they cannot be listed.

    Args:
        task: the task.
        examples: its labelled examples.
    """
    if task.closed:
        return tuple(sorted({example.targets for example in examples}))
    return task.labels


def score(log_likelihoods: np.ndarray, right: Sequence[int]) -> scores.Score:
    """Returns the mean normalised log-likelihood of the right answers, in percent.

    For an example with n possible answers it is 100 (1 + log p / log n), where p is the
    probability of the right answer among them: 100 for certainty, 0 for p = 1/n, and
    below 0 for a wrong answer that is thought likely.

    Args:
        log_likelihoods: of each answer, in nats, float [N, n] with n of at least 2.
        right: index of the right answer of each example.

    Raises:
        DataError: there are no examples.
    """
    logits = np.asarray(log_likelihoods, np.float64)
    picked = logits[np.arange(len(logits)), np.asarray(right, int)]
    log_p = picked - np.logaddexp.reduce(logits, axis=1)
    return scores.mean(1 + log_p / np.log(logits.shape[1]))
