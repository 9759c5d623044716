"""How far a run may be from a published score, and why.

Of GLUE, SuperGLUE, SQuAD and CNN/DailyMail the standard deviation between runs is known
at base: Raffel et al. 2020, Table 1, trained their baseline ten times. A run and the
published one are two draws, so that their difference lies within 2 sqrt(2) standard
deviations in 95 of 100 cases. The same is taken for other sizes. For other tasks it is
not known: tasks of Rainbow get the sampling error of two independent validation sets,
which is an upper guess, as the sets are the same.
"""

import dataclasses
import math

_TWO_DRAWS = 2 * math.sqrt(2)
_RAFFEL = "between runs, Raffel et al. 2020, Table 1"
# Standard deviation between runs at base, percent.
_BETWEEN_RUNS = {"glue": 0.235, "superglue": 0.416, "squad": 0.343}
# Examples of the validation sets.
_EXAMPLES = {
    "anli": 1532,
    "cosmosqa": 2985,
    "hellaswag": 10042,
    "physicaliqa": 1838,
    "socialiqa": 1954,
    "winogrande": 1267,
}
LOSS = "validation_loss_nats"


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest difference of a score that counts as agreement.

    Attributes:
        value: in the unit of the score.
        reason: where it comes from.
    """

    value: float
    reason: str


def of(name: str, published: float) -> Tolerance:
    """Returns the tolerance of a column.

    Args:
        name: `LOSS`, or the task or average of a score.
        published: the published value.
    """
    if name == LOSS:
        return Tolerance(
            0.015,
            "half of what Table 4 has between Base and Small 24L; the error between "
            "runs on C4 is not published",
        )
    if name in _BETWEEN_RUNS:
        return Tolerance(_TWO_DRAWS * _BETWEEN_RUNS[name], _RAFFEL)
    if name == "avg":
        error = math.hypot(*_BETWEEN_RUNS.values()) / len(_BETWEEN_RUNS)
        return Tolerance(_TWO_DRAWS * error, _RAFFEL)
    if name in _EXAMPLES:
        share = published / 100
        error = 100 * math.sqrt(share * (1 - share) / _EXAMPLES[name])
        return Tolerance(
            _TWO_DRAWS * error, f"sampling of {_EXAMPLES[name]:,} examples"
        )
    return Tolerance(1.0, "a choice: nothing is known of its error")


def table() -> list[str]:
    """Returns the tolerances as lines, for `--help`."""
    shown = {
        "loss": of(LOSS, 0.0),
        **{name: of(name, 0.0) for name in (*_BETWEEN_RUNS, "avg")},
        "Rainbow, such as anli": of("anli", 65.7),
        "other tasks": of("", 0.0),
    }
    units = {"loss": "nats per token"}
    return [
        f"{name}: {one.value:.3f} {units.get(name, 'percent')} ({one.reason})"
        for name, one in shown.items()
    ]
