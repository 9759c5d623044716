"""Compares the published models that runs are compared with, with the tables."""

import pytest

from clinometer.tools.results import errors
from clinometer.tools.verify import references


def test_the_known_names_are_tables_3_and_4():
    known = references.all_of()
    assert len(known) == 15  # 14 rows of Table 4, and NL12-XXL.
    assert known["t5-base"].sources == (
        "Tay et al. 2021, Table 4",
        "Tay et al. 2021, Table 6",
    )
    # The table of 4 has more digits than that of 3.
    assert known["t5-xl-32l"].values["glue"] == 86.94
    assert known["t5-small-24l"].values["hellaswag"] == 48.9
    assert known["t5-nl12-xxl"].values["superglue"] == 76.5


def test_an_unknown_name_is_refused():
    assert references.get("T5-Base").model == "transformer-base"
    with pytest.raises(errors.ResultsError, match="--against: unknown 'base'"):
        references.get("base")
