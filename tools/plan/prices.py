"""Reads a user's file of prices and watts, without which no cost or energy is shown.

The file is TOML, with a table for each kind of device:

    currency = "USD"

    [v5e]
    price_per_chip_hour = 1.2
    watts_per_chip = 250

Both keys of a table are optional, and so is the currency.
"""

from collections.abc import Mapping
import dataclasses
import os
import tomllib
from typing import Any

from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError

_PRICE, _WATTS = "price_per_chip_hour", "watts_per_chip"
_ACCEPTED = ranges.Real(0)
_JOULES_PER_KWH = 3.6e6


@dataclasses.dataclass(frozen=True)
class Prices:
    """What a chip costs and draws.

    Attributes:
        per_chip_hour: price; None if it is not known.
        watts_per_chip: None if they are not known.
        currency: of the price; "" if it is not given.
    """

    per_chip_hour: float | None = None
    watts_per_chip: float | None = None
    currency: str = ""

    def cost(self, chip_hours: float) -> float | None:
        """Returns what a number of chip-hours costs, or None.

        Args:
            chip_hours: number of chips times hours.
        """
        return None if self.per_chip_hour is None else chip_hours * self.per_chip_hour

    def kwh(self, chip_hours: float) -> float | None:
        """Returns the energy of a number of chip-hours, or None.

        Args:
            chip_hours: number of chips times hours.
        """
        if self.watts_per_chip is None:
            return None
        return chip_hours * 3600 * self.watts_per_chip / _JOULES_PER_KWH


UNKNOWN = Prices()


def read(path: str | os.PathLike[str]) -> dict[str, Prices]:
    """Reads a file: name of a device -> its prices.

    Args:
        path: the file.

    Raises:
        OptionError: the file cannot be read or has other contents; the message names
            the key and says what is accepted.
    """
    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"--prices: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"--prices: {path} is not TOML: {error}") from None
    currency = found.pop("currency", "")
    if not isinstance(currency, str):
        raise OptionError(
            f"--prices: {path}: currency: got {ranges.shown(currency)}, accepted: text"
        )
    return {
        name: _prices(f"--prices: {path}: {name}", table, currency)
        for name, table in found.items()
    }


def of_device(found: Mapping[str, Prices], path: str, name: str) -> Prices:
    """Returns the prices of a device.

    Args:
        found: from `read`.
        path: the file, for the message.
        name: the name of the device, such as "v5e".

    Raises:
        OptionError: the file does not have the device.
    """
    if name not in found:
        has = ", ".join(found) or "no device"
        raise OptionError(f"--prices: {path} has no table [{name}]; it has {has}")
    return found[name]


def _prices(where: str, table: Any, currency: str) -> Prices:
    if not isinstance(table, dict):
        raise OptionError(
            f"{where}: got {ranges.shown(table)}, accepted: currency, and tables of "
            f"devices with {_PRICE} and {_WATTS}"
        )
    for key, value in table.items():
        if key not in (_PRICE, _WATTS):
            raise OptionError(f"{where}.{key}: accepted are {_PRICE} and {_WATTS}")
        if type(value) not in (int, float):
            raise OptionError(
                f"{where}.{key}: got {ranges.shown(value)}, accepted: {_ACCEPTED}"
            )
        try:
            _ACCEPTED.check(value)
        except OptionError as error:
            raise OptionError(f"{where}.{key}: {error}") from None
    return Prices(table.get(_PRICE), table.get(_WATTS), currency)
