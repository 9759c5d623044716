"""Tests the table of plans."""

from clinometer.kernels.tpu import chips
from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import prices as prices_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan import table

PRICES = prices_lib.Prices(3.0, 200.0, "USD")


def lines(*steps, prices=PRICES):
    return list(
        table.text(
            [
                run_plan.make(
                    compiled.REQUEST,
                    step,
                    chips.CHIPS["v3"],
                    steps=2**19,
                    prices=prices,
                )
                for step in steps
            ]
        )
    )


def test_a_table_fits_a_terminal_of_80_columns():
    reason = "Ran out of memory on HBM, " * 9
    found = lines(compiled.step(), compiled.step(reason=reason))
    assert max(map(len, found)) <= 80
    text = "\n".join(found)
    assert "v3:2x2x1: 4 chips, 8 devices of 16.0 GiB" in text
    assert "does not fit" in text
    assert " ".join(text.split()).count("Ran out of memory on HBM,") == 9
    assert "data 4 x fsdp 1 x expert 1 x model 2" in text
    assert "12 all-reduce send" in text
    assert "cost USD" in text and "kWh" in text


def test_what_could_help_is_said_only_if_something_does_not_fit():
    assert "--fit" not in "\n".join(lines(compiled.step()))
    assert "--fit" in "\n".join(lines(compiled.step(reason="out of memory")))


def test_without_prices_no_cost_or_energy_is_shown():
    text = "\n".join(lines(compiled.step(), prices=prices_lib.UNKNOWN))
    assert "cost" not in text and "kWh" not in text


def test_numbers_have_three_digits():
    shown = [table.number(x) for x in (None, 0.0012345, 1.5, 99.96, 12345.6)]
    assert shown == ["-", "0.00123", "1.5", "100", "12,346"]


def test_bytes_are_shown_in_gibibytes():
    assert table.gibibytes(3 * 2**29) == "1.5"
    assert table.gibibytes(None) == "-"
