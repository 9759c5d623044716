"""Formats the results of `clinometer evaluate` as a table."""

from clinometer.kernels import terminal
from clinometer.train.downstream import crossed
from clinometer.train.run import record as run_record

_NORMAL = 1.96  # Quantile of a 95 % interval.


def table(added: run_record.Evaluation) -> str:
    """Formats the scores as a table with one line per task.

    Args:
        added: the evaluation.
    """
    rows = []
    for name, found in added.tasks.items():
        metrics = ", ".join(f"{k} {_text(v)}" for k, v in found.metrics.items())
        cut = f"; {found.truncated} inputs truncated" if found.truncated else ""
        rows.append(
            (
                name,
                _text(found.score),
                _interval(found.low, found.high),
                str(found.step),
                str(found.examples),
                metrics + cut,
            )
        )
    for name, average in added.averages.items():
        low = high = None
        if None not in (average.value, average.standard_error):
            reach = _NORMAL * average.standard_error
            low, high = average.value - reach, average.value + reach
        mean = _text(average.value)
        rows.append((f"{name} (mean)", mean, _interval(low, high), "", "", ""))
    head = ("task", "score", "95 % interval", "step", "examples", "metrics")
    lines = terminal.table(rows, head, left=(0, 5), widths=(18, 6, 13, 7, 8))
    lines.append(
        f"in percent; {added.sequences_per_second:,.1f} sequences/s, "
        f"{added.options['decoding']} decoding"
    )
    lines.append(
        "the interval is over other examples, for this trained model; "
        f"{crossed.UNKNOWN_SEEDS}"
    )
    return "\n".join(lines)


def _interval(low: float | None, high: float | None) -> str:
    return "-" if None in (low, high) else f"{low:.2f} to {high:.2f}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
