"""Writes VALIDATION.md: predicted step times beside published speeds."""

from collections.abc import Iterator
from collections.abc import Sequence
import statistics

import numpy as np

from clinometer.tools.plan.validation import forms
from clinometer.tools.plan.validation import published
from clinometer.tools.plan.validation import records

_TITLE = """\
# The times of `clinometer plan` beside published speeds

`python -m clinometer.tools.plan.validation.main` writes this page from
[validation/records.json](validation/records.json), which holds what the compiler said
about each train step; with `--compile` it compiles them (half an hour on two cores).

## The rule, and how it was chosen

This section was committed before the new rows below were compiled or predicted.

* **Published**: Table 4 of Tay et al. 2021, steps per second on TPU v3, rounded to
  whole numbers. Twelve rows ran on 16 chips. XXL and XL with 32 layers ran on 64;
  they are the new rows, predicted once.
* **Compiled**: our train step in bfloat16, 128 x 512/114 tokens, for `v3:4x4` (32
  devices) and `v3:8x8` (128), with the model parallelism of Table 1. The paper's own
  program was another (Mesh TensorFlow), and the paper names no rematerialization: XL
  and XXL have `remat=layer`, without which XL does not fit.
* **Work** of a step on one device, in seconds at nominal rates: *cycles* is the sum
  of the compiler's `estimated_cycles` times the trip counts of loops, over the clock;
  *wire* is the bytes that collectives send if they run as rings, over the device's
  share of its chip's links; *flops* is the FLOPs of the model over the peak.
* **Rules**: {rules}.
* **Constants**: those with the least sum of |ln(predicted / published)| over the
  twelve rows (`validation/forms.py`). Each of the twelve is predicted with the
  constants of the other eleven, the new rows with those of all twelve.
* **Error**: the distance outside of the published rounding, as |ln|. "1 step/s" is
  anything from 0.5 to 1.5.
* **Choice**: the rule with the lowest mean error over all fourteen rows is what
  `clinometer plan` uses; of equal ones, the simplest.

Before this was written, an earlier version of the train step had been compiled for
the twelve rows and some twenty rules had been tried on them, of which the last one
(with bytes of operands instead of bytes sent) had the lowest median distance from the
printed speeds. So errors on the twelve rows are optimistic. The errors below were
computed afterwards. The rules of FLOPs need no compiler, so what they say about the new
rows could have been known.
"""

_FINDINGS = """\
## What it shows

* *FLOPs plus a constant* has the lowest mean error, over all rows and over the new
  ones, so `clinometer plan` uses it. The compiler's estimates lose to it, though not by
  much: their largest error is no larger, and all their predictions of the twelve rows
  are within a smaller factor of the printed speeds.
* Median and largest error of both are below 0.05 and 0.35, the aims set beforehand.
* XL 32L is faster than all rules say. On four times XL's chips the paper prints three
  times its speed with 1.3 times its FLOPs, but both numbers are rounded to one digit.
* *FLOPs plus a constant* misses Large most, which it takes for slower than it was.
  *Cycles and bytes sent* misses Small and Mini-8L most, which it takes for faster: it
  has no cost of a step by itself.
* The constants are not physical: links would run at an eighth of their nominal rate,
  and the compiler's cycles would be more than twice too many. The paper's program was
  not ours.
* All rows are vanilla Transformers on one kind of chip. The chosen rule sees neither
  the mesh nor rematerialization nor an architecture's slow operations, so the plan
  names the times of the other rules too, and `--fit` ranks by cycles and bytes.
"""


_IMAGES = """\
## Vision Transformers

Table 5 of the paper prints the speeds of four Vision Transformers on 64 chips to two
digits. Their train steps (batches of 4,096 images, bfloat16, data parallel on
`v3:8x8`) were compiled after everything above had been committed, and predicted once
with the same constants. Batch and dtype are our choice: the table names neither. In
parentheses is the predicted speed over the printed one.
"""
_IMAGE_FINDINGS = """\
All predictions are too fast, by factors of {least:.1f} to {most:.1f}. What follows was
read afterwards, and changed nothing. From ViT-S to ViT-S L=28, cycles grow to
{grown:.1f} times and the printed times of a step to {printed:.2f} times only. The line
through the four printed times (least squares) has {constant:.0f} ms without any cycles,
{share:.0%} of the step of ViT-S. So a large part of these steps does not depend on the
model, as reading images would not; the paper does not say what it is, and a plan cannot
know it. The cycles have the order of the printed times; FLOPs exchange ViT-B and ViT-S
L=24.
"""


def text(
    found: Sequence[records.Found],
    new: Sequence[records.Found],
    images: Sequence[records.Found] = (),
) -> str:
    """Returns the page.

    Args:
        found: the rows that constants are fitted to.
        new: the rows that are only predicted; may be empty.
        images: the rows of Vision Transformers; may be empty.
    """
    names = "; ".join(f"*{rule.name}*" for rule in forms.RULES)
    lines = [_TITLE.format(rules=names), "## Constants", ""]
    lines += _constants(found)
    lines += ["", "## Speeds in steps per second", ""]
    lines += _speeds(found, new)
    lines += ["", "## Errors", "", *_errors(found, new)]
    lines += ["", "## Work of each step", "", *_work([*found, *new])]
    if new:
        lines += ["", _FINDINGS.rstrip()]
    if images:
        lines += ["", _IMAGES, *_image_speeds(found, images)]
        lines += ["", *_work(images), "", _image_findings(found, images).rstrip()]
    return "\n".join(lines) + "\n"


