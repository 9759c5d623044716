"""What the text of Tay et al. 2021 says of its own Table 4, checked on the table.

Ratios are of computed parameters and multiply-adds, and of printed ones beside them. A
statement holds if the ratio is within one percentage point of it.
"""

import dataclasses

import pandas as pd
from scipy import stats

from clinometer.tools.results import published

WITHIN = 0.01
_PARAMS = ("params_total", "printed_params")
_MACS = ("papers_macs_forward_batch", "printed_macs_forward_batch")
_SPEED = "steps_per_second_median"


@dataclasses.dataclass(frozen=True)
class TextCheck:
    """A statement about a ratio of two models.

    Attributes:
        statement: what the text says.
        stated: the ratio that it states.
        computed: the ratio of computed values.
        printed: the ratio of printed values.
    """

    statement: str
    stated: float
    computed: float
    printed: float

    @property
    def holds(self) -> bool:
        """Whether the computed or the printed ratio is the stated one."""
        return any(
            abs(found - self.stated) <= WITHIN
            for found in (self.computed, self.printed)
        )


@dataclasses.dataclass(frozen=True)
class SpeedCheck:
    """How well 1 / multiply-adds ranks the published speeds of one number of chips.

    Attributes:
        chips: number of chips.
        models: number of models.
        rank_correlation: Spearman's, of speed and 1 / multiply-adds.
        spread: 90th over 10th percentile of speed times multiply-adds.
    """

    chips: int
    models: int
    rank_correlation: float
    spread: float


# Statement, model, model it is compared with, columns, ratio that is stated.
_STATEMENTS = (
    (
        "Small-16L has 50 % less parameters than Base",
        ("Small 16L", "Base"),
        _PARAMS,
        0.50,
    ),
    (
        "Small-16L has 63.1 % of Base's FLOPs",
        ("Small 16L", "Base"),
        _MACS,
        0.631,
    ),
    ("Small-24L has 87 % of Base's FLOPs", ("Small 24L", "Base"), _MACS, 0.87),
    (
        "Small-24L has 16 % fewer parameters than Base",
        ("Small 24L", "Base"),
        _PARAMS,
        0.84,
    ),
    ("Large-36L has 37 % of XL's parameters", ("Large 36L", "XL"), _PARAMS, 0.37),
    ("XL-32L takes 44 % of XXL's FLOPs", ("XL 32L", "XXL"), _MACS, 0.44),
)


def of_table(table: pd.DataFrame | None = None) -> list[TextCheck]:
    """Checks the statements.

    Args:
        table: rows of Table 4; by default those that ship.
    """
    table = published.of_table(4) if table is None else table
    rows = table.set_index("run")
    made = []
    for statement, (one, other), names, stated in _STATEMENTS:
        computed, printed = (
            float(rows.loc[f"Table 4: {one}", name])
            / float(rows.loc[f"Table 4: {other}", name])
            for name in names
        )
        made.append(TextCheck(statement, stated, computed, printed))
    return made


def of_speeds(chips: int = 16, table: pd.DataFrame | None = None) -> SpeedCheck:
    """Compares the published speeds with the multiply-adds.

    Args:
        chips: number of chips of the models.
        table: rows of Table 4; by default those that ship.
    """
    table = published.of_table(4) if table is None else table
    rows = table[table["device_training"] == chips]
    speed, macs = rows[_SPEED], rows[_MACS[0]]
    product = speed * macs
    return SpeedCheck(
        chips=chips,
        models=len(rows),
        rank_correlation=float(stats.spearmanr(speed, 1 / macs).statistic),
        spread=float(product.quantile(0.9) / product.quantile(0.1)),
    )
