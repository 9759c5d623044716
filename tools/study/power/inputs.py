"""Makes the inputs of the simulation from a study's configuration, and says them."""

import argparse
import collections
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os

import numpy as np

from clinometer.models.architectures import registry
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.fit import power_law
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import power
from clinometer.tools.inference import power_measures
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import shapes
from clinometer.tools.study.power import pilot as pilot_lib
from clinometer.train import errors

MARGIN_OF_GAIN = 0.1  # The margin, where none is given, as a share of the gain.
_LEAST_POINTS = 4  # Of a power law with a floor.


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is simulated.

    Attributes:
        design: which runs there are to be.
        reference: the architecture that the others are compared with, if any.
        curve: true loss of all architectures, by training FLOPs.
        sd: d_model -> sd of a run around its cell and order, nats.
        order_sd: of the orders' effects, nats.
        margin: nats.
        held_out: a size to be predicted, if any.
        told: a line of text for each of these, with its source.
    """

    design: design_lib.Design
    reference: str | None
    curve: power.Curve
    sd: Mapping[int, float]
    order_sd: float
    margin: float
    held_out: power_measures.HeldOutSize | None
    told: tuple[str, ...]


def make(
    options: argparse.Namespace,
    runs: Sequence[plan.PlannedRun],
    of_claims: float | None = None,
) -> Inputs:
    """Makes the inputs.

    Args:
        options: of the command.
        runs: the planned runs, by canonical names.
        of_claims: the margin of the file of claims, nats, if it has one.

    Raises:
        ConfigError: a field of the configuration cannot be used.
        InferenceError: the runs are no design, or the pilot has no replicates.
        RecordError: the pilot cannot be read.
        FitError: the pilot's runs cannot be compared with each other.
    """
    study, settings = options.study, options.study.power
    design = _design(options, runs)
    reference = (
        registry.REFERENCE if registry.REFERENCE in design.architectures else None
    )
    told = [
        f"design: {len(design.architectures)} architectures, {len(runs)} runs, "
        f"{len(design.orders)} orders of the data, "
        f"{np.sum(design.flops_of(design.cell_of_run)):.3g} training FLOPs"
    ]
    pilot = None
    if settings.pilot is not None:
        pilot = pilot_lib.read(settings.pilot, registry.REFERENCE, study.protocol)
        told.append(_told_pilot(settings.pilot, pilot))
    curve, words = _curve(options, pilot)
    spanned = design.flops_of(design.cells_of(reference or design.architectures[0]))
    at_sizes = curve(spanned)
    told.append(f"curve: {words}; {_told_curve(spanned, at_sizes)}")
    sd, order_sd = settings.sd, settings.order_sd
    source = "config.power.sd, config.power.order_sd"
    if pilot is not None:
        sd, order_sd, source = pilot.sd, pilot.order_sd or 0.0, f"the {pilot.name}"
    held_out = _held_out(options)
    by_width = _sd_by_width(design, sd, settings.sd_slope, held_out)
    told.append(
        f"sd: {sd:.4f} nats of a run, {order_sd:.4f} of an order ({source}); "
        f"ln(sd^2) changes by {settings.sd_slope:g} per unit of ln(d_model) "
        "(config.power.sd_slope)"
    )
    margin, words = _margin(study.margin or of_claims, pilot, at_sizes)
    told.append(f"margin: {margin:.4f} nats, {words}")
    return Inputs(
        design=design,
        reference=reference,
        curve=curve,
        sd=by_width,
        order_sd=order_sd,
        margin=margin,
        held_out=held_out,
        told=tuple(told),
    )


def _design(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun]
) -> design_lib.Design:
    """Returns the design of planned runs, which have no losses yet."""
    models = {run.model for run in runs}
    flops = {model: _training_flops(options, model) for model in models}
    found = {model: shapes.of(model) for model in models}
    of_width = collections.Counter((s.architecture, s.width) for s in found.values())
    ambiguous = {
        model
        for model, shape in found.items()
        if of_width[shape.architecture, shape.width] > 1
    }
    planned = [
        design_lib.Run(
            name=run.name,
            architecture=found[run.model].architecture,
            width=found[run.model].width,
            order=str(run.order),
            initialisation=str(run.seed),
            flops=flops[run.model],
            loss=1.0,  # Of no meaning.
            size=run.model.partition("-")[2] if run.model in ambiguous else "",
        )
        for run in runs
    ]
    return design_lib.from_runs(planned)[0]


def _training_flops(options: argparse.Namespace, model: str) -> float:
    steps = options.study.protocol.train_steps
    return float(steps * phases.count(options, model).flops_train_step)


def _named_flops(options: argparse.Namespace, field: str, model: str) -> float:
    """Returns the training FLOPs of a model that a field names."""
    try:
        return _training_flops(options, registry.parse(model).canonical)
    except ValueError as error:
        raise errors.ConfigError(f"config.power.{field}: {model}: {error}") from error


def _curve(
    options: argparse.Namespace, pilot: pilot_lib.Pilot | None
) -> tuple[power.Curve, str]:
    """Returns the curve and where it is from."""
    if pilot is not None and len(pilot.flops) >= _LEAST_POINTS:
        return _law(pilot.flops, pilot.losses, "pilot").predict, (
            f"a power law with a floor through the {pilot.name}'s "
            f"{len(pilot.flops)} sizes"
        )
    settings = options.study.power
    models, losses = settings.models, np.array(settings.losses)
    if len(models) != len(losses):
        raise errors.ConfigError(
            f"config.power.losses: got {len(losses)} losses for {len(models)} models; "
            "accepted: one for each of config.power.models"
        )
    flops = np.array([_named_flops(options, "models", model) for model in models])
    law = _law(flops, losses, "models")
    listed = ", ".join(f"d{shapes.of(m).width} {x:.3f}" for m, x in zip(models, losses))
    if pilot is None:
        far = max(map(abs, law.residuals))
        return law.predict, (
            f"a power law with a floor through {listed} (config.power.losses, which it "
            f"meets within {far:.3f} nats)"
        )
    scale, shift = np.polyfit(law.predict(pilot.flops), pilot.losses, 1)
    if not scale > 0:
        raise errors.ConfigError(
            f"config.power.pilot: the {pilot.name}'s loss does not fall with size, so "
            "it gives no curve; set config.power.losses and config.power.sd instead"
        )
    return lambda flops: shift + scale * law.predict(flops), (
        f"through the {pilot.name}'s {len(pilot.flops)} sizes, its shape that of a "
        f"power law with a floor through {listed} (config.power.losses)"
    )


def _law(flops: np.ndarray, losses: np.ndarray, field: str) -> power_law.PowerLaw:
    try:
        law = power_law.fit_power_law(flops, losses)
    except fit_errors.FitError as error:
        raise errors.ConfigError(f"config.power.{field}: {error}") from error
    if not losses[np.argmax(flops)] < losses[np.argmin(flops)]:
        raise errors.ConfigError(
            f"config.power.{field}: the dearest model's loss is not below the "
            "cheapest's, so there is no curve that gains with size"
        )
    return law


def _told_curve(flops: np.ndarray, losses: np.ndarray) -> str:
    """Returns what the curve does from the cheapest size to the dearest."""
    if len(flops) < 2:
        return f"{losses[0]:.3f} nats at the only size"
    each = -np.diff(losses)
    per_decade = each / np.diff(np.log10(flops))
    return (
        f"it gains {losses[0] - losses[-1]:.3f} nats from the cheapest size to the "
        f"dearest, {per_decade[0]:.3f} per tenfold FLOPs in the first step and "
        f"{per_decade[-1]:.3f} in the last, which is {each[-1]:.3f} nats"
    )


def _told_pilot(folder: str, pilot: pilot_lib.Pilot) -> str:
    low, high = pilot.sd_interval
    by_width = ""
    if pilot.sd_by_width:
        each = ", ".join(f"d{w} {sd:.4f}" for w, sd in pilot.sd_by_width.items())
        by_width = f" (by width: {each})"
    left_out = f"; without {', '.join(pilot.left_out)}" if pilot.left_out else ""
    # Relative if it is in the current directory, as in what is published.
    inside = os.path.relpath(folder)
    place = folder if inside.startswith(os.pardir) else inside
    return (
        f"{pilot.name}: {pilot.runs} runs of {place}{left_out}; {registry.REFERENCE} "
        f"gains {pilot.gain:.4f} +- {pilot.gain_error:.4f} nats; sd {pilot.sd:.4f} "
        f"[{low:.4f}, {high:.4f}] with {pilot.degrees} degrees of freedom{by_width}"
    )


def _sd_by_width(
    design: design_lib.Design,
    sd: float,
    slope: float,
    held_out: power_measures.HeldOutSize | None,
) -> dict[int, float]:
    """Returns d_model -> sd, which is `sd` in the middle of the design's widths."""
    widths = [*map(int, design.widths), *([held_out.width] if held_out else [])]
    middle = np.mean(np.log(design.widths[[0, -1]]))
    return {w: float(sd * np.exp(slope / 2 * (np.log(w) - middle))) for w in widths}


