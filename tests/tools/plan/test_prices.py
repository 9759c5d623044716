"""Tests the file of prices and watts."""

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tools.plan import prices as prices_lib

FILE = """\
currency = "EUR"
[v3]
price_per_chip_hour = 2
watts_per_chip = 250.0
[v4]
"""


def read(folder, text):
    (folder / "prices.toml").write_text(text)
    return prices_lib.read(folder / "prices.toml")


def test_costs_and_energy_of_chip_hours(tmp_path):
    found = read(tmp_path, FILE)
    prices = prices_lib.of_device(found, "prices.toml", "v3")
    assert prices == prices_lib.Prices(2, 250.0, "EUR")
    assert prices.cost(12) == 24
    assert prices.kwh(12) == pytest.approx(3.0)  # 250 W for 12 hours.


def test_without_the_numbers_nothing_is_known(tmp_path):
    for prices in (read(tmp_path, FILE)["v4"], prices_lib.UNKNOWN):
        assert prices.cost(12) is None
        assert prices.kwh(12) is None


def test_a_file_without_the_device_says_which_it_has(tmp_path):
    found = read(tmp_path, FILE)
    with pytest.raises(OptionError, match=r"no table \[v5e\]; it has v3, v4"):
        prices_lib.of_device(found, "prices.toml", "v5e")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v3 = 2", "prices.toml: v3: got 2, accepted: currency, and tables"),
        ("[v3]\nprice = 2", "v3.price: accepted are price_per_chip_hour and"),
        ("[v3]\nwatts_per_chip = true", "v3.watts_per_chip: got True, accepted"),
        ("[v3]\nwatts_per_chip = -1", "v3.watts_per_chip: must not be negative"),
        ("[v3]\nprice_per_chip_hour = nan", "must be a finite number, got nan"),
        ("currency = 3", "currency: got 3, accepted: text"),
        ("v3 =", "prices.toml is not TOML"),
    ],
)
def test_other_contents_are_refused(tmp_path, text, said):
    with pytest.raises(OptionError, match="^--prices: ") as raised:
        read(tmp_path, text)
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptionError, match="nowhere: No such file or directory"):
        prices_lib.read(tmp_path / "nowhere")
