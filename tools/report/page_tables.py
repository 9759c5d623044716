"""Renders the tables of the report page."""

from collections.abc import Mapping
from collections.abc import Sequence
import math

from clinometer.tools.fit import power_law
from clinometer.tools.report import analysis
from clinometer.tools.report import formats
from clinometer.tools.report import html_table
from clinometer.tools.report import rows as rows_lib

Cell = html_table.Cell


def runs(rows: Sequence[rows_lib.Row]) -> str:
    """Renders the sortable table of runs: result, size, cost and time of each."""
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
            html_table.text(row["run"]),
            Cell(row["status"], row["status"], tag=row["status"] != "finished"),
            _fixed(row["validation_loss_nats"], 4),
            _si(row["params_total"]),
            _si(row["training_flops"]),
            _si(row["flops_forward"]),
            _si(row["flops_forward_non_embedding"]),
            Cell(
                formats.fixed(row["downstream_score"], 1),
                _key(row["downstream_score"]),
            ),
            _duration(row["wall_total_seconds"]),
            _fixed(row["train_loss_nats"], 4),
            _fixed(row["validation_accuracy"], 4),
            _si(row["params_non_embedding"]),
            _fixed(row["epochs"], 2),
            _si(row["papers_macs_forward_batch"]),
            Cell(formats.significant(row["learning_rate"]), _key(row["learning_rate"])),
            Cell(str(row["seed"]), row["seed"]),
            Cell(formats.fixed(row["data_order"], 0), _key(row["data_order"])),
            html_table.text(row["comparability_key"]),
        )
        for row in rows
    ]
    last = len(heads) - 1
    return html_table.table(heads, body, text_columns=(0, 1, last), sortable=True)


def speed(rows: Sequence[rows_lib.Row]) -> str:
    """Renders the sortable table of speeds, a row per run that was timed."""
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
    body = []
    for row in rows:
        median, iqr = row["steps_per_second_median"], row["steps_per_second_iqr"]
        if median is None:
            continue
        error = row["steps_per_second_median_error"]
        share = None if error is None or not median else error / median
        body.append(
            (
                html_table.text(row["run"]),
                Cell(formats.significant(median), median),
                Cell(formats.significant(iqr), _key(iqr)),
                _percent(share),
                _si(row["tokens_per_second_median"]),
                Cell(str(row["speed_windows"]), _key(row["speed_windows"])),
                Cell(str(row["speed_window_steps"]), _key(row["speed_window_steps"])),
                _percent(row["mfu"]),
                _percent(row["fraction_of_measured_matmul"]),
                _percent(row["matmul_drift"]),
                _fixed(row["cores_used_by_others"], 2),
                Cell("noisy" if row["speed_noisy"] else "", tag=True),
            )
        )
    return html_table.table(heads, body, text_columns=(0, 11), sortable=True)


