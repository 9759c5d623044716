"""Checks of what single layers do: the load of experts and the entropy of attention."""

from collections.abc import Callable
from collections.abc import Iterator
import math
from typing import Any

from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import thresholds
from clinometer.train.run import record as record_lib


def dead_experts(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds experts that get hardly any tokens.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has no health metrics, or the model no experts.
    """
    found = []
    for place, measured in _needed(run, "/load", "the model has no experts").items():
        # Expert of a layer -> (step, share of an equal load).
        loads: dict[str, list[tuple[int, float]]] = {}
        for step, value in measured:
            for layer, experts in _layers(value, 2):
                for number, load in enumerate(experts):
                    name = f"{layer} expert {number}".strip()
                    loads.setdefault(name, []).append((step, load * len(experts)))
        limit = thresholds.DEAD_EXPERT.value
        dead = _lasting(loads, lambda share, limit=limit: share < limit)
        if dead:
            found.append(
                finding.Finding(
                    check="experts",
                    step=min(dead.values()),
                    what=f"{place}: {len(dead)} of {len(loads)} experts are dead",
                    evidence={
                        "experts": sorted(dead),
                        "largest load among them, of an equal share": max(
                            loads[name][-1][1] for name in dead
                        ),
                    },
                    threshold=str(thresholds.DEAD_EXPERT),
                    advice="a larger model.aux_loss_weight, or a lower "
                    "schedule.learning_rate",
                )
            )
    return found


def dropped_tokens(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds layers of experts that leave out many of the tokens.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has no health metrics, or the model no experts.
    """
    shares = {}
    for place, measured in _needed(run, "/dropped", "the model has no experts").items():
        for step, value in measured:
            for layer, share in _layers(value, 1):
                shares.setdefault(f"{place} {layer}".strip(), []).append((step, share))
    full = _lasting(shares, lambda share: share > thresholds.DROPPED.value)
    if not full:
        return []
    return [
        finding.Finding(
            check="dropped",
            step=min(full.values()),
            what=f"experts are full, and most tokens are dropped in {len(full)} of "
            f"{len(shares)} layers",
            evidence={name: shares[name][-1][1] for name in sorted(full)},
            threshold=str(thresholds.DROPPED),
            advice="a larger model.capacity_factor or model.aux_loss_weight",
        )
    ]


def attention(run: telemetry_lib.Telemetry) -> list[finding.Finding]:
    """Finds layers whose attention is on one key, or the same on all keys.

    The telemetry has the mean entropy over the heads and queries of a layer, of the
    first example. One head of several is not seen.

    Args:
        run: the run.

    Raises:
        NotCheckedError: the log has no health metrics, or the model no such attention.
    """
    sharp, flat = {}, {}
    entropies: dict[str, list[tuple[int, float]]] = {}
    needed = _needed(run, "/entropy", "the model has no attention that has an entropy")
    for place, measured in needed.items():
        own: dict[str, list[tuple[int, float]]] = {}
        for step, value in measured:
            for layer, entropy in _layers(value, 1):
                own.setdefault(f"{place} {layer}".strip(), []).append((step, entropy))
        entropies |= own
        sharp |= _lasting(own, lambda v: v < thresholds.COLLAPSED_ENTROPY.value)
        uniform = _uniform(run.record, place)
        if uniform is not None and run.over:
            near = uniform - thresholds.UNIFORM_ENTROPY.value
            flat |= _lasting(own, lambda v, near=near: v > near)
    found = []
    for layers, kind, threshold, advice in (
        (
            sharp,
            "has collapsed to one key",
            thresholds.COLLAPSED_ENTROPY,
            "a lower schedule.learning_rate or a longer warmup; the logits have grown",
        ),
        (
            flat,
            "is the same on all keys",
            thresholds.UNIFORM_ENTROPY,
            "more steps or a higher schedule.learning_rate; the layer has not learned "
            "where to look",
        ),
    ):
        if layers:
            found.append(
                finding.Finding(
                    check="attention",
                    step=min(layers.values()),
                    what=f"attention {kind} in {len(layers)} of {len(entropies)} "
                    "layers",
                    evidence={
                        f"entropy of {name}": entropies[name][-1][1]
                        for name in sorted(layers)
                    },
                    threshold=f"{threshold}; in the last {thresholds.LASTING} "
                    "measurements",
                    advice=advice,
                )
            )
    return found


def _needed(
    run: telemetry_lib.Telemetry, end: str, otherwise: str
) -> dict[str, list[tuple]]:
    found = run.health(end=end)
    if not found:
        raise finding.NotCheckedError(otherwise)
    most = max(map(len, found.values()))
    if most < thresholds.LASTING:
        raise finding.NotCheckedError(
            f"health/* was measured {most} times, and it takes {thresholds.LASTING}"
        )
    return found


def _layers(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yields (name, value) of each layer; a sublayer that is not stacked has no name.

    Args:
        value: the value of a health metric, with or without an axis of layers in front.
        depth: number of axes with one, 1 for a number of each layer.
    """
    axes, part = 0, value
    while isinstance(part, list):
        axes, part = axes + 1, part[0] if part else None
    if axes < depth:
        yield "", value
        return
    for number, one in enumerate(value):
        yield f"layer {number}", one


def _lasting(
    measured: dict[str, list[tuple[int, float]]], is_bad: Callable[[float], bool]
) -> dict[str, int]:
    """Returns name -> first step of a bad state that lasts to the end."""
    begun = {}
    for name, values in measured.items():
        bad = []
        for step, value in reversed(values):
            if value is None or not is_bad(value):
                break
            bad.append(step)
        if len(bad) >= thresholds.LASTING:
            begun[name] = bad[-1]
    return begun


def _uniform(record: record_lib.Record, place: str) -> float | None:
    """Returns the entropy of equal weights, in nats; None if the lengths vary."""
    keys, queries = record.counts.encoder_length, record.counts.decoder_length
    if record.kind != record_lib.PRETRAINING or not keys or not queries:
        return None  # Only rows of pretraining are full.
    if place.startswith("decoder") and "cross" not in place:
        # The query at position t has t keys.
        return sum(math.log(t) for t in range(1, int(queries) + 1)) / queries
    return math.log(keys)
