"""Gives each run of a study its learning rate."""

from collections.abc import Sequence
import dataclasses
import pathlib

from clinometer.tools.study import plan
from clinometer.tools.study import shapes
from clinometer.tools.study import study_config
from clinometer.tools.study.tuning import lookup
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train import errors


@dataclasses.dataclass(frozen=True)
class Rated:
    """The runs with their learning rates.

    Attributes:
        runs: the runs.
        remarks: what the reader of their results must know about the rates.
    """

    runs: tuple[plan.PlannedRun, ...]
    remarks: tuple[str, ...]


def table_path(study: study_config.Study, out: pathlib.Path) -> pathlib.Path:
    """Returns the table of rates that a study uses.

    Args:
        study: its configuration, which may name a table.
        out: its folder. Its own table comes first, then that of the folder of records,
            then the one that is shipped.
    """
    if study.rates is not None:
        return pathlib.Path(study.rates)
    own = [pathlib.Path(place) for place in (out, study.records) if place is not None]
    tables = [place / table_lib.FILE_NAME for place in own]
    return next((path for path in tables if path.is_file()), table_lib.SHIPPED)


def rate(
    study: study_config.Study,
    runs: Sequence[plan.PlannedRun],
    out: pathlib.Path,
    corpus_hash: str | None,
) -> Rated:
    """Returns the runs with the rates of the table, or with one rate for all.

    Args:
        study: the study's configuration.
        runs: the planned runs, by canonical names.
        out: the study's folder.
        corpus_hash: of the token store; None if it is not known yet.

    Raises:
        StudyError: the table cannot be read.
        MissingRateError: the table has no rate for a model.
        ConfigError: a run has the seed of the sweep, whose luck chose the rate.
    """
    fixed = study.learning_rate
    if fixed is not None:
        rated = [
            dataclasses.replace(run, learning_rate=fixed, fixed_rate=fixed)
            for run in runs
        ]
        remark = (
            f"every run has the learning rate {fixed:g}, which is not tuned; "
            "differences between sizes and architectures may come from it"
        )
        return Rated(tuple(rated), (remark,))
    table = table_lib.read(table_path(study, out))
    settings = study.protocol.rate_settings()
    rated, remarks = [], []
    for run in runs:
        found = lookup.find(
            table,
            shapes.of(run.model),
            settings,
            corpus_hash=corpus_hash,
            extrapolate=study.extrapolate,
        )
        if run.seed == found.entry.seed:
            raise errors.ConfigError(
                f"{run.name}: the seed {run.seed} is that of the sweep which chose the "
                "learning rate; final runs need others"
            )
        rated.append(
            dataclasses.replace(
                run,
                learning_rate=found.rate,
                rate_table=table.sha256,
                rate_corpus=found.entry.corpus_hash,
            )
        )
        remarks += found.remarks
    return Rated(tuple(rated), tuple(dict.fromkeys(remarks)))
