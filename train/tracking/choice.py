"""The trackers that a configuration chooses."""

from collections.abc import Mapping
import dataclasses
import importlib
import importlib.util
import types

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import did_you_mean
from clinometer.train import errors
from clinometer.train.tracking import isolated
from clinometer.train.tracking import tracker as tracker_lib

FIELD = "config.log.trackers"


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A tracker: its class, the package that it needs, and what installs that.

    The module is imported only if the tracker is chosen.
    """

    module: str
    made_by: str
    package: str
    install: str


TRACKERS: Mapping[str, _Kind] = types.MappingProxyType(
    {
        "tensorboard": _Kind(
            "clinometer.train.tracking.tensorboard_tracker",
            "TensorBoard",
            "tensorboardX",
            "clinometer[train]",
        ),
        "wandb": _Kind(
            "clinometer.train.tracking.wandb_tracker",
            "WeightsAndBiases",
            "wandb",
            "clinometer[wandb]",
        ),
        "mlflow": _Kind(
            "clinometer.train.tracking.mlflow_tracker",
            "MLflow",
            "mlflow",
            "clinometer[mlflow]",
        ),
    }
)


def chosen(names: str) -> tuple[str, ...]:
    """Returns the names of the chosen trackers; imports nothing.

    Args:
        names: `config.log.trackers`.

    Raises:
        ConfigError: a name is unknown or given twice, or its package is not installed;
            the message says what is accepted, or how to install it.
    """
    found: list[str] = []
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in TRACKERS:
            raise errors.ConfigError(
                f"{FIELD}: unknown {ranges.shown(name)}{did_you_mean(name, TRACKERS)}; "
                f"accepted: {', '.join(TRACKERS)}, separated by commas, or nothing"
            )
        if name in found:
            raise errors.ConfigError(f"{FIELD}: {name} is given twice")
        kind = TRACKERS[name]
        spec = importlib.util.find_spec(kind.package)
        # A folder of this name, such as W&B makes, counts as a package without a file.
        if spec is None or spec.origin is None:
            raise errors.ConfigError(
                f"{FIELD}: {name} needs the Python package '{kind.package}', which is "
                f"not installed; pip install '{kind.install}'"
            )
        found.append(name)
    return tuple(found)


def start(names: str, run: tracker_lib.TrackedRun) -> list[isolated.Isolated]:
    """Starts the chosen trackers, each in a thread of its own.

    Args:
        names: `config.log.trackers`.
        run: the run.

    Raises:
        ConfigError: see `chosen`.
    """
    return [_started(name, run) for name in chosen(names)]


def _started(name: str, run: tracker_lib.TrackedRun) -> isolated.Isolated:
    def make() -> tracker_lib.Tracker:
        kind = TRACKERS[name]
        return getattr(importlib.import_module(kind.module), kind.made_by)(run)

    return isolated.Isolated(name, make)
