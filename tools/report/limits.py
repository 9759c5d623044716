"""What the runs of a study cannot say, for the lead of its page."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.tools.report import selection
from clinometer.tools.report.charts import axes
from clinometer.tools.report.tables import architecture_table
from clinometer.tools.report.tables import sources as sources_lib


@dataclasses.dataclass(frozen=True)
class Limit:
    """Something that the runs cannot say.

    Attributes:
        name: what, in a few words.
        text: why, or how far.
    """

    name: str
    text: str


def make(
    sources: sources_lib.Sources, rows: Sequence[Mapping[str, Any]]
) -> list[Limit]:
    """Returns what the runs cannot say.

    Args:
        sources: what was read.
        rows: from `architecture_table.make`.
    """
    made = []
    compared = architecture_table.compared(rows)
    open_ones = [row for row in compared if row["outcome"] == "undecided"]
    if open_ones:
        widths = [(row["diff_hi"] - row["diff_lo"]) / 2 for row in open_ones]
        made.append(
            Limit(
                "Which architecture gains most.",
                f"{', '.join(row['label'] for row in open_ones)}: undecided, with "
                f"intervals of ±{min(widths):.3f} to ±{max(widths):.3f} nats.",
            )
        )
    lost = [row["label"] for row in rows if row["diff"] is None]
    if lost and len(rows) > 1:
        made.append(Limit("Differences of", f"{', '.join(lost)}: not compared."))
    if compared and sources.findings.margin is None:
        made.append(
            Limit(
                "Whether two are equivalent.",
                "No margin was committed before the runs.",
            )
        )
    if sources.study.fitted is None and sources.study.reason:
        made.append(
            Limit(
                "How far runs differ.",
                # Names of runs, which follow the first sentence, are further below.
                "The error between runs is unknown: "
                f"{sources.study.reason.partition('. ')[0].rstrip('.')}.",
            )
        )
    costs = [row["training_flops"] for row in sources.rows if row["training_flops"]]
    if costs:
        steps = max(row["train_steps"] or 0 for row in sources.rows)
        made.append(
            Limit(
                f"Anything beyond {axes.power(max(costs))} FLOPs or {steps:,} steps.",
                "Nothing here goes beyond the measured sizes; held-out errors show how "
                "far laws can be trusted.",
            )
        )
    if sources.study.fitted is not None:
        orders = len(sources.study.design.orders)
        shown = "one order" if orders == 1 else f"{orders} orders"
        of_images = selection.unit(sources.rows) == "image"
        data = "these images" if of_images else "this text, vocabulary"
        made.append(
            Limit(
                f"Other {'images' if of_images else 'texts'} or another order.",
                f"Intervals hold for {data} and {shown} of the data.",
            )
        )
    failed = [row["run"] for row in sources.rows if row["status"] == "failed"]
    if failed:
        made.append(
            Limit(
                "What failed runs would have shown.",
                f"{', '.join(failed[:4])}{' …' if len(failed) > 4 else ''}: leaving "
                "them out flatters their architectures.",
            )
        )
    return made
