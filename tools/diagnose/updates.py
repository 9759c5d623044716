"""Checks of gradients and updates, by groups of parameters."""

from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import thresholds


def too_large(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds updates that are not small beside the parameters.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has no health metrics.
    """
    ratios = run.health("update_ratio/")
    sizes = run.health("parameter_rms/")
    limit = thresholds.UPDATE_RATIO.value
    begun: dict[str, tuple[int, float]] = {}
    for group, measured in ratios.items():
        small = {s for s, rms in sizes.get(group, ()) if rms < thresholds.SMALLEST_RMS}
        over = [(step, v) for step, v in measured if v > limit and step not in small]
        # One of several may be of a group that has just begun to move.
        if len(over) > 1 or (over and len(over) == len(measured)):
            begun[group] = over[0][0], max(v for _, v in over)
    if not begun:
        return []
    first = min(begun, key=lambda group: begun[group][0])
    return [
        finding.Finding(
            check="updates",
            step=begun[first][0],
            what=f"updates are as large as the parameters, first in {first}",
            evidence={
                "groups": sorted(begun),
                "largest update_ratio": max(ratio for _, ratio in begun.values()),
            },
            threshold=f"{thresholds.UPDATE_RATIO}; in two measurements or all",
            advice="a lower schedule.learning_rate",
        )
    ]


def no_gradient(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds groups of parameters that no gradient reaches any more.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has no health metrics.
    """
    begun = {}
    for group, measured in run.health("gradient_rms/").items():
        zeros = []
        for step, value in reversed(measured):
            if value:
                break
            zeros.append(step)
        if len(zeros) > 1:
            begun[group] = zeros[-1]
    if not begun:
        return []
    return [
        finding.Finding(
            check="gradients",
            step=min(begun.values()),
            what=f"no gradient reaches {', '.join(sorted(begun))}",
            evidence={"health/gradient_rms is 0 since step": begun},
            threshold="exactly 0 in the last two measurements or more",
            advice="a lower schedule.learning_rate; units that are always off, or "
            "weights of attention that are all on one key, pass no gradient on",
        )
    ]
