"""Tests which values a configuration field accepts, and how it describes them."""

import pytest

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train.field import Field


@pytest.mark.parametrize(
    ("accepts", "good", "bad"),
    [
        (ranges.Whole(1), [1, 5], [0, 1.5, True, "1", None]),
        (ranges.Real(0, 1), [0, 0.5, 1], [1.1, -1, "0.5", None]),
        (("a", "b"), ["a"], ["c", 1, None]),
        (bool, [True], [1, "true", None]),
        (str, [""], [1, None]),
    ],
)
def test_types_and_ranges(accepts, good, bad):
    for value in good:
        Field("", accepts).check(value)
        Field("", accepts, optional=True).check(value)
    for value in bad:
        with pytest.raises(OptionError):
            Field("", accepts).check(value)
    Field("", accepts, optional=True).check(None)


def test_choices():
    assert Field("", ("a", "b", "c")).choices == "a, b or c"
    assert Field("", bool, optional=True).choices == "true or false, or none"
