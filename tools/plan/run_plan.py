"""The plan of a run: whether its step fits, and what training takes and costs."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer import models
from clinometer.kernels.tpu import chips
from clinometer.models.counting import checked
from clinometer.models.vision import counts as vision_counts
from clinometer.tools.plan import machines
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import step_compiler
from clinometer.tools.plan import step_cost
from clinometer.tools.plan import step_time
from clinometer.tools.plan.validation import chosen

_SECONDS_PER_HOUR = 3600
Record = dict[str, Any]


def make(
    request: request_lib.Request,
    compiled: step_compiler.Compiled,
    chip: chips.Chip,
    *,
    steps: int,
    prices: prices_lib.Prices = prices_lib.UNKNOWN,
) -> Record:
    """Returns the plan of a run, for JSON.

    Args:
        request: the step.
        compiled: what the compiler said about it.
        chip: the chip of the topology.
        steps: number of steps of the run.
        prices: of the chip.
    """
    cores = compiled.entry.facts["cores_per_device"]
    capacity = machines.of_chip(chip).hbm_bytes * cores
    record = untimed(request, compiled, capacity, steps=steps)
    if not compiled.entry.text:
        return record
    cost = step_cost.read(compiled.entry.text)
    flops = record["flops_per_device"]
    work = step_time.work(cost, compiled.entry.kernels, chip, flops=flops, cores=cores)
    unknown = sorted(set(cost.pallas_calls) - set(compiled.entry.kernels))
    record |= exchanged(cost)
    record |= {
        "estimated_cycles": cost.cycles,
        "pallas_calls": sum(cost.pallas_calls.values()),
        "pallas_calls_without_cost": unknown,
        "work_seconds": dataclasses.asdict(work),
    }
    return record | (timed(record, work, chip, prices) if record["fits"] else {})


def untimed(
    request: request_lib.Request,
    compiled: step_compiler.Compiled,
    capacity: int,
    *,
    steps: int,
) -> Record:
    """Returns a plan without what the compiler's text says, which is None.

    Args:
        request: the step.
        compiled: what the compiler said about it.
        capacity: bytes of a device.
        steps: number of steps of the run.
    """
    facts = compiled.entry.facts
    counts = counts_of(request)
    return {
        **request.to_json(),
        "model": counts.model,
        **{key: facts[key] for key in ("device_kind", "devices", "chips", "mesh")},
        "params": counts.params_total,
        "flops_per_step": counts.flops_train_step,
        "flops_per_device": counts.flops_train_step / facts["devices"],
        "steps": steps,
        **_memory(compiled, capacity),
        "memory_method": "of the program that is compiled for this topology",
        **_UNTIMED,
        "choices": facts["choices"],
        "program": compiled.key,
        "cached": compiled.cached,
        "compile_seconds": compiled.entry.compile_seconds,
        "versions": facts["versions"],
    }


# What is known only of a program that compiles, and of a step that fits.
_UNTIMED: Mapping[str, Any] = dict.fromkeys(
    (
        *("collectives", "estimated_cycles", "pallas_calls"),
        *("pallas_calls_without_cost", "unknown_loops", "work_seconds"),
        *("step_seconds", "step_seconds_parts", "step_seconds_range", "method"),
        *("step_seconds_by_rule", "ranking_seconds"),
        *("mfu", "hours", "chip_hours", "cost", "currency", "kwh"),
    )
)


def counts_of(
    request: request_lib.Request,
) -> checked.TransformerCounts | vision_counts.VisionCounts:
    """Returns the parameters and FLOPs of a step, over all devices.

    Args:
        request: the step.
    """
    return models.counts.count(
        request.model,
        batch_size=request.batch_size,
        encoder_length=request.encoder_length,
        decoder_length=request.decoder_length,
        trace=False,
        **request.fields,
    )


def exchanged(cost: step_cost.StepCost) -> Record:
    """Returns the part of a plan about what devices exchange, and about loops.

    Args:
        cost: what the compiler's text says.
    """
    return {
        "collectives": {
            kind: dataclasses.asdict(found) for kind, found in cost.collectives.items()
        },
        "unknown_loops": cost.unknown_loops,
    }


def timed(
    record: Mapping[str, Any],
    work: step_time.Work,
    chip: chips.Chip,
    prices: prices_lib.Prices,
) -> Record:
    """Returns the part of a plan that follows from the time of a step.

    Args:
        record: the plan, of which the numbers of steps and chips are read.
        work: the work of a step.
        chip: the chip.
        prices: of the chip.
    """
    form = chosen.FORM
    seconds = form.seconds(work)
    known = chip.name == chosen.CHIP
    factor = chosen.FACTOR
    error = (
        f"a factor of {factor:g} at most for published speeds of vanilla models on "
        f"{chosen.CHIP}"
        if known
        else f"not known: constants are from {chosen.CHIP}, and no speed on "
        f"{chip.name} was compared"
    )
    return {
        "step_seconds": seconds,
        "step_seconds_parts": form.parts(work),
        "step_seconds_range": [seconds / factor, seconds * factor] if known else None,
        "step_seconds_by_rule": {
            name: other.seconds(work) for name, other in chosen.FORMS.items()
        },
        "ranking_seconds": chosen.RANKING.seconds(work),
        "method": f"{form.name}; error {error} (tools/plan/VALIDATION.md)",
        "mfu": work.flops / seconds,
        **duration(record, seconds, prices),
    }


def duration(
    record: Mapping[str, Any], seconds: float, prices: prices_lib.Prices
) -> Record:
    """Returns what all steps take and cost.

    Args:
        record: the plan, of which the numbers of steps and chips are read.
        seconds: time of a step.
        prices: of the chip or GPU.
    """
    hours = record["steps"] * seconds / _SECONDS_PER_HOUR
    chip_hours = hours * record["chips"]
    return {
        "hours": hours,
        "chip_hours": chip_hours,
        "cost": prices.cost(chip_hours),
        "currency": prices.currency or None,
        "kwh": prices.kwh(chip_hours),
    }


def _memory(compiled: step_compiler.Compiled, capacity: int) -> Record:
    """Returns whether a step fits in the memory of a device, and why not."""
    memory = compiled.entry.memory
    reason = compiled.entry.reason
    if memory is not None and memory.total_bytes > capacity:
        reason = (
            f"it needs {memory.total_bytes:,} bytes of a device's {capacity:,} bytes"
        )
    needs = {
        "argument_bytes": memory and memory.argument_bytes,
        "temporary_bytes": memory and memory.temporary_bytes,
        "output_bytes": memory and memory.output_bytes,
        "total_bytes": memory and memory.total_bytes,
        "capacity_bytes": capacity,
    }
    return {"fits": reason is None, "reason": reason, "memory": needs}