def _margin(
    given: float | None, pilot: pilot_lib.Pilot | None, at_sizes: np.ndarray
) -> tuple[float, str]:
    """Returns the margin and where it is from."""
    if given is not None:
        return given, "committed beforehand"
    gain, whose = float(at_sizes[0] - at_sizes[-1]), "the curve's gain"
    if pilot is not None:
        gain, whose = pilot.gain, f"{registry.REFERENCE}'s gain in the {pilot.name}"
    if gain <= 0:
        raise errors.ConfigError(
            f"config.design.margin: must be given, since {whose} is {gain:.4f} nats"
        )
    return MARGIN_OF_GAIN * gain, (
        f"{100 * MARGIN_OF_GAIN:.0f} % of {whose}; none is committed yet "
        "(config.design.margin)"
    )


def _held_out(options: argparse.Namespace) -> power_measures.HeldOutSize | None:
    """Returns the size that config.power.held_out names."""
    settings = options.study.power
    if settings.held_out is None:
        return None
    flops = _named_flops(options, "held_out", settings.held_out)
    shape = shapes.of(settings.held_out)
    if shape.architecture != registry.REFERENCE:
        raise errors.ConfigError(
            f"config.power.held_out: got {settings.held_out}, accepted: a size of "
            f"{registry.REFERENCE}, from whose sizes it is predicted"
        )
    return power_measures.HeldOutSize(shape.width, flops, settings.held_out_runs)
