"""Tables of runs: results, costs and speeds."""

from collections.abc import Sequence

from clinometer.tools.report import formats
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import speeds
from clinometer.tools.report.grids import grid

Cell = grid.Cell


def runs(rows: Sequence[rows_lib.Row]) -> grid.Grid:
    """Returns the sortable table of runs: result, size, cost and time of each."""
    heads = (
        "run",
        "status",
        "validation loss",
        "parameters",
        "training FLOPs",
        "FLOPs / batch",
        "without logits",
        "downstream",
        "wall time",
        "training loss",
        "accuracy",
        "non-embedding parameters",
        "epochs",
        "papers’ multiply-adds / batch",
        "learning rate",
        "seed",
        "order",
        "key",
    )
    body = [
        (
            grid.text(row["run"]),
            Cell(row["status"], row["status"], tag=row["status"] == "failed"),
            _fixed(row["validation_loss_nats"], 4),
            _si(row["params_total"]),
            _si(row["training_flops"]),
            _si(row["flops_forward"]),
            _si(row["flops_forward_non_embedding"]),
            Cell(
                formats.fixed(row["downstream_score"], 1),
                grid.key(row["downstream_score"]),
            ),
            _duration(row["wall_total_seconds"]),
            _fixed(row["train_loss_nats"], 4),
            _fixed(row["validation_accuracy"], 4),
            _si(row["params_non_embedding"]),
            _fixed(row["epochs"], 2),
            _si(row["papers_macs_forward_batch"]),
            Cell(
                formats.significant(row["learning_rate"]),
                grid.key(row["learning_rate"]),
            ),
            Cell(str(row["seed"]), row["seed"]),
            Cell(formats.fixed(row["data_order"], 0), grid.key(row["data_order"])),
            grid.text(row["comparability_key"]),
        )
        for row in rows
    ]
    last = len(heads) - 1
    return grid.make(
        "runs",
        "All runs: results, sizes, costs and conditions",
        heads,
        body,
        text_columns=(0, 1, last),
        archs=[row["architecture"] for row in rows],
        sortable=True,
        filtered=True,
    )


def speed(rows: Sequence[rows_lib.Row]) -> grid.Grid:
    """Returns the sortable table of speeds, a row per run that was timed."""
    heads = (
        "run",
        "steps/s, median",
        "interquartile range",
        "error of the median",
        "tokens/s, median",
        "windows",
        "steps per window",
        "MFU",
        "fraction of matmul rate",
        "drift",
        "cores of others",
        "",
    )
    timed = [
        row
        for row in speeds.measured(rows)
        if row["steps_per_second_median"] is not None
    ]
    body = []
    for row in timed:
        median, iqr = row["steps_per_second_median"], row["steps_per_second_iqr"]
        error = row["steps_per_second_median_error"]
        share = None if error is None or not median else error / median
        body.append(
            (
                grid.text(row["run"]),
                Cell(formats.significant(median), median),
                Cell(formats.significant(iqr), grid.key(iqr)),
                _percent(share),
                _si(row["tokens_per_second_median"]),
                Cell(str(row["speed_windows"]), grid.key(row["speed_windows"])),
                Cell(
                    str(row["speed_window_steps"]), grid.key(row["speed_window_steps"])
                ),
                _percent(row["mfu"]),
                _percent(row["fraction_of_measured_matmul"]),
                _percent(row["matmul_drift"]),
                _fixed(row["cores_used_by_others"], 2),
                Cell("noisy" if row["speed_noisy"] else "", tag=True),
            )
        )
    return grid.make(
        "speed",
        "Speeds of all runs that were timed",
        heads,
        body,
        text_columns=(0, 11),
        archs=[row["architecture"] for row in timed],
        sortable=True,
        filtered=True,
    )


def _percent(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{100 * value:.1f} %", grid.key(value))


def _si(value: float | None, digits: int = 3) -> Cell:
    return Cell(formats.si(value, digits), grid.key(value))


def _fixed(value: float | None, decimals: int) -> Cell:
    return Cell(formats.fixed(value, decimals), grid.key(value))


def _duration(value: float | None) -> Cell:
    return Cell(formats.duration(value), grid.key(value))
