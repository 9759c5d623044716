"""The claims of Tay et al. 2021 on the shapes of vanilla Transformers."""

import itertools
import math

from clinometer.models.architectures import grammar
from clinometer.models.architectures import registry
from clinometer.models.architectures import sizes
from clinometer.tools.laws import alphas
from clinometer.tools.laws import points as points_lib
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import differences
from clinometer.tools.study.claims import observed
from clinometer.tools.study.claims import papers

_LOSS = points_lib.LOSS
# Models of one size: the larger has at most 10 % more parameters.
_SAME_SIZE = 1.10
# The largest difference of a score that would not matter, in percent points.
_MARGIN = 1.0
_DEEP = 32  # Layers at which the gains of depth are said to fade.


def _scored(seen: papers.Evidence) -> tuple[points_lib.Points, str]:
    """Returns the points and the column of the score.

    Raises:
        UndecidableError: no run has a score.
    """
    if seen.score is None:
        raise observed.UndecidableError(alphas.NO_SCORE)
    names = (_LOSS, seen.score, alphas.PARAMS, alphas.FLOPS)
    return points_lib.of_frame(seen.frame, names), seen.score


def _ranks_differ(seen: papers.Evidence) -> claim_lib.Verdict:
    """Looks for a pair that is ordered otherwise downstream than upstream."""
    found, score = _scored(seen)
    points = [p for p in found.points if {_LOSS, score} <= set(p.values)]
    pairs = differences.need(
        itertools.combinations(points, 2), "two models with a loss and a score"
    )
    family = 2 * len(pairs)
    signs, reversed_pairs, unknown = [], [], False
    for one, other in pairs:
        weights = ((one, 1.0), (other, -1.0))
        loss = differences.of_points(found, _LOSS, weights)
        gain = differences.of_points(found, score, weights)
        unknown |= None in (loss.error, gain.error)
        signs.append((loss.sign(family), gain.sign(family)))
        if loss.value * gain.value > 0:  # A higher loss and a higher score.
            reversed_pairs.append(f"{one.model}, {other.model}")
    numbers = {"pairs": len(pairs), "ordered otherwise": len(reversed_pairs)}
    if any(loss * gain > 0 for loss, gain in signs):
        return claim_lib.Verdict(claim_lib.Outcome.SUPPORTED, numbers)
    if all(loss * gain < 0 for loss, gain in signs):
        return claim_lib.Verdict(claim_lib.Outcome.CONTRADICTED, numbers)
    reason = differences.UNKNOWN if unknown else "no reversal exceeds its error"
    return claim_lib.Verdict(claim_lib.Outcome.UNDECIDED, numbers, reason)


def _shape_matters(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares models of one architecture with about as many parameters."""
    found, score = _scored(seen)
    gaps = {}
    for name in found.architectures:
        points = found.of(name, alphas.PARAMS, score)
        for small, large in itertools.combinations(points, 2):
            ratio = large.values[alphas.PARAMS].mean / small.values[alphas.PARAMS].mean
            if ratio <= _SAME_SIZE and small.model != large.model:
                gaps[f"{large.model} less {small.model}"] = differences.of_points(
                    found, score, ((large, 1.0), (small, -1.0))
                )
    differences.need(gaps, "two shapes within 10 % of each other's parameters")
    return differences.any_holds(gaps, _MARGIN)


def _depth_fades(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares the gain per doubled depth before and beyond 32 layers."""
    found, score = _scored(seen)
    gaps = {}
    for key, series in _depths(found, score).items():
        deep = [layers for layers in series if layers >= _DEEP]
        shallow = [layers for layers in series if layers < _DEEP]
        if not deep or len(shallow) < 2:
            continue
        first, last, end = shallow[0], shallow[-1], deep[-1]
        before = 1 / math.log2(last / first)
        beyond = 1 / math.log2(end / last)
        weights = (
            (series[last], before + beyond),
            (series[first], -before),
            (series[end], -beyond),
        )
        gaps[key] = differences.of_points(found, score, weights)
    differences.need(gaps, "depths on both sides of 32 layers at one starting size")
    return differences.all_hold(gaps)


def _depths(
    found: points_lib.Points, score: str
) -> dict[str, dict[int, points_lib.Point]]:
    """Returns starting size -> layers -> the point whose depth alone was changed."""
    series: dict[str, dict[int, points_lib.Point]] = {}
    for point in found.points:
        name = _parsed(point)
        if name is None or score not in point.values:
            continue
        if {operator for operator, _ in name.operators} <= {"NL"}:
            layers = dict(name.operators).get("NL", sizes.SIZES[name.size].num_layers)
            key = f"{name.architecture}-{name.size}"
            series.setdefault(key, {})[int(layers)] = point
    return {key: dict(sorted(points.items())) for key, points in series.items()}


def _deep_narrow_dominates(seen: papers.Evidence) -> claim_lib.Verdict:
    """Compares each standard size with the best deeper model that costs no more."""
    found, score = _scored(seen)
    needed = {score, alphas.PARAMS, alphas.FLOPS}
    points = [
        (name, point)
        for point in found.points
        if (name := _parsed(point)) is not None and needed <= set(point.values)
    ]
    gaps = {}
    for name, standard in points:
        if name.operators:
            continue
        rivals = [
            point
            for other, point in points
            if other.architecture == name.architecture
            and _is_deeper(other, name)
            and all(
                point.values[cost].mean <= standard.values[cost].mean
                for cost in (alphas.PARAMS, alphas.FLOPS)
            )
        ]
        if rivals:
            best = max(rivals, key=lambda point: point.values[score].mean)
            weights = ((best, 1.0), (standard, -1.0))
            gaps[f"{best.model} less {standard.model}"] = differences.of_points(
                found, score, weights
            )
    differences.need(gaps, "deeper, narrower models that cost no more than a size")
    return differences.all_hold(gaps)


def _is_deeper(name: grammar.ModelName, standard: grammar.ModelName) -> bool:
    """Whether a model only has more layers than a smaller size, and than this one."""
    if {operator for operator, _ in name.operators} != {"NL"}:
        return False
    order = list(sizes.SIZES)
    smaller = order.index(name.size) < order.index(standard.size)
    layers = dict(name.operators)["NL"]
    return smaller and layers > sizes.SIZES[standard.size].num_layers


def _parsed(point: points_lib.Point) -> grammar.ModelName | None:
    """Returns the parts of a model's name; None for others' models."""
    try:
        return registry.parse(point.model)
    except grammar.ModelNameError:
        return None


_B = papers.PAPER_B
CLAIMS = (
    papers.PaperClaim(
        "ranks_differ",
        "The rank of models upstream is not their rank downstream.",
        _B,
        _ranks_differ,
    ),
    papers.PaperClaim(
        "shape_matters",
        "At about as many parameters, the shape of a model changes its score.",
        _B,
        _shape_matters,
    ),
    papers.PaperClaim(
        "depth_fades",
        "Gains of depth are smaller beyond 32 layers.",
        _B,
        _depth_fades,
    ),
    papers.PaperClaim(
        "deep_narrow_dominates",
        "Some deeper, narrower model that costs no more beats each standard size.",
        _B,
        _deep_narrow_dominates,
    ),
)
