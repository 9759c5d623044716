"""Says what a study would do: its commands, or a table of its runs and their costs."""

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import shlex

from clinometer.kernels import terminal
from clinometer.kernels.options.errors import OptionError
from clinometer.models.counting import checked
from clinometer.tools.plan import planning
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import table as plan_table
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import source as source_lib

TABLE, COMMANDS = FORMS = ("table", "commands")
_WIDTH = 80
_TIMEOUT_SECONDS = 3600
_ELLIPSIS = "..."


def commands(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun]
) -> Iterator[str]:
    """Yields the command of each pretraining and fine-tuning.

    Args:
        options: of the command.
        runs: the planned runs, whose learning rates are known.
    """
    protocol = options.study.protocol
    store = str(options.study.store or "EMBEDDED_STORE")
    if protocol.of_images:
        store = source_lib.ensure(protocol, None)
    for run in runs:
        work = [
            phases.pretraining(options, run, store),
            *(
                phases.finetuning(options, run, store, tuning)
                for tuning in protocol.finetunings
                if tuning.is_of(run.model)
            ),
            *([phases.scoring(options, run, store)] if protocol.of_images else []),
        ]
        for one in work:
            yield f"{one.name}: {shlex.join(one.command)}"


def table(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun]
) -> Iterator[str]:
    """Yields a table of the pretrainings, at most 80 columns wide.

    Hours and chip-hours are for a TPU topology, if the options name one, and cost is
    that of the prices of its chip. Below are the fine-tunings with their FLOPs.

    Args:
        options: of the command.
        runs: the planned runs.

    Raises:
        OptionError: the topology or the prices are wrong, the mesh of the topology does
            not fit a model, or there is no TPU compiler.
        LostError: a step could not be compiled.
    """
    names = list(dict.fromkeys(run.model for run in runs))
    counts = {name: phases.count(options, name) for name in names}
    steps = options.study.protocol.train_steps
    plans = _plans(options, counts) if options.topology else {}
    rows = [_row(counts[run.model], steps, plans.get(run.model)) for run in runs]
    columns = ["parameters", "FLOPs"]
    if plans:
        columns += ["hours", "chip-hours"]
    if any(row["cost"] is not None for row in rows):
        columns.append("cost")
    total = {
        name: _sum([row[name] for row in rows])
        for name in ("FLOPs", "hours", "chip-hours", "cost")
    }
    cells = [[_shown(name, row[name]) for name in columns] for row in rows]
    cells.append([_shown(name, total.get(name)) for name in columns])
    heads = [_head(name, plans) for name in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells)]
    room = _WIDTH - sum(2 + width for width in widths)
    labels = [*(run.name for run in runs), f"total of {len(runs)} runs"]
    yield from terminal.table(
        [(_cut(label, room), *row) for label, row in zip(labels, cells)],
        ("run", *heads),
    )
    yield ""
    yield from _finetunings(options, runs)
    for model, note in options.study.notes.items():
        if model in counts:
            yield from plan_table.wrapped(f"Note: {model}: {note}.")
    yield from _remarks(options, plans)


def _plans(
    options: argparse.Namespace, counts: Mapping[str, checked.TransformerCounts]
) -> dict[str, run_plan.Record]:
    """Returns the plan of each model, as the study's trainer would run it."""
    protocol = options.study.protocol
    target = planning.target(options.topology, options.prices)
    settings = {
        key: value
        for key, value in protocol.settings().items()
        if key.startswith("optimizer.")
    }
    shared = ("dtype", "dropout_rate", "scan_layers")
    fields = {name: getattr(protocol, name) for name in shared}
    lengths = {}
    if protocol.of_images:
        fields |= source_lib.model_fields(protocol)
    else:
        fields["vocab_size"] = protocol.vocab_size
        count = next(iter(counts.values()))
        lengths = {
            name: getattr(count, name) for name in ("encoder_length", "decoder_length")
        }
    requests = [
        request_lib.Request(
            model=name,
            topology=target.topology,
            batch_size=protocol.batch_size,
            fields=fields,
            settings=settings,
            **lengths,
        )
        for name in counts
    ]
    try:
        records = planning.plans(
            requests,
            target,
            steps=protocol.train_steps,
            jobs=1,
            timeout=_TIMEOUT_SECONDS,
        )
    except ModuleNotFoundError as error:
        raise OptionError(
            f"--topology: the Python package {error.name!r} is not installed; "
            "pip install 'clinometer[tpu]'"
        ) from None
    return dict(zip(counts, records))


def _row(
    count: checked.TransformerCounts, steps: int, record: run_plan.Record | None
) -> dict[str, float | None]:
    return {
        "parameters": count.params_total,
        "FLOPs": float(count.flops_train_step * steps),
        "hours": record and record["hours"],
        "chip-hours": record and record["chip_hours"],
        "cost": record and record["cost"],
    }


def _sum(values: Sequence[float | None]) -> float | None:
    """Returns the sum, or None if a value is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _head(name: str, plans: Mapping[str, run_plan.Record]) -> str:
    currency = next((x["currency"] for x in plans.values() if x["currency"]), None)
    return f"{name} {currency}" if name == "cost" and currency else name


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "" if name == "parameters" else "-"
    if name == "parameters":
        return format(int(value), ",")
    return format(value, ".2e") if name == "FLOPs" else plan_table.number(value)


def _cut(text: str, room: int) -> str:
    """Returns a text that is no longer than the room, cut in the middle."""
    if len(text) <= room:
        return text
    kept = room - len(_ELLIPSIS)
    return f"{text[: kept - kept // 2]}{_ELLIPSIS}{text[len(text) - kept // 2 :]}"


def _finetunings(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun]
) -> Iterator[str]:
    """Yields a sentence about each fine-tuning, or about the few-shot evaluation."""
    protocol = options.study.protocol
    if protocol.of_images:
        shots = ", ".join(map(str, protocol.fewshot.shots))
        yield from plan_table.wrapped(
            f"Few-shot evaluation with {shots} images of each class: {len(runs)} runs."
        )
    for tuning in protocol.finetunings:
        settings = tuning.settings
        own = [run for run in runs if tuning.is_of(run.model)]
        flops = sum(
            phases.count_finetuning(options, run.model, settings).flops_train_step
            for run in own
        )
        which = f" of {', '.join(tuning.models)}" if tuning.models else ""
        yield from plan_table.wrapped(
            f"Fine-tuning {tuning.name}{which} on {settings.mixture}: {len(own)} runs "
            f"of {settings.train_steps:,} steps, {flops * settings.train_steps:.2e} "
            "FLOPs."
        )


def _remarks(
    options: argparse.Namespace, plans: Mapping[str, run_plan.Record]
) -> Iterator[str]:
    yield from plan_table.wrapped(
        "The table is of pretraining only, without evaluation. --dry-run=commands "
        "prints the commands."
    )
    if not plans:
        yield from plan_table.wrapped(
            "Hours, device-hours and cost are unknown without a topology: "
            "--topology NAME adds the hours on a TPU by `clinometer plan`, such as "
            "v3:4x4 for 16 chips, and --prices FILE the cost."
        )
        return
    first = next(iter(plans.values()))
    yield from plan_table.wrapped(
        f"Hours: on {first['topology']}, {first['chips']} chips, one run at a time; "
        "those of fine-tuning and evaluation are unknown."
    )
    for name, record in plans.items():
        if not record["fits"]:
            yield from plan_table.wrapped(f"{name} does not fit: {record['reason']}")
    for method in sorted({x["method"] for x in plans.values() if x["method"]}):
        yield from plan_table.wrapped(f"Time: {method}.")
