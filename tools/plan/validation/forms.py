"""Rules for the time of a step, and how their constants are fitted."""

from collections.abc import Sequence
import dataclasses
import math
import statistics

from clinometer.tools.plan import step_time

_SHARES = 1000  # Steps of the search for the share of the second term.


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule without its constants: a weighted sum of one or two terms.

    Attributes:
        name: the rule in words.
        terms: fields of `step_time.Work`; "constant" is one second.
    """

    name: str
    terms: tuple[str, ...]


CYCLES = Rule("cycles and bytes sent", ("cycles", "wire"))
FLOPS = Rule("proportional to FLOPs", ("flops",))
FLOPS_CONSTANT = Rule("FLOPs plus a constant", ("flops", "constant"))
# From the simplest on: of equal rules, the first is chosen.
RULES = (FLOPS, FLOPS_CONSTANT, CYCLES)


def fit(
    rule: Rule, works: Sequence[step_time.Work], speeds: Sequence[float]
) -> step_time.Form:
    """Returns the rule with the weights of the least sum of |ln(predicted / given)|.

    For each share of the second term the scale that minimizes the sum is a median, and
    all shares of a grid are tried, so there is no starting point.

    Args:
        rule: the rule.
        works: the work of each step.
        speeds: steps per second of each.
    """
    first = [_term(work, rule.terms[0]) for work in works]
    if len(rule.terms) == 1:
        scale = _scale(first, speeds)[0]
        return step_time.Form(rule.name, {rule.terms[0]: scale})
    second = [_term(work, rule.terms[1]) for work in works]
    unit = statistics.median(first) / statistics.median(second)

    def mixed(share: float) -> list[float]:
        return [(1 - share) * x + share * unit * y for x, y in zip(first, second)]

    found = []
    for place in range(_SHARES + 1):
        share = place / _SHARES
        scale, loss = _scale(mixed(share), speeds)
        found.append((loss, share, scale))
    _, share, scale = min(found)
    weights = {rule.terms[0]: scale * (1 - share), rule.terms[1]: scale * share * unit}
    constant = weights.pop("constant", 0.0)
    return step_time.Form(rule.name, weights, constant)


def leave_one_out(
    rule: Rule, works: Sequence[step_time.Work], speeds: Sequence[float]
) -> list[float]:
    """Returns the time of each step, predicted from all others.

    Args:
        rule: the rule.
        works: the work of each step.
        speeds: steps per second of each.
    """
    found = []
    for place, work in enumerate(works):
        others = [i for i in range(len(works)) if i != place]
        form = fit(rule, [works[i] for i in others], [speeds[i] for i in others])
        found.append(form.seconds(work))
    return found


def _term(work: step_time.Work, name: str) -> float:
    return 1.0 if name == "constant" else getattr(work, name)


def _scale(times: Sequence[float], speeds: Sequence[float]) -> tuple[float, float]:
    """Returns the scale with the least sum of |ln|, and the sum."""
    logs = [math.log(time * speed) for time, speed in zip(times, speeds)]
    middle = statistics.median(logs)
    return math.exp(-middle), sum(abs(log - middle) for log in logs)