def _percent(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{100 * value:.1f} %", _key(value))


def slopes(fits: Sequence[analysis.CostFit]) -> str:
    """Renders the table of straight lines against each cost, per architecture."""
    heads = (
        "cost",
        "architecture",
        "slope",
        "95 % interval",
        "lack of fit, p",
        "power",
        "RMSE",
        "sizes",
        "runs",
        "Theil-Sen",
    )
    body = []
    for fit in fits:
        first = (html_table.text(fit.cost.title), html_table.text(fit.architecture))
        counts = (Cell(str(len(fit.points))), Cell(str(fit.runs)))
        if fit.slope is None:
            why = Cell(fit.reason, wrap=True)
            body.append((*first, Cell("–"), why, *[Cell("–")] * 3, *counts, Cell("–")))
            continue
        line, theil_sen = fit.line, fit.variants[0].theil_sen_slope
        interval, p_value, power = Cell(fit.reason or "–", wrap=True), None, "–"
        if line is not None:
            interval = Cell(formats.interval(line.low, line.high))
            p_value = line.lack_of_fit_p
            power = ", ".join(
                f"{change:g}×: {100 * share:.0f} %"
                for change, share in line.lack_of_fit_power
            )
        body.append(
            (
                *first,
                Cell(formats.signed(fit.slope), fit.slope),
                interval,
                Cell(formats.p_value(p_value), _key(p_value)),
                Cell(power),
                Cell(
                    formats.fixed(
                        math.hypot(*fit.residuals) / len(fit.points) ** 0.5, 4
                    )
                ),
                *counts,
                Cell(formats.signed(theil_sen), theil_sen),
            )
        )
    return html_table.table(heads, body, text_columns=(0, 1))


def variants(fits: Sequence[analysis.CostFit]) -> str:
    """Renders the sortable table of all variants of all slopes."""
    heads = (
        "cost",
        "architecture",
        "log of cost",
        "log of loss",
        "standardized",
        "slope",
        "R²",
        "Theil-Sen",
    )
    body = [
        (
            html_table.text(item.cost.title),
            html_table.text(item.architecture),
            html_table.text(fit.logx),
            html_table.text(fit.logy),
            html_table.text("yes" if fit.standardise else "no"),
            Cell(_small(fit.slope), fit.slope),
            Cell(formats.fixed(fit.r_squared, 3), _key(fit.r_squared)),
            Cell(_small(fit.theil_sen_slope), fit.theil_sen_slope),
        )
        for item in fits
        for fit in item.variants
    ]
    return html_table.table(heads, body, text_columns=(0, 1, 2, 3, 4), sortable=True)


def residuals(fits: Sequence[analysis.CostFit]) -> str:
    """Renders the sortable table of residuals, in nats per token.

    A residual is positive if the loss is above the line.
    """
    heads = ("cost", "architecture", "size", "cost of a run", "mean loss", "residual")
    body = [
        (
            html_table.text(item.cost.title),
            html_table.text(item.architecture),
            html_table.text(point.size),
            _si(point.cost, 4),
            _fixed(point.loss, 4),
            Cell(formats.signed(residual, 4), residual),
        )
        for item in fits
        for point, residual in zip(item.points, item.residuals)
    ]
    return html_table.table(heads, body, text_columns=(0, 1, 2), sortable=True)


def power_laws(laws: Mapping[str, power_law.PowerLaw | str]) -> str:
    """Renders the table of power laws, loss = N_c * N^exponent + floor."""
    heads = ("architecture", "N_c", "exponent", "floor", "RMSE", "R²", "")
    body = []
    for name, law in laws.items():
        if isinstance(law, str):
            body.append((html_table.text(name), *[Cell("–")] * 5, Cell(law, wrap=True)))
            continue
        steep, flat = (formats.signed(value, 3) for value in law.interval)
        between = f"95 % profile interval of the exponent: {steep} to {flat}"
        if not law.determined:
            why = "reaches an end of its range" if law.at_bound else "too wide"
            cell = Cell(f"not determined ({between}, {why})", wrap=True)
            body.append((html_table.text(name), *[Cell("–")] * 5, cell))
            continue
        body.append(
            (
                html_table.text(name),
                Cell(f"{law.coefficient:.4g}"),
                Cell(formats.signed(law.exponent, 4)),
                Cell(f"{law.floor:.3f}"),
                Cell(f"{law.rmse:.4f}"),
                Cell(f"{law.r_squared:.4f}"),
                html_table.text(between),
            )
        )
    return (
        '<p class="note">Loss = N_c · N^exponent + floor, where N is the number of '
        "parameters, fitted by least squares to the mean loss of each size (Tay et al. "
        "2021, appendix A). The constants are shown only if the sizes determine them: "
        "if the interval of the exponent is narrower than a factor of two and does not "
        "reach an end of its range.</p>"
        + html_table.table(heads, body, text_columns=(0, 6))
    )


def _key(value: float | None) -> float | str:
    return "" if value is None else value


def _si(value: float | None, digits: int = 3) -> Cell:
    return Cell(formats.si(value, digits), _key(value))


def _fixed(value: float | None, decimals: int) -> Cell:
    return Cell(formats.fixed(value, decimals), _key(value))


def _duration(value: float | None) -> Cell:
    return Cell(formats.duration(value), _key(value))


def _small(value: float | None) -> str:
    """Formats with four significant digits, including very small numbers."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")
