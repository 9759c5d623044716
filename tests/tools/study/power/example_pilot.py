"""Writes a synthetic pilot study: pico and milli, two orders by two initializations."""

import pathlib

from clinometer.tests.tools.report import synthetic_study

# (size, order, initialization) -> validation loss, nats. Both sizes scatter alike.
LOSSES = {
    ("pico", 1, 0): 4.431,
    ("pico", 1, 1): 4.402,
    ("pico", 2, 0): 4.455,
    ("pico", 2, 1): 4.446,
    ("milli", 1, 0): 4.132,
    ("milli", 1, 1): 4.161,
    ("milli", 2, 0): 4.176,
    ("milli", 2, 1): 4.185,
}
# The protocol of these runs, as overrides of a study's configuration.
PROTOCOL = (
    "--config.protocol.train_steps=600",
    "--config.protocol.batch_size=16",
)


def write(folder: pathlib.Path, losses=LOSSES, role="pilot", **changes) -> pathlib.Path:
    """Writes the runs; `changes` are of all records, see `synthetic_study.record`."""
    for (size, order, initialization), loss in losses.items():
        seed = 100 * order + initialization
        model = {"name": f"transformer-{size}", "dtype": "float32", "dropout_rate": 0.0}
        contents = synthetic_study.record(
            size,
            seed,
            **{
                "config__model": model,
                "config__data": {"order": order},
                "config__study": {"role": role},
                "metrics__validation/loss": loss,
                **changes,
            },
        )
        name = f"transformer-{size}-o{order}-s{seed}"
        synthetic_study.write_run(folder / "runs" / name, contents)
    return folder
