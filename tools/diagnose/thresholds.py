"""The limits of all checks, each with the reason for its value."""

import dataclasses

from clinometer.tools.study.tuning import optimum


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A limit.

    Attributes:
        value: the limit.
        unit: of the value.
        reason: why it has this value.
    """

    value: float
    unit: str
    reason: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}: {self.reason}"


# Measurements that a lasting state of experts or attention must have had in a row.
LASTING = 3

SPIKE_RECOVERED = Threshold(
    0.25,
    "of the rise left",
    "a spike is over when the loss has come back by three quarters, as else it has a "
    "new level",
)

RISE = Threshold(
    optimum.CLIFF_NATS,
    "nats above the lowest training loss",
    "what a learning rate on the cliff costs, see tools/README.md",
)
# The same in scatters of the logged losses, which are large if few tokens are in each.
RISE_SCATTERS = Threshold(
    8.0,
    "scatters of consecutive losses",
    "that of the trainer's spikes, which falling losses do not reach by chance",
)

LEARNING_FRACTION = Threshold(
    0.1, "of the steps", "the loss starts above that of a guess and needs some to fall"
)

UPDATE_RATIO = Threshold(
    0.5,
    "of a group's RMS in one step",
    "Adafactor's updates are the learning rate times the RMS, and the highest rate in "
    "the sweeps of the first study was 0.12",
)
# Adafactor scales updates by at least this RMS, so that ratios below it say nothing.
SMALLEST_RMS = 1e-3

DEAD_EXPERT = Threshold(
    0.05,
    "of an equal share of the tokens",
    f"an expert that is this far below in {LASTING} measurements in a row has lost its "
    "tokens to others, and gets no gradient to win them back; in two runs of the first "
    "study's sweeps none was below 0.14",
)
DROPPED = Threshold(
    0.5,
    "of the tokens",
    "as many as one expert of two drops that takes all tokens, with a capacity factor "
    "of 1; in two runs of the first study's sweeps 0.2 were the most",
)

COLLAPSED_ENTROPY = Threshold(
    0.005,
    "nats",
    "each query gives all but 6e-4 of its weight to one key, where the gradient of the "
    "softmax vanishes; the sharpest layer of the first study's sweeps had 0.012",
)
UNIFORM_ENTROPY = Threshold(
    0.005,
    "nats below that of equal weights",
    "weights differ by 10 % (sd), so that the layer averages its inputs; the flattest "
    "layer of the first study's sweeps was 0.09 below",
)

EPOCHS = Threshold(
    4.0,
    "passes over the data",
    "up to four cost next to nothing, and later ones are worth less and less "
    "(Muennighoff et al., 2023)",
)

VALIDATION_RISE = Threshold(
    0.05,
    "nats above the lowest validation loss",
    "the rows are the same at each evaluation, and runs of less than one pass end at "
    "their lowest",
)
GAP = Threshold(
    0.5,
    "nats above the training loss",
    "pretraining in less than one pass ends within 0.03 nats of it, in the pilot and "
    "the sweeps of the first study",
)

RATE_SPREADS = Threshold(
    3.0,
    "sd of a run",
    "the parabola of the sweep says what a rate costs; less than this may be chance",
)
# For sweeps whose losses do not determine a parabola.
RATE_FACTOR = Threshold(
    2.0, "times the tuned rate", "the sweep's steps, which it could not tell apart"
)

INPUT_SHARE = Threshold(
    0.25,
    "of the time in steps and waiting",
    "the smallest models, whose steps take milliseconds, wait for up to 14 %",
)
INPUT_SECONDS = Threshold(
    10.0, "s of steps and waiting", "the first batches wait for the pipeline to fill"
)
