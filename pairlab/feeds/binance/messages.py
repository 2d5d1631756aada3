"""Binance's wire format, without any I/O: frames in, ticks out.

Prices and quantities come as strings, ids and times (ms) as integers. Keys change their order and
new ones appear, so everything is decoded by name and what is unknown is ignored.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from pairlab.errors import DataError

__all__ = ["STREAMS", "ConsumedId", "ControlMessage", "TickTuple", "WireDecoder", "on_leg"]

STREAMS: Final = ("aggTrade", "trade", "bookTicker")

TickTuple: TypeAlias = tuple[int, int, int, int, float, float, bool]
"""The fields of `pairlab.TICK`, in its order: what ``np.array(ticks, dtype=TICK)`` takes."""

NS_PER_MS: Final = 1_000_000
_INF: Final = float("inf")
_SHOWN: Final = 160  # characters of a bad frame that are kept
_LAG_WINDOW: Final = 8192  # ticks over which the lag's quantiles are taken

# Bounds keep every number inside int64 after the step from milliseconds to nanoseconds: a wild one
# is a bad frame here, not an overflow further down.
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Ms = Annotated[int, msgspec.Meta(gt=0, lt=4_102_444_800_000)]  # before the year 2100


class _AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    s: str
    a: _Id
    p: str
    q: str
    T: _Ms
    E: _Ms
    m: bool


class _Trade(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    s: str
    t: _Id
    p: str
    q: str
    T: _Ms
    E: _Ms
    m: bool
    X: str = "MARKET"  # older servers do not send it


class _BookTicker(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    s: str
    u: _Id
    b: str
    B: str
    a: str
    A: str
    T: _Ms
    E: _Ms


class _AggTradeFrame(msgspec.Struct, gc=False):
    data: _AggTrade


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _BookTickerFrame(msgspec.Struct, gc=False):
    data: _BookTicker


_FRAMES: Final[dict[str, type[msgspec.Struct]]] = {
    "aggTrade": _AggTradeFrame,
    "trade": _TradeFrame,
    "bookTicker": _BookTickerFrame,
}
_PAYLOADS: Final[dict[str, type[msgspec.Struct]]] = {
    "aggTrade": _AggTrade,
    "trade": _Trade,
    "bookTicker": _BookTicker,
}


class ConsumedId(NamedTuple):
    """A trade that consumed an id and is no tick, such as an insurance-fund trade.

    Its fields are a tick's first four.
    """

    time_ns: int
    received_ns: int
    id: int
    leg: int


def on_leg(item: TickTuple | ConsumedId, leg: int) -> TickTuple | ConsumedId:
    """Return an item as another leg's."""
    if isinstance(item, ConsumedId):
        return item._replace(leg=leg)
    time_ns, received_ns, id_, _, price, quantity, buyer_is_maker = item
    return (time_ns, received_ns, id_, leg, price, quantity, buyer_is_maker)


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A message of the server about the connection itself.

    Attributes
    ----------
    kind : {"reply", "error", "shutdown"}
        The answer to a request, a refused request, or an announced restart.
    text : str
        The frame, shortened.
    """

    kind: Literal["reply", "error", "shutdown"]
    text: str


class WireDecoder:
    """Turns frames of one kind of stream into ticks of some symbols.

    Bad frames never raise: they are counted by reason, and the last few are kept.

    Parameters
    ----------
    symbols : sequence of str
        A tick's `leg` is the place of its symbol here, letter by letter: y and x of a `Pair`. A
        frame of any other symbol is counted and dropped.
    stream : {"aggTrade", "trade", "bookTicker"}
        ``bookTicker`` makes a tick of each quote: the mid price, the update id ``u`` as its id,
        the smaller of both sides as its quantity (tradable on either side),
        ``buyer_is_maker`` False.
    bad_frames : int
        How many bad frames are kept for inspection.

    Attributes
    ----------
    dropped : Counter of str
        Frames and trades that became no tick, by reason: ``not JSON``, ``malformed``,
        ``bad price``, ``error reply``, ``other stream``, ``other symbol``, ``not market``,
        ``zero``.
    bad : deque of str
        The last bad frames, shortened, each with its reason.
    delays_ns : deque of int
        Receive time minus event time of the last 8,192 ticks, not corrected for the clocks'
        offset.

    Examples
    --------
    >>> decoder = WireDecoder(["BTCUSDT", "ETHUSDT"], "aggTrade")
    >>> decoder.decode(
    ...     b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1001,"s":"BTCUSDT",'
    ...     b'"a":7,"p":"61800.3","q":"0.5","f":1,"l":1,"T":1000,"m":true}}',
    ...     received_ns=1_002_000_000,
    ... )
    (1000000000, 1002000000, 7, 0, 61800.3, 0.5, True)
    >>> decoder.decode(b"{", received_ns=0), dict(decoder.dropped)
    (None, {'not JSON': 1})
    """

    def __init__(self, symbols: Sequence[str], stream: str, *, bad_frames: int = 8) -> None:
        if stream not in STREAMS:
            raise DataError(f"stream = {stream!r} is invalid: expected one of {', '.join(STREAMS)}")
        self.stream = stream
        self.dropped: Counter[str] = Counter()
        self.bad: deque[str] = deque(maxlen=bad_frames)
        self.delays_ns: deque[int] = deque(maxlen=_LAG_WINDOW)
        self._legs: dict[str, int] = {}
        for symbol in symbols:
            if symbol in self._legs:
                raise DataError(f"a pair needs two symbols, not {symbol!r} twice")
            self.add(symbol)
        self._any = msgspec.json.Decoder()
        self._payload: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_PAYLOADS[stream])
        self._frame: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_FRAMES[stream])
        readers: dict[str, Callable[[Any, int], TickTuple | ConsumedId | None]] = {
            "aggTrade": self._agg_trade,
            "trade": self._trade,
            "bookTicker": self._book_ticker,
        }
        self._read = readers[stream]

    def add(self, symbol: str) -> int:
        """Add a symbol, if it is new, and return its place."""
        return self._legs.setdefault(symbol, len(self._legs))

    def symbol(self, place: int) -> str:
        """Return the symbol at a place."""
        return list(self._legs)[place]

    def decode(
        self, frame: bytes, received_ns: int
    ) -> TickTuple | ConsumedId | ControlMessage | None:
        """Decode one frame.

        Parameters
        ----------
        frame : bytes
            A text frame as it arrived, combined-stream wrapper and all; a bare payload will do.
        received_ns : int
            When it arrived, wall clock.

        Returns
        -------
        tuple, ConsumedId, ControlMessage or None
            A tick as a plain tuple in the order of `pairlab.TICK`; an id that no tick has; a
            message about the connection; None for what was counted and dropped.
        """
        try:
            return self._read(self._frame.decode(frame).data, received_ns)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._examine(frame, received_ns)
        except _BadPriceError:
            self._keep("bad price", frame)
            return None

    def decode_many(
        self, frames: list[bytes], received_ns: int, messages: list[ControlMessage]
    ) -> list[TickTuple | ConsumedId]:
        """Decode frames that were read together, faster than one by one.

        Parameters
        ----------
        frames : list of bytes
            As for `decode`.
        received_ns : int
            When they arrived, wall clock. Each frame is stamped 1 ns after the one before: that
            keeps the order of arrival where the streams part.
        messages : list of ControlMessage
            What the server says about the connection is appended here.

        Returns
        -------
        list of tuple or ConsumedId
            In the order of the frames.
        """
        items: list[TickTuple | ConsumedId] = []
        append = items.append
        if self.stream != "aggTrade":
            todo: Iterable[bytes] = frames
        else:
            # What `_agg_trade` does, without a call per frame; all else is left to `decode`.
            todo = []
            read, legs, delay = self._frame.decode, self._legs, self.delays_ns.append
            for at_ns, frame in enumerate(frames, received_ns):
                try:
                    trade = read(frame).data
                    leg = legs[trade.s]
                    price = float(trade.p)
                    quantity = float(trade.q)
                except (msgspec.MsgspecError, ValueError, RecursionError, KeyError):
                    price = quantity = -1.0
                if 0.0 < price < _INF and 0.0 < quantity < _INF:
                    delay(at_ns - trade.E * NS_PER_MS)
                    append(
                        (
                            trade.T * NS_PER_MS,
                            at_ns,
                            trade.a,
                            leg,
                            price,
                            quantity,
                            trade.m,
                        )
                    )
                else:
                    self._add(self.decode(frame, at_ns), append, messages)
        for at_ns, frame in enumerate(todo, received_ns):
            self._add(self.decode(frame, at_ns), append, messages)
        return items

    @staticmethod
    def _add(
        item: TickTuple | ConsumedId | ControlMessage | None,
        append: Callable[[TickTuple | ConsumedId], None],
        messages: list[ControlMessage],
    ) -> None:
        if isinstance(item, ControlMessage):
            messages.append(item)
        elif item is not None:
            append(item)

    def _agg_trade(self, trade: _AggTrade, received_ns: int) -> TickTuple | ConsumedId | None:
        leg = self._legs.get(trade.s)
        if leg is None:
            self.dropped["other symbol"] += 1
            return None
        price = float(trade.p)
        quantity = float(trade.q)
        if not (0.0 < price < _INF and 0.0 < quantity < _INF):
            return self._no_tick((trade.T, received_ns, trade.a, leg), price, quantity)
        self.delays_ns.append(received_ns - trade.E * NS_PER_MS)
        return (trade.T * NS_PER_MS, received_ns, trade.a, leg, price, quantity, trade.m)

    def _trade(self, trade: _Trade, received_ns: int) -> TickTuple | ConsumedId | None:
        leg = self._legs.get(trade.s)
        if leg is None:
            self.dropped["other symbol"] += 1
            return None
        if trade.X != "MARKET" and trade.X != "RPI":
            self.dropped["not market"] += 1
            return ConsumedId(trade.T * NS_PER_MS, received_ns, trade.t, leg)
        price = float(trade.p)
        quantity = float(trade.q)
        if not (0.0 < price < _INF and 0.0 < quantity < _INF):
            return self._no_tick((trade.T, received_ns, trade.t, leg), price, quantity)
        self.delays_ns.append(received_ns - trade.E * NS_PER_MS)
        return (trade.T * NS_PER_MS, received_ns, trade.t, leg, price, quantity, trade.m)

    def _book_ticker(self, quote: _BookTicker, received_ns: int) -> TickTuple | ConsumedId | None:
        leg = self._legs.get(quote.s)
        if leg is None:
            self.dropped["other symbol"] += 1
            return None
        bid = float(quote.b)
        ask = float(quote.a)
        # An empty side has no mid price, whatever the other side says.
        price = (bid + ask) / 2 if bid > 0.0 and ask > 0.0 else min(bid, ask)
        quantity = min(float(quote.B), float(quote.A))
        if not (0.0 < price < _INF and 0.0 < quantity < _INF):
            return self._no_tick((quote.T, received_ns, quote.u, leg), price, quantity)
        self.delays_ns.append(received_ns - quote.E * NS_PER_MS)
        return (quote.T * NS_PER_MS, received_ns, quote.u, leg, price, quantity, False)

    def _no_tick(
        self, what: tuple[int, int, int, int], price: float, quantity: float
    ) -> ConsumedId:
        # Exchanges do print zeros, and those use up an id. Anything else is damage: its id cannot
        # be trusted either, and if it was a trade, the gap it leaves is filled like any other.
        if 0.0 <= price < _INF and 0.0 <= quantity < _INF:
            self.dropped["zero"] += 1
            time_ms, received_ns, id_, leg = what
            return ConsumedId(time_ms * NS_PER_MS, received_ns, id_, leg)
        raise _BadPriceError

    def _examine(
        self, frame: bytes, received_ns: int
    ) -> TickTuple | ConsumedId | ControlMessage | None:
        """Classify a frame that is no plain tick."""
        try:
            value = self._any.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._keep("not JSON", frame)
            return None
        if not isinstance(value, dict):
            self._keep("malformed", frame)
            return None
        wrapped = isinstance(value.get("data"), dict)
        payload = value["data"] if wrapped else value
        event = payload.get("e")
        if event == "serverShutdown":
            return ControlMessage("shutdown", _shorten(frame))
        if "error" in value or ("code" in value and "msg" in value):
            self._keep("error reply", frame)
            return ControlMessage("error", _shorten(frame))
        if "result" in value and "id" in value:
            return ControlMessage("reply", _shorten(frame))
        if event == self.stream and not wrapped:
            try:
                return self._read(self._payload.decode(frame), received_ns)
            except _BadPriceError:
                self._keep("bad price", frame)
                return None
            except (msgspec.MsgspecError, ValueError):
                pass  # counted below, as any malformed frame
        if (isinstance(event, str) and event != self.stream) or "lastUpdateId" in payload:
            self.dropped["other stream"] += 1
            return None
        self._keep("malformed", frame)
        return None

    def _keep(self, reason: str, frame: bytes) -> None:
        self.dropped[reason] += 1
        self.bad.append(f"{reason}: {_shorten(frame)}")


class _BadPriceError(Exception):
    """A price or quantity that no market prints."""


def _shorten(frame: bytes) -> str:
    text = frame[:_SHOWN].decode("utf-8", "replace")
    text = "".join(letter if letter.isprintable() else "·" for letter in text)
    return text if len(frame) <= _SHOWN else f"{text}… ({len(frame):,} bytes)"
