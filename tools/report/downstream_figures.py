"""Figures of downstream scores against pretraining loss and pretraining step."""

from collections.abc import Callable
from collections.abc import Sequence

from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import ticker
import numpy as np

from clinometer.tools.report import downstream
from clinometer.tools.report import figures
from clinometer.train.downstream import best_scores

_MAX_COLUMNS = 3
_DASHED = {"color": "#9aa5b1", "linewidth": 1.0, "linestyle": "--"}
_BARS = {"elinewidth": 1.1, "capsize": 2, "markersize": 5.5}


def draw(scores: Sequence[downstream.FinetuningScore]) -> dict[str, str]:
    """Draws the figures of downstream scores.

    Returns:
        Name -> SVG text: `downstream`, and `downstream_by_step` if runs were fine-tuned
        from several checkpoints.
    """
    drawn = {}
    final = [s for s in downstream.final(scores) if s.validation_loss_nats is not None]
    if final:
        drawn["downstream"] = _against_loss(final)
    pretrained = [s for s in scores if s.pretraining_step is not None]
    if len({(s.run, s.pretraining_step) for s in pretrained}) > len(
        {s.run for s in pretrained}
    ):
        drawn["downstream_by_step"] = _against_step(pretrained)
    return drawn


def _against_loss(scores: Sequence[downstream.FinetuningScore]) -> str:
    looks = figures.looks({score.architecture for score in scores})

    def panel(axes: mpl_axes.Axes, mine: Sequence[downstream.FinetuningScore]) -> None:
        for name, look in looks.items():
            groups = downstream.groups(s for s in mine if s.architecture == name)
            groups.sort(key=lambda group: group[0].validation_loss_nats)
            if not groups:
                continue
            x = [group[0].validation_loss_nats for group in groups]
            means = [downstream.mean(group) for group in groups]
            _points(axes, x, means, look.mark, look.colour, name)
            seen = set()
            for xi, group, mean in zip(x, groups, means, strict=True):
                size = group[0].model.partition("-")[2]
                if size not in seen:  # Seeds of one size share its label.
                    seen.add(size)
                    axes.annotate(
                        size,
                        (xi, mean.score),
                        xytext=(5, 5),
                        textcoords="offset points",
                        fontsize=8,
                        color=figures.MUTED,
                    )
        axes.margins(x=0.2, y=0.12)  # Room for the labels.
        axes.invert_xaxis()
        axes.set_xlabel("validation loss, nats per token")

    return _panels(scores, "downstream", panel, list(looks))


def _against_step(scores: Sequence[downstream.FinetuningScore]) -> str:
    runs = sorted({score.run for score in scores})

    def panel(axes: mpl_axes.Axes, mine: Sequence[downstream.FinetuningScore]) -> None:
        for i, run in enumerate(runs):
            own = [score for score in mine if score.run == run]
            groups = downstream.groups(own)
            groups.sort(key=lambda group: group[0].pretraining_step)
            steps = [group[0].pretraining_step for group in groups]
            means = [downstream.mean(group) for group in groups]
            colour = figures.PALETTE[i % len(figures.PALETTE)]
            _points(axes, steps, means, "o-", colour, run)
        axes.set_xlabel("pretraining step")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))

    return _panels(scores, "downstream_by_step", panel, runs)


def _panels(
    scores: Sequence[downstream.FinetuningScore],
    figure_name: str,
    panel: Callable[[mpl_axes.Axes, Sequence[downstream.FinetuningScore]], None],
    labels: Sequence[str],
) -> str:
    """Draws a panel for each score, with dashed lines at the majority baselines."""
    names = sorted(
        {score.name for score in scores},
        key=lambda name: (best_scores.METRICS.index(name.metric), name.task),
    )
    columns = min(_MAX_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with figures.style(figure_name):
        figure = mpl_figure.Figure(
            figsize=(3.3 * columns, 0.4 + 2.9 * rows), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for axes, name in zip(grid, names, strict=False):
            mine = [score for score in scores if score.name == name]
            panel(axes, mine)
            majority = [s.majority for s in mine if s.majority is not None]
            for value in sorted(set(majority)):
                axes.axhline(value, **_DASHED)
            axes.set_title(name.task.replace("_", " "), fontsize=10)
            axes.set_ylabel(f"{name.metric}, %")
        for axes in list(grid)[len(names) :]:
            axes.set_visible(False)
        handles, found = figure.axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(
                handles, found, loc="outside upper center", ncols=min(4, len(found))
            )
        return figures.svg(figure)


def _points(
    axes: mpl_axes.Axes,
    x: Sequence[float],
    means: Sequence[downstream.Mean],
    form: str,
    colour: str,
    label: str,
) -> None:
    y = np.array([mean.score for mean in means], np.float64)
    ends = np.array([mean.interval or (mean.score,) * 2 for mean in means])
    axes.errorbar(
        np.array(x, np.float64),
        y,
        np.abs(ends.T - y),
        fmt=form,
        color=colour,
        label=label,
        mec="white",
        mew=0.7,
        **_BARS,
    )
