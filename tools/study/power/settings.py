"""What a simulation of a planned study assumes: the fields `power` of its config."""

import dataclasses

from clinometer.tools.study.tuning import parabola


@dataclasses.dataclass(frozen=True)
class PowerSettings:
    """Assumptions of `clinometer study --power`.

    Attributes:
        draws: number of simulated studies.
        seed: of the random numbers.
        sd: standard deviation of a run around its cell and order, nats.
        sd_slope: change of ln(sd^2) per unit of ln(d_model), about the middle of the
            design's smallest and largest width in ln(d_model), where the sd is `sd`.
        order_sd: standard deviation of the orders' effects, nats. It matters only for
            the prediction of a size that is held out.
        models: models of the curve that all architectures follow, by rising cost.
        losses: their validation losses, nats.
        effects: true effects to try, in margins, beside 0 and one margin.
        held_out: model to be predicted from vanilla's sizes, or None.
        held_out_runs: runs of this model, each in an order of its own.
        pilot: folder of a finished pilot study that sd, order_sd, curve and margin are
            estimated from, or None. A study's own folder gives the power that it
            reached.
    """

    draws: int = 2000
    seed: int = 0
    # Measured between initializations at one size; that it is the same at all sizes,
    # and that orders add nothing to a prediction, are assumptions.
    sd: float = parabola.SEED_SPREAD
    sd_slope: float = 0.0
    order_sd: float = 0.0
    # The lowest loss of a sweep of the learning rate at each size: one seed, 3,000
    # steps, vocabulary of 2,048, the embedded corpus.
    models: tuple[str, ...] = (
        "transformer-DM16-NH1-FF64-PI",
        "transformer-pico",
        "transformer-DM64-NH4-FF256-PI",
        "transformer-milli",
    )
    losses: tuple[float, ...] = (4.431, 4.259, 4.184, 4.162)
    effects: tuple[float, ...] = (2.0,)
    held_out: str | None = None
    held_out_runs: int = 2
    pilot: str | None = None
