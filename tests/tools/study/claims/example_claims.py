"""A file of claims for the tests, as a user would write it."""

from clinometer.tools.study.claims import claim
from clinometer.tools.study.claims import observed

PATH = __file__


def _gains(runs: observed.Runs) -> claim.Verdict:
    losses = {
        width: runs.select(width=width).column("validation_loss_nats")
        for width in runs.widths
    }
    means = [sum(found) / len(found) for found in losses.values()]
    gain = means[0] - means[-1]
    outcome = claim.Outcome.SUPPORTED if gain > 0 else claim.Outcome.CONTRADICTED
    return claim.Verdict(outcome, {"gain": gain})


def _replicated(runs: observed.Runs) -> claim.Verdict:
    if len(runs.select(width=32)) < 2:
        raise observed.UndecidableError("one run of a size says nothing of its spread")
    runs.select(width=32).column("validation_loss_nats")
    return claim.Verdict(claim.Outcome.SUPPORTED)


def get_claims() -> list[claim.Claim]:
    """Returns the claims."""
    return [
        claim.Claim("gain", "vanilla gains with size", _gains),
        claim.Claim("replicated", "d32 is replicated", _replicated),
    ]
