"""Where numbers come from, written with them wherever they leave: market, pair and settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pairlab.health import Health
from pairlab.schema import Pair
from pairlab.settings import SETTINGS, SettingValues

__all__ = ["Origin", "source_name", "without_credentials"]

_OF_MEMORY: Final = ("history_rows", "ticks_held")  # they change no number


def source_name(feed: str, real_money: bool) -> str:
    """Return what a feed's numbers are marked with: no address' credentials, and what it is not.

    Parameters
    ----------
    feed : str
        The feed's name, as health tells it.
    real_money : bool
        Whether it is the live market.
    """
    # A local exchange is named by its address, before which a user and a password can stand.
    source = without_credentials(feed)
    kind = source.partition(" (saved ")[0]
    if not real_money and kind not in ("SIMULATED", "RECORDING", "REPLAY"):
        source += " (not real money)"
    return source


@dataclass(frozen=True, slots=True)
class Origin:
    """Where numbers come from.

    Attributes
    ----------
    source : str
        The market, such as ``BINANCE`` or ``SIMULATED``; of one that has another name and is not
        the live market it says so. No address and no credentials.
    real_money : bool
        Whether it is the live market.
    pair : Pair
        The symbols.
    settings : str
        Pair, stream and settings in one line: ``pair=BTCUSDT/ETHUSDT; stream=aggTrade; …``.
    """

    source: str
    real_money: bool
    pair: Pair
    settings: str

    @classmethod
    def of(cls, pair: Pair, health: Health, values: SettingValues) -> Origin:
        """Return the origin of a lab's numbers.

        Parameters
        ----------
        pair : Pair
            The lab's.
        health : Health
            Names its feed.
        values : SettingValues
            With which its rows were computed.
        """
        source = source_name(health.feed, health.real_money)
        chosen = {"pair": "/".join(pair), "stream": health.stream}
        chosen |= {name: getattr(values, name) for name in SETTINGS if name not in _OF_MEMORY}
        settings = "; ".join(f"{name}={_told(value)}" for name, value in chosen.items())
        return cls(source, health.real_money, pair, settings)

    @property
    def marker(self) -> str:
        """What marks a file's name, "" for the live market: ``SIMULATED-``."""
        if self.real_money:
            return ""
        word = re.sub(r"[^A-Za-z0-9]", "", self.source.split()[0] if self.source.split() else "")
        return f"{word or 'SIMULATED'}-"

    @property
    def header(self) -> str:
        """The end of a CSV file's header: ``source``, and a column named by the settings.

        Its fields are empty: a text in every row would be most of the file, and one in the first
        row alone makes pandas warn of mixed types.
        """
        return f",source,{_quoted(self.settings)}"

    @property
    def fields(self) -> str:
        """The end of every line under `header`."""
        return f",{_quoted(self.source)},"


def without_credentials(name: str) -> str:
    """Return a feed's name without the user and password that may stand in an address.

    >>> without_credentials("LOCAL user:secret@127.0.0.1:9443")
    'LOCAL 127.0.0.1:9443'
    """
    return re.sub(r"\S*@", "", name)


def _told(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    return "off" if value is None else str(value)


def _quoted(text: str) -> str:
    if re.search(r'[",\r\n]', text):
        return '"' + text.replace('"', '""') + '"'
    return text
