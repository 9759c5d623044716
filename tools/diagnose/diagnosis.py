"""Runs all checks of a run and puts what they find in order."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from clinometer.tools.diagnose import data
from clinometer.tools.diagnose import finding as finding_lib
from clinometer.tools.diagnose import layers
from clinometer.tools.diagnose import losses
from clinometer.tools.diagnose import rates
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import updates
from clinometer.tools.study.tuning import table as table_lib

Check = Callable[[telemetry_lib.Telemetry], list[finding_lib.Finding]]

_HOW_TO_GO_ON = "the same command resumes the run; its output says more"


def ended(run: telemetry_lib.Telemetry) -> list[finding_lib.Finding]:
    """Finds runs that ended before their last step without being asked to.

    Args:
        run: the run.
    """
    if run.status not in ("failed", "lost"):
        return []
    failed = run.status == "failed"
    return [
        finding_lib.Finding(
            check="ended",
            step=run.step,
            what="an error ended the run"
            if failed
            else "the process ended without saying how, as when it is killed",
            evidence={"error": run.record.error} if failed else {"last step": run.step},
            threshold=None,
            advice=_HOW_TO_GO_ON,
        )
    ]


# Name -> check. Of findings that began at the same step, earlier ones come first.
CHECKS: Mapping[str, Check] = {
    "repeats": data.repeats,
    "input": data.waiting,
    "updates": updates.too_large,
    "gradients": updates.no_gradient,
    "experts": layers.dead_experts,
    "dropped": layers.dropped_tokens,
    "attention": layers.attention,
    "loss_spike": losses.spikes,
    "loss_rise": losses.rise,
    "no_learning": losses.learning,
    "validation_rise": data.validation_rise,
    "gap": data.gap,
    "not_finite": losses.not_finite,
    "ended": ended,
}
RATE = "rate"
NAMES = (RATE, *CHECKS)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What all checks say about a run.

    Attributes:
        findings: what went wrong, in the order in which it began.
        checked: names of the checks that found nothing.
        not_checked: name -> why a check could not look.
    """

    findings: tuple[finding_lib.Finding, ...]
    checked: tuple[str, ...]
    not_checked: Mapping[str, str]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Returns the diagnosis as `--json` prints it."""
        return {
            "healthy": self.healthy,
            "findings": [dataclasses.asdict(each) for each in self.findings],
            "checked": list(self.checked),
            "not_checked": dict(self.not_checked),
        }


def diagnose(run: telemetry_lib.Telemetry, table: table_lib.Table) -> Diagnosis:
    """Runs all checks.

    Args:
        run: the run.
        table: the table of tuned rates.
    """
    findings: list[finding_lib.Finding] = []
    checked, not_checked = [], {}
    for name in NAMES:
        check = CHECKS.get(name) or functools.partial(rates.rate, table=table)
        try:
            found = check(run)
        except finding_lib.NotCheckedError as error:
            not_checked[name] = str(error)
            continue
        findings += found
        if not found:
            checked.append(name)
    findings.sort(key=lambda each: each.step)  # Stable.
    return Diagnosis(tuple(findings), tuple(checked), not_checked)
