"""Checks the learning rate against the table of tuned rates."""

import dataclasses
import math
import pathlib

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import telemetry as telemetry_lib
from clinometer.tools.diagnose import thresholds
from clinometer.tools.study import protocol
from clinometer.tools.study.tuning import lookup
from clinometer.tools.study.tuning import optimum
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train.run import record as record_lib


def table_of(run: pathlib.Path) -> pathlib.Path:
    """Returns the table for a run: that of its study, or the one that is shipped.

    Args:
        run: the run directory, which may be in OUT/runs or OUT/sweep/runs of a study.
    """
    above = list(run.resolve().parents)[:3]
    own = [folder / table_lib.FILE_NAME for folder in above]
    return next((path for path in own if path.is_file()), table_lib.SHIPPED)


def rate(run: telemetry_lib.Telemetry, table: table_lib.Table) -> list[finding.Finding]:
    """Finds a learning rate that costs more than chance can explain, by the sweep.

    Args:
        run: the run.
        table: the table of tuned rates.

    Raises:
        NotCheckedError: the table has no rate for such a run; the message says why.
    """
    found = _tuned(run, table)
    own, tuned = run.record.config.schedule.learning_rate, found.rate
    entry, ratio = found.entry, own / tuned
    evidence = {
        "schedule.learning_rate": own,
        "tuned rate": tuned,
        "ratio": ratio,
        "tuned": found.how,
    }
    curved = entry.curvature_error is not None and (
        entry.curvature >= 2 * entry.curvature_error
    )
    if curved:
        cost = entry.curvature / 2 * math.log(ratio) ** 2
        limit = thresholds.RATE_SPREADS.value * entry.spread
        evidence["nats that it costs by the parabola"] = cost
        bad = cost > limit
        threshold = f"{limit:.3g} nats, {thresholds.RATE_SPREADS}"
    else:
        bad = max(ratio, 1 / ratio) > thresholds.RATE_FACTOR.value
        threshold = str(thresholds.RATE_FACTOR)
    width = models.build(run.record.model, **run.record.config.model.overrides).config
    cliff = next((s.cliff for s in entry.sizes if s.width == width.d_model), None)
    if cliff is not None and own > cliff / optimum.CLIFF_MARGIN:
        evidence["rate at which the cliff begins"] = cliff
        bad = True
        threshold += f"; or within a factor of {optimum.CLIFF_MARGIN} of the cliff"
    if not bad:
        return []
    side = "high" if ratio > 1 else "low"
    return [
        finding.Finding(
            check="rate",
            step=0,
            what=f"the learning rate is too {side}: {ratio:.3g} times the tuned one",
            evidence=evidence,
            threshold=threshold,
            advice=f"--config.schedule.learning_rate={tuned:g}",
        )
    ]


def _tuned(run: telemetry_lib.Telemetry, table: table_lib.Table) -> lookup.Found:
    """Returns the rate of the table; NotCheckedError says why there is none."""
    record = run.record
    if record.kind != record_lib.PRETRAINING:
        raise finding.NotCheckedError("the table has rates of pretraining on text")
    if not record.config.schedule.learning_rate:
        raise finding.NotCheckedError("not recorded: config.schedule.learning_rate")
    optimizer = record.config.optimizer.get("name", "adafactor")
    if optimizer != "adafactor":
        raise finding.NotCheckedError(
            f"the table has rates of adafactor, not {optimizer}"
        )
    try:
        built = models.build(record.model, **record.config.model.overrides).config
        # The record has those fields of the model's config that were given.
        config = {
            **{f"model.{name}": v for name, v in dataclasses.asdict(built).items()},
            **{name: v for name, v in run.config.items() if v is not None},
        }
        settings = {key: config.get(key) for key in protocol.Protocol().rate_settings()}
        shape = lookup.Shape(
            model=record.model,
            architecture=registry.parse(record.model).architecture,
            layers=(built.num_encoder_layers, built.num_decoder_layers),
            width=built.d_model,
        )
        return lookup.find(table, shape, settings, corpus_hash=record.data.corpus_hash)
    except lookup.MissingRateError as error:
        raise finding.NotCheckedError(
            f"the table of tuned rates does not fit: {error.why}"
        ) from error
    except (models.ModelNameError, models.ConfigError) as error:
        raise finding.NotCheckedError(str(error)) from error
