"""Tables of downstream scores: against the loss, by pretraining step, and ranks."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from clinometer.tools.report import downstream
from clinometer.tools.report import score_names
from clinometer.tools.report import theme
from clinometer.tools.report.charts import axes
from clinometer.tools.report.tables import model_table
from clinometer.tools.report.tables import sources as sources_lib
from clinometer.train.downstream import best_scores

_LINE = 0.075  # Height of a name in a figure, as a share of its axis.
# Columns of the table of models that scores have, too.
_MODEL = ("key", "arch", "label", "size", "last", "ladder")


def name_of(name: best_scores.Name) -> str:
    """Returns a score's name for readers, such as "rte" or "rte, likelihood"."""
    return name.task if name.metric == best_scores.SCORE else str(name)


def against_loss(
    sources: sources_lib.Sources, models: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Returns the mean score of each model on each task and average.

    Columns: key, arch, label, size, last, ladder (as in the table of models), name,
    loss, score, lo, hi (95 %, in percent; None if unknown), majority.

    Args:
        sources: what was read.
        models: from `model_table.make`.
    """
    key_of = model_table.of_run(sources.rows)
    by_key = {model["key"]: model for model in models}
    majority = {score.name: score.majority for score in sources.scores}
    made = []
    for cell in sources.cells:
        model = by_key.get(key_of.get(cell.runs[0], ""))
        if model is None:
            continue
        for name in sorted(cell.scores, key=score_names.order):
            found = cell.estimate(name)
            interval = found.interval or found.items_interval or (None, None)
            made.append(
                {
                    **{c: model[c] for c in _MODEL},
                    "name": name_of(name),
                    "loss": model["loss"],
                    "score": found.value,
                    "lo": interval[0],
                    "hi": interval[1],
                    "majority": majority.get(name),
                }
            )
    return made


def by_step(sources: sources_lib.Sources) -> list[dict[str, Any]]:
    """Returns scores by pretraining step of runs fine-tuned from several checkpoints.

    Columns: id, key, arch, label, size, name, step, score, lo, hi, in percent; end,
    what is written at the end of a run's line, or empty, and end_at, at which score.
    Runs that were fine-tuned from one checkpoint only have no rows.
    """
    key_of = model_table.of_run(sources.rows)
    looks = theme.looks(row["architecture"] for row in sources.rows)
    steps: dict[str, set[int]] = {}
    for score in sources.scores:
        if score.pretraining_step is not None:
            steps.setdefault(score.run, set()).add(score.pretraining_step)
    scores = [
        score
        for score in sources.scores
        if score.pretraining_step is not None and len(steps[score.run]) > 1
    ]
    made = []
    for group in downstream.groups(scores):
        first, mean = group[0], downstream.mean(group)
        low, high = mean.interval or (None, None)
        made.append(
            {
                "id": first.run,
                "key": key_of.get(first.run, first.model),
                "arch": first.architecture,
                "label": looks[first.architecture].label,
                "size": first.model.partition("-")[2],
                "name": name_of(first.name),
                "step": first.pretraining_step,
                "score": mean.score,
                "lo": low,
                "hi": high,
            }
        )
    made.sort(key=lambda row: (row["name"], row["id"], row["step"]))
    for name in dict.fromkeys(row["name"] for row in made):
        _name_ends([row for row in made if row["name"] == name])
    return made


def _name_ends(rows: Sequence[dict[str, Any]]) -> None:
    """Adds `end` and `end_at` to the rows of one task: names that do not overlap."""
    last = {row["id"]: row for row in rows}  # Rows come by rising step.
    one_arch = len({row["arch"] for row in rows}) == 1
    low, high = axes.reach(
        axes.percent_reach(
            [row["score"] for row in rows],
            [row[end] for row in rows for end in ("lo", "hi")],
        )
    )
    gap = _LINE * (high - low)
    room = len(last) * gap <= high - low
    for row in rows:
        row |= {"end": "", "end_at": row["score"]}
    if not room:
        return
    ordered = sorted(last.values(), key=lambda row: row["score"])
    at = [row["score"] for row in ordered]
    for i in range(1, len(at)):
        at[i] = max(at[i], at[i - 1] + gap)
    at[-1] = min(at[-1], high)
    for i in reversed(range(len(at) - 1)):
        at[i] = min(at[i], at[i + 1] - gap)
    for row, place in zip(ordered, at):
        name = row["size"] if one_arch else f"{row['label']} {row['size']}"
        row |= {"end": name, "end_at": place}


def ranks(models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the ranks of architectures by loss and by score at one size.

    The size is the last one at which the most architectures have both. Columns: arch,
    key, side ("up" or "down"), rank, line (what is written beside it). No rows with
    fewer than three architectures.

    Args:
        models: from `model_table.make`.
    """
    scored = [m for m in models if m["score"] is not None]
    sizes: dict[str, list[Mapping[str, Any]]] = {}
    for model in scored:
        sizes.setdefault(model["size"], []).append(model)
    if not sizes:
        return []
    largest = {
        size: max(m["training_flops"] or 0 for m in own) for size, own in sizes.items()
    }
    size = max(sizes, key=lambda s: (len(sizes[s]), largest[s]))
    own = sizes[size]
    if len(own) < 3 or len({m["arch"] for m in own}) < len(own):
        return []
    sides = {
        "up": sorted(own, key=lambda m: m["loss"]),
        "down": sorted(own, key=lambda m: -m["score"]),
    }
    made = []
    for side, ordered in sides.items():
        for rank, model in enumerate(ordered, 1):
            label = model["label"]
            line = f"{label}  {rank}" if side == "up" else f"{rank}  {label}"
            columns = {"arch": model["arch"], "key": model["key"], "size": size}
            made.append({**columns, "side": side, "rank": rank, "line": line})
    return made
