"""The five slopes of Tay et al. 2022: F,U  F,D  P,U  P,D and U,D.

F is the multiply-adds of a forward pass in the papers' convention, P the parameters, U
the negative log-perplexity (the loss with its sign changed) and D a downstream score as
a fraction, so that a larger slope is always better. The paper does not state its units:
the slope is per tenfold F or P, and all usual variants stand beside it (`Variant`).

The interval says what it covers. "runs" covers other runs of the same sizes: it follows
from the error between runs, for U by generalised least squares where the runs form a
design (`inference/line.py`). "scatter" covers other sizes scattered about the line as
these are: it is Student's interval from the residuals, and holds lack of fit. A score
whose differences between sizes are within its noise has no slope.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

import numpy as np
import pandas as pd
from scipy import stats

from clinometer.data.mixtures import aggregates
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import signal_to_noise
from clinometer.tools.fit import slopes
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import line as line_lib
from clinometer.tools.laws import points as points_lib
from clinometer.tools.report import study_fit
from clinometer.tools.results import columns
from clinometer.tools.results import table

NO_SCORE = "no run has an average of a benchmark, and which task to take was not said"
PAIRS = ("F,U", "F,D", "P,U", "P,D", "U,D")
FLOPS, PARAMS = "papers_macs_forward_batch", "params_total"
# As printed in Tay et al. 2021, rounded; two of the multiply-adds are misprints.
PRINTED = ("printed_macs_forward_batch", "printed_params")
# The scores that are taken by default, the first that the runs have.
_SCORES = tuple(
    f"score_{name}"
    for name in dict.fromkeys(
        ("superglue", aggregates.OVERALL_NAME, *aggregates.AVERAGES)
    )
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A slope in other units.

    Attributes:
        x: what the horizontal axis is: a column, or "-loss" or "-ln loss".
        y: the vertical axis: "-loss", "score" or "-error", the error being 1 - score.
        fit: the fit; `logx` and `logy` are its logarithms.
    """

    x: str
    y: str
    fit: slopes.SlopeFit


@dataclasses.dataclass(frozen=True)
class Alpha:
    """A slope of an architecture.

    Attributes:
        architecture: the architecture.
        pair: one of `PAIRS`.
        x: column of F or P, or "-loss".
        y: "-loss", or the column of the score.
        slope: the default variant; None if there is none.
        low: low end of its 95 % interval; None if unknown.
        high: high end of this interval.
        error: standard error of the slope; likewise.
        degrees: degrees of freedom of the error; likewise.
        interval_of: "runs" or "scatter", see the module; None if unknown.
        points: number of sizes.
        signal: of the score, for pairs with D.
        variants: all variants, the default first.
        reason: why there is no slope or no interval.
    """

    architecture: str
    pair: str
    x: str
    y: str
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    degrees: float | None = None
    interval_of: str | None = None
    points: int = 0
    signal: signal_to_noise.Signal | None = None
    variants: tuple[Variant, ...] = ()
    reason: str | None = None


def score_column(frame: pd.DataFrame) -> str | None:
    """Returns the score that D is by default.

    It is SuperGLUE, the papers' average, another average, the only task, or the
    report's; None if the runs have none of them.
    """
    tasks = [f"score_{task}" for task in columns.tasks(frame.columns)]
    only = tasks if len(tasks) == 1 else []
    for name in (*_SCORES, *only, "downstream_score"):
        if name in frame and table.usable(frame, name).shape[0]:
            return name
    return None


def fit_all(
    frame: pd.DataFrame,
    score: str | None = None,
    flops: str = FLOPS,
    params: str = PARAMS,
    mixed: Sequence[str] = (),
) -> list[Alpha]:
    """Fits the five slopes of every architecture.

    Args:
        frame: a frame of runs.
        score: column of D, in percent; by default `score_column`.
        flops: column of F.
        params: column of P.
        mixed: columns of `fit/comparable.py` in which the runs may differ.

    Returns:
        The slopes, by architecture and then in the order of `PAIRS`.

    Raises:
        FitError: the runs differ in another condition.
    """
    table.check_comparable(frame, mixed)
    score = score or score_column(frame)
    names = [points_lib.LOSS, flops, params, *([score] if score else [])]
    found = points_lib.of_frame(frame, names)
    study = _study(frame)
    axes = {"F": flops, "P": params, "U": points_lib.LOSS, "D": score}
    return [
        _alpha(found, architecture, pair, axes, study)
        for architecture in found.architectures
        for pair in PAIRS
    ]


def _study(frame: pd.DataFrame) -> study_fit.StudyFit | None:
    """Returns the fitted study; None if the runs do not form one."""
    try:
        study = study_fit.of_rows(table.to_records(frame))
    except (fit_errors.FitError, inference_errors.InferenceError):
        return None
    return study if study.fitted is not None else None


