"""One client of the exchange: what it wants, what ails it, and what is on its way to it."""

from __future__ import annotations

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from pairlab.local_exchange.market.market import Message
from pairlab.local_exchange.protocol.control import Control
from pairlab.local_exchange.protocol.frames import binary_frame, text_frame, unwrap
from pairlab.local_exchange.server.faults import FaultState, Sent

__all__ = ["Client"]


class Client:
    """A connection on the exchange's side.

    Parameters
    ----------
    ws : ServerConnection
        After its handshake.
    control : Control
        Its subscriptions.

    Attributes
    ----------
    state : FaultState
        What ails it.
    out : list of bytes
        WebSocket frames for the next write.
    """

    __slots__ = ("control", "out", "state", "ws")

    def __init__(self, ws: ServerConnection, control: Control) -> None:
        self.ws = ws
        self.control = control
        self.state = FaultState()
        self.out: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether data can still be sent."""
        return self.ws.protocol.state is State.OPEN

    @property
    def backlog_bytes(self) -> int:
        """What waits for the client to read."""
        return self.ws.transport.get_write_buffer_size()

    def wants(self, message: Message) -> bool:
        """Return whether it subscribed to the message's stream, on a route that carries it."""
        return message[0] in self.control.streams and self.control.delivers(message[0])

    def put(self, sent: list[Sent]) -> None:
        """Add what faults have left of a batch to the next write."""
        for _, frame, as_it_is in sent:
            payload = frame if as_it_is or self.control.combined else unwrap(frame)
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.out.append(binary_frame(payload))
            else:
                self.out.append(text_frame(payload))

    def flush(self) -> tuple[int, int]:
        """Write what is in `out`; return the number of frames and of bytes."""
        out, self.out = self.out, []
        if not self.open:
            return 0, 0
        # One write of frames made once for everybody: `ws.send` per frame and connection would
        # cost several times as much. Server frames are not masked, and there are no extensions.
        data = b"".join(out)
        self.ws.transport.write(data)
        return len(out), len(data)