def errors(
    rule: forms.Rule, found: Sequence[records.Found], new: Sequence[records.Found]
) -> list[float]:
    """Returns the error of each row, those of `found` from the others of `found`.

    Args:
        rule: the rule.
        found: the rows that constants are fitted to.
        new: the rows that are only predicted.
    """
    times = predicted(rule, found, new)
    return [one.row.error(time) for one, time in zip([*found, *new], times)]


def predicted(
    rule: forms.Rule, found: Sequence[records.Found], new: Sequence[records.Found]
) -> list[float]:
    """Returns the predicted time of each row.

    Args:
        rule: the rule.
        found: the rows that constants are fitted to; each is predicted from the others.
        new: the rows that are only predicted.
    """
    works, speeds = _given(found)
    form = forms.fit(rule, works, speeds)
    return [
        *forms.leave_one_out(rule, works, speeds),
        *(form.seconds(one.work) for one in new),
    ]


def _given(found: Sequence[records.Found]) -> tuple[list, list]:
    return [one.work for one in found], [one.row.steps_per_second for one in found]


def _constants(found: Sequence[records.Found]) -> Iterator[str]:
    yield "| rule | seconds of a step |"
    yield "|---|---|"
    for rule in forms.RULES:
        form = forms.fit(rule, *_given(found))
        terms = [f"{weight:.4g} {name}" for name, weight in form.weights.items()]
        if form.constant:
            terms.append(f"{form.constant:.4g} s")
        yield f"| {rule.name} | {' + '.join(terms)} |"


def _speeds(
    found: Sequence[records.Found], new: Sequence[records.Found]
) -> Iterator[str]:
    yield f"| row | published | {' | '.join(rule.name for rule in forms.RULES)} |"
    yield "|---" * (2 + len(forms.RULES)) + "|"
    times = [predicted(rule, found, new) for rule in forms.RULES]
    for place, one in enumerate([*found, *new]):
        cells = []
        for rule_times in times:
            seconds = rule_times[place]
            error = one.row.error(seconds)
            cells.append(
                f"{1 / seconds:.2f} ({error:.2f})" if error else f"{1 / seconds:.2f}"
            )
        label = one.row.label if one in found else f"**{one.row.label}**, new"
        yield f"| {label} | {one.row.steps_per_second} | {' | '.join(cells)} |"
    if not new:
        labels = " and ".join(row.label for row in published.new())
        yield f"\n{labels} are not compiled yet."
    yield "\nErrors outside of the rounding are in parentheses."


def _image_speeds(
    found: Sequence[records.Found], images: Sequence[records.Found]
) -> Iterator[str]:
    yield f"| row | published | {' | '.join(rule.name for rule in forms.RULES)} |"
    yield "|---" * (2 + len(forms.RULES)) + "|"
    fitted = [forms.fit(rule, *_given(found)) for rule in forms.RULES]
    for one in images:
        printed = one.row.steps_per_second
        speeds = [1 / form.seconds(one.work) for form in fitted]
        cells = [f"{speed:.2f} ({speed / printed:.2f})" for speed in speeds]
        yield f"| {one.row.label} | {printed} | {' | '.join(cells)} |"


def _image_findings(
    found: Sequence[records.Found], images: Sequence[records.Found]
) -> str:
    cycles = np.array([one.work.cycles for one in images])
    times = np.array([1 / one.row.steps_per_second for one in images])
    ratios = [
        time / forms.fit(rule, *_given(found)).seconds(one.work)
        for rule in forms.RULES
        for one, time in zip(images, times)
    ]
    _, constant = np.polyfit(cycles, times, 1)
    return _IMAGE_FINDINGS.format(
        least=min(ratios),
        most=max(ratios),
        grown=cycles.max() / cycles.min(),
        printed=times.max() / times.min(),
        constant=1000 * constant,
        share=constant / times.min(),
    )


def _errors(
    found: Sequence[records.Found], new: Sequence[records.Found]
) -> Iterator[str]:
    yield "| rule | rows | mean | median | largest | outside of the rounding |"
    yield "|---|---|---|---|---|---|"
    groups = {"all": slice(None), "twelve": slice(len(found))}
    if new:
        groups["new"] = slice(len(found), None)
    for rule in forms.RULES:
        all_errors = errors(rule, found, new)
        for name, part in groups.items():
            these = all_errors[part]
            yield (
                f"| {rule.name} | {name} | {statistics.mean(these):.3f} "
                f"| {statistics.median(these):.3f} | {max(these):.3f} "
                f"| {sum(error > 0 for error in these)} of {len(these)} |"
            )


def _work(found: Sequence[records.Found]) -> Iterator[str]:
    yield "| row | mesh | cycles, ms | wire, ms | flops, ms | GiB a device | program |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        mesh = ", ".join(f"{k} {n}" for k, n in one.values["mesh"].items() if n > 1)
        needs = one.values["memory"]["total_bytes"] / 2**30
        times = (one.work.cycles, one.work.wire, one.work.flops)
        yield (
            f"| {one.row.label} | {mesh} "
            f"| {' | '.join(f'{1000 * seconds:.1f}' for seconds in times)} "
            f"| {needs:.1f} | `{one.values['program'][:12]}` |"
        )