def _alpha(
    found: points_lib.Points,
    architecture: str,
    pair: str,
    axes: Mapping[str, str | None],
    study: study_fit.StudyFit | None,
) -> Alpha:
    first, second = pair.split(",")
    x_name, y_name = axes[first], axes[second]
    blank = Alpha(
        architecture,
        pair,
        "-loss" if first == "U" else str(x_name),
        "-loss" if second == "U" else (y_name or "score"),
    )
    if y_name is None:
        return dataclasses.replace(blank, reason=NO_SCORE)
    points = found.of(architecture, x_name, y_name)
    blank = dataclasses.replace(blank, points=len(points))
    x = np.array([point.values[x_name].mean for point in points])
    y = np.array([point.values[y_name].mean for point in points])
    errors = [point.values[y_name].error for point in points]
    if second == "D":
        y = y / 100
        errors = [None if error is None else error / 100 for error in errors]
    try:
        signal = None
        if second == "D":
            degrees = found.degrees[y_name]
            signal = signal_to_noise.measure(y.tolist(), errors, degrees)
            blank = dataclasses.replace(blank, signal=signal)
        variants = tuple(_variants(blank, x, y))
    except fit_errors.FitError as error:
        return dataclasses.replace(blank, reason=str(error))
    if signal is not None and signal.clear is False:
        return dataclasses.replace(
            blank,
            reason=f"the sizes' scores differ by {signal.ratio:.1f} standard errors, "
            f"within the {signal.threshold:.1f} that noise alone exceeds in 5 %",
        )
    blank = dataclasses.replace(blank, variants=variants, slope=variants[0].fit.slope)
    if second == "U" and study is not None:
        line = _line(study, points, x_name)
        if line is not None:
            return dataclasses.replace(
                blank,
                slope=line.gain_per_decade,
                low=line.low,
                high=line.high,
                error=line.standard_error,
                degrees=line.degrees,
                interval_of="runs",
            )
    known = None not in errors and first != "U"
    degrees = found.degrees[y_name]
    return _with_interval(blank, variants[0].fit, x, errors if known else None, degrees)


def _variants(blank: Alpha, x: np.ndarray, y: np.ndarray) -> list[Variant]:
    """Returns all variants, the default first."""
    if blank.x == "-loss":
        made = []
        for name, u in (("-loss", -x), ("-ln loss", -np.log(x))):
            for label, v, lower in (("score", y, False), ("-error", 1 - y, True)):
                logs = ("none", "e") if np.all(v > 0) else ("none",)
                made += [
                    Variant(name, label, _fit(u, v, "none", logy, z, lower))
                    for logy in logs
                    for z in (False, True)
                    if not (z and np.ptp(v) == 0)
                ]
        return made
    if blank.y == "-loss":
        fits = slopes.slope_variants(x, y, lower_is_better=True)
        return [Variant(blank.x, "-loss", fit) for fit in fits]
    scores = [Variant(blank.x, "score", fit) for fit in slopes.slope_variants(x, y)]
    wrong = slopes.slope_variants(x, 1 - y, lower_is_better=True)
    return scores + [Variant(blank.x, "-error", fit) for fit in wrong]


def _fit(u, v, logx: str, logy: str, z: bool, lower: bool) -> slopes.SlopeFit:
    return slopes.fit_slope(
        u, v, logx=logx, logy=logy, standardise=z, lower_is_better=lower
    )


def _line(
    study: study_fit.StudyFit, points: Sequence[points_lib.Point], column: str
) -> line_lib.Line | None:
    """Returns the line by generalised least squares; None if there is none."""
    costs = {}
    for point in points:
        for run in point.runs:
            if run not in study.cell_of_run:
                return None
            costs[study.cell_of_run[run]] = point.values[column].mean
    try:
        return line_lib.fit_line(study.fitted, points[0].architecture, costs=costs)
    except inference_errors.InferenceError:
        return None


def _with_interval(
    alpha: Alpha,
    fit: slopes.SlopeFit,
    x: np.ndarray,
    errors: Sequence[float] | None,
    degrees: float,
) -> Alpha:
    """Adds the interval of the default variant."""
    u = fit.transform_x(-x if alpha.x == "-loss" else x)
    weights = (u - u.mean()) / np.sum((u - u.mean()) ** 2)
    if errors is not None:
        error = math.sqrt(float(np.sum((weights * np.asarray(errors)) ** 2)))
        of, freedom = "runs", degrees
    elif fit.n > 2:
        freedom = fit.n - 2
        residual = math.sqrt(float(np.sum(np.square(fit.residuals))) / freedom)
        error, of = residual * math.sqrt(float(np.sum(weights**2))), "scatter"
    else:
        reason = "the error between runs is unknown, and 2 sizes have no scatter"
        return dataclasses.replace(alpha, reason=reason)
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return dataclasses.replace(
        alpha,
        low=fit.slope - reach,
        high=fit.slope + reach,
        error=error,
        degrees=freedom,
        interval_of=of,
    )
