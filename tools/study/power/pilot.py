"""What finished runs, of a pilot or of the study itself, say about a study's runs."""

from collections.abc import Mapping
import dataclasses
import pathlib

import numpy as np
from scipy import stats

from clinometer.tools.fit import comparable
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import held_out
from clinometer.tools.inference import linear_model
from clinometer.tools.inference import variance
from clinometer.tools.report import copies
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.report import selection
from clinometer.tools.report import study_fit
from clinometer.tools.study import protocol as protocol_lib
from clinometer.train import errors
from clinometer.train.run import recorded_config

_SHARED = ("train_steps", "batch_size", "encoder_length", "dropout_rate", "dtype")


@dataclasses.dataclass(frozen=True)
class Pilot:
    """Estimates from a pilot, or from the finals of a study.

    Attributes:
        name: "pilot", or "study" if they are from finals.
        runs: number of runs that entered.
        left_out: names of the runs that have no result or repeat another.
        sd: of a run around its cell and order, one for all widths, nats.
        sd_interval: its 95 % interval, nats.
        degrees: degrees of freedom of `sd`.
        sd_by_width: d_model -> sd, where the pilot can tell how it depends on width.
        order_sd: of the orders' effects, nats; None with one order.
        flops: training FLOPs of the reference's sizes, [n], n at least 2.
        losses: means of these sizes, nats, [n].
        gain: from the first of these sizes to the last, nats.
        gain_error: standard error of this gain, nats.
    """

    name: str
    runs: int
    left_out: tuple[str, ...]
    sd: float
    sd_interval: tuple[float, float]
    degrees: int
    sd_by_width: Mapping[int, float]
    order_sd: float | None
    flops: np.ndarray
    losses: np.ndarray
    gain: float
    gain_error: float


def read(folder: str, reference: str, protocol: protocol_lib.Protocol) -> Pilot:
    """Reads a pilot, or a study's finals, which tell the power that it reached.

    Args:
        folder: of a study, whose pilot runs are read, or its finals if it has none.
        reference: the architecture whose curve and gain are taken.
        protocol: of the planned study, which must be that of these runs.

    Raises:
        RecordError: there is no such folder, it holds no run, or a record cannot be
            read.
        ConfigError: it holds no finished pilot run or final, or has another protocol.
        FitError: the runs cannot be compared with each other.
        InferenceError: there are no replicates, or fewer than two sizes of the
            reference.
    """
    loaded = records.load_runs(pathlib.Path(folder))
    roles = (recorded_config.PILOT, recorded_config.FINAL)
    pilots, finals = (
        [run for run in loaded if run.record.config.study.role == role]
        for role in roles
    )
    rows = copies.mark([rows_lib.make_row(run) for run in pilots or finals])
    finished = selection.usable(rows)
    if not finished:
        raise errors.ConfigError(
            f"config.power.pilot: {folder} holds no finished pilot run or final, only "
            f"{len(loaded)} others; accepted: the folder of a study with design.role "
            '"pilot" or "final"'
        )
    comparable.check_comparable(finished)
    for field in _SHARED:
        theirs, ours = finished[0][field], getattr(protocol, field)
        if theirs != ours:
            raise errors.ConfigError(
                f"config.power.pilot: {folder} was trained with {field} = {theirs!r}; "
                f"this study has {ours!r}. A pilot must have the study's protocol"
            )
    design, losses = design_lib.from_runs([study_fit.as_run(row) for row in finished])
    cells = design.check_sizes(reference, 2, "the gain of a pilot")
    fitted = linear_model.fit(design, losses)
    gain = contrasts.estimate(fitted, contrasts.own_gain(design, reference)[np.newaxis])
    degrees = design.residual_degrees
    sd = float(np.sqrt(variance.pooled(design, losses)))
    low, high = (
        sd * float(np.sqrt(degrees / stats.chi2.ppf(p, degrees)))
        for p in (0.975, 0.025)
    )
    by_width = {}
    if fitted.variance.has_slope:
        each = np.sqrt(fitted.variance.of_widths(design.widths))
        by_width = dict(zip(map(int, design.widths), map(float, each)))
    order_sd = None
    if design.order_basis.shape[1]:
        order_sd = float(np.sqrt(held_out.order_variance(fitted)[0]))
    used = {row["run"] for row in finished}
    return Pilot(
        name="pilot" if pilots else "study",
        runs=len(finished),
        left_out=tuple(row["run"] for row in rows if row["run"] not in used),
        sd=sd,
        sd_interval=(low, high),
        degrees=degrees,
        sd_by_width=by_width,
        order_sd=order_sd,
        flops=design.flops_of(cells),
        losses=fitted.means[cells],
        gain=float(gain.value[0]),
        gain_error=float(gain.standard_error[0]),
    )
