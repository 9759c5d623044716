"""The claims of Tay et al. 2022 on how architectures scale."""

import math

from clinometer.models.architectures import grammar
from clinometer.models.architectures import registry
from clinometer.tools.laws import alphas
from clinometer.tools.laws import points as points_lib
from clinometer.tools.recommend import choice
from clinometer.tools.report import formats
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import differences
from clinometer.tools.study.claims import observed
from clinometer.tools.study.claims import papers

VANILLA = "transformer"
_LOSS = points_lib.LOSS
_FLOPS = choice.COSTS["flops"].column


def _steepest(seen: papers.Evidence, pair: str, name: str) -> claim_lib.Verdict:
    """Judges that an architecture has the largest slope of a pair."""
    found = {a.architecture: a for a in seen.alphas if a.pair == pair}
    if name not in found or found[name].slope is None:
        why = found[name].reason if name in found else "it has no runs"
        raise observed.UndecidableError(f"{name} has no slope {pair}: {why}")
    own = found.pop(name)
    others = differences.need(
        (a for a in found.values() if a.slope is not None),
        f"other architectures with a slope {pair}",
    )
    numbers = {a.architecture: a.slope for a in (own, *others)}
    gaps = {a.architecture: _gap(own, a) for a in others}
    return differences.all_hold(gaps, numbers)


def _gap(one: alphas.Alpha, other: alphas.Alpha) -> differences.Difference:
    """Returns the difference of two slopes, taken as independent."""
    error, degrees = None, math.inf
    if one.error is not None and other.error is not None:
        error = math.hypot(one.error, other.error)
        degrees = min(one.degrees, other.degrees)  # On the safe side.
    return differences.Difference(one.slope - other.slope, error, degrees)


def _vanilla_gains_fastest(seen: papers.Evidence) -> claim_lib.Verdict:
    return _steepest(seen, "F,U", VANILLA)


def _switch_transfers_best(seen: papers.Evidence) -> claim_lib.Verdict:
    return _steepest(seen, "U,D", "switch")


def _best_changes(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares the sets that cannot be told from the best at both shared ends."""
    found = points_lib.of_frame(seen.frame, (_FLOPS, _LOSS))
    ranges = []
    for name in found.architectures:
        points = found.of(name, _FLOPS, _LOSS)
        if len(points) >= 3:
            costs = [point.values[_FLOPS].mean for point in points]
            ranges.append((costs[0], costs[-1]))
    if len(ranges) < 2:
        raise observed.UndecidableError(
            "fewer than 2 architectures have 3 sizes with training FLOPs"
        )
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    if not low < high:
        raise observed.UndecidableError("the architectures share no range of FLOPs")
    small, large = (
        choice.recommend(seen.frame, flops, seen.mixed) for flops in (low, high)
    )
    best = [{one.architecture for one in found.chosen} for found in (small, large)]
    told = [", ".join(sorted(names)) for names in best]
    reason = (
        f"best or not told from it: {told[0]} at {formats.si(low, 2)} FLOPs, {told[1]} "
        f"at {formats.si(high, 2)}"
    )
    outcome = claim_lib.Outcome.UNDECIDED
    if not best[0] & best[1]:
        outcome = claim_lib.Outcome.SUPPORTED
    elif best[0] == best[1] and len(best[0]) == 1:
        outcome = claim_lib.Outcome.CONTRADICTED
    return claim_lib.Verdict(outcome, {"low": low, "high": high}, reason)


def _performer_gains_less(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares relative gains of the loss from base to large, or between the ends."""
    found = points_lib.of_frame(seen.frame, (_LOSS,))
    by_size: dict[str, dict[str, points_lib.Point]] = {}
    for point in found.points:
        name, _, size = point.model.partition("-")
        if _LOSS in point.values:
            by_size.setdefault(name, {})[size] = point
    ours, theirs = by_size.get("performer", {}), by_size.get(VANILLA, {})
    shared = [size for size in theirs if size in ours]
    if len(shared) < 2:
        raise observed.UndecidableError(
            "performer and transformer share fewer than 2 sizes"
        )
    if {"base", "large"} <= set(shared):
        low, high = "base", "large"
    else:
        shared.sort(key=lambda size: theirs[size].row["params_total"] or 0)
        low, high = shared[0], shared[-1]
    gains = [_relative_gain(found, group[low], group[high]) for group in (theirs, ours)]
    vanilla, performer = gains
    error = None
    if None not in (vanilla.error, performer.error):
        error = math.hypot(vanilla.error, performer.error)
    gap = differences.Difference(
        vanilla.value - performer.value, error, vanilla.degrees
    )
    numbers = {
        f"performer's gain in % from {low} to {high}": 100 * performer.value,
        "vanilla's": 100 * vanilla.value,
    }
    return differences.all_hold({"vanilla less performer": gap}, numbers)


def _relative_gain(
    found: points_lib.Points, small: points_lib.Point, large: points_lib.Point
) -> differences.Difference:
    """Returns 1 - loss(large) / loss(small), with its error by the delta method."""
    a, b = small.values[_LOSS].mean, large.values[_LOSS].mean
    weights = ((small, b / a**2), (large, -1 / a))
    linear = differences.of_points(found, _LOSS, weights)
    return differences.Difference(1 - b / a, linear.error, linear.degrees)


def _depth_beats_width(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares slopes of the score over depth and over width at one starting size."""
    score = seen.score
    if score is None:
        raise observed.UndecidableError(alphas.NO_SCORE)
    found = points_lib.of_frame(seen.frame, (score, alphas.FLOPS))
    families: dict[tuple[str, str], dict[str, list[points_lib.Point]]] = {}
    for point in found.points:
        if not {score, alphas.FLOPS} <= set(point.values):
            continue
        try:
            name = registry.parse(point.model)
        except grammar.ModelNameError:
            continue
        kinds = {operator for operator, _ in name.operators}
        group = families.setdefault((name.architecture, name.size), {})
        for kind in ("NL", "FF"):
            if kinds <= {kind}:
                group.setdefault(kind, []).append(point)
    gaps = {}
    for (architecture, size), group in families.items():
        if all(len(group.get(kind, ())) > 1 for kind in ("NL", "FF")):
            gaps[f"{architecture}-{size}"] = _slope_gap(found, group, score)
    differences.need(gaps, "sizes of which both depth (NL) and width (FF) were varied")
    return differences.all_hold(gaps)


def _slope_gap(
    found: points_lib.Points, group: dict[str, list[points_lib.Point]], score: str
) -> differences.Difference:
    """Returns the slope over depth less that over width, percent per tenfold FLOPs."""
    weights: dict[tuple[str, ...], tuple[points_lib.Point, float]] = {}
    for kind, sign in (("NL", 1), ("FF", -1)):
        points = group[kind]
        u = [math.log10(point.values[alphas.FLOPS].mean) for point in points]
        center = sum(u) / len(u)
        total = sum((x - center) ** 2 for x in u)
        if total == 0:
            raise observed.UndecidableError(f"the models of {kind} cost the same")
        for point, x in zip(points, u):
            _, before = weights.get(point.runs, (point, 0.0))
            weights[point.runs] = point, before + sign * (x - center) / total
    return differences.of_points(found, score, list(weights.values()))


_A = papers.PAPER_A
CLAIMS = (
    papers.PaperClaim(
        "vanilla_gains_fastest",
        "Vanilla's loss falls fastest with FLOPs.",
        _A,
        _vanilla_gains_fastest,
    ),
    papers.PaperClaim(
        "best_changes_with_scale",
        "The best architecture is another one at another scale.",
        _A,
        _best_changes,
    ),
    papers.PaperClaim(
        "performer_gains_less",
        "Performer's loss gains less from base to large than vanilla's (2.7 % against "
        "8.4 % in the paper).",
        _A,
        _performer_gains_less,
    ),
    papers.PaperClaim(
        "switch_transfers_best",
        "Switch has the largest slope of downstream against upstream quality.",
        _A,
        _switch_transfers_best,
    ),
    papers.PaperClaim(
        "depth_beats_width",
        "Downstream, scaling depth gains more per FLOP than scaling width.",
        _A,
        _depth_beats_width,
    ),
)
