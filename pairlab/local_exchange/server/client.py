"""Per-client state: subscriptions, injected faults, send queue."""

from __future__ import annotations

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from pairlab.local_exchange.protocol.control import Control
from pairlab.local_exchange.protocol.frames import binary_frame, text_frame
from pairlab.local_exchange.protocol.messages import Message, unwrap
from pairlab.local_exchange.server.faults import FaultState, Outgoing

__all__ = ["Client"]


class Client:
    """The exchange's end of one connection.

    Parameters
    ----------
    ws : ServerConnection
        After its handshake.
    control : Control
        Its subscriptions.

    Attributes
    ----------
    state : FaultState
        Its injected faults.
    queue : list of bytes
        WebSocket frames for the next write.
    """

    __slots__ = ("control", "queue", "state", "ws")

    def __init__(self, ws: ServerConnection, control: Control) -> None:
        self.ws = ws
        self.control = control
        self.state = FaultState()
        self.queue: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether data can still be sent."""
        return self.ws.protocol.state is State.OPEN

    @property
    def backlog_bytes(self) -> int:
        """Bytes written that the client has not received yet."""
        return self.ws.transport.get_write_buffer_size()

    def receives(self, message: Message) -> bool:
        """Return whether it subscribed to the message's stream, on a route that delivers it."""
        return message[0] in self.control.streams and self.control.delivers(message[0])

    def enqueue(self, messages: list[Outgoing]) -> None:
        """Add what faults have left of a batch to the next write."""
        for _, payload, is_raw in messages:
            text = payload if is_raw or self.control.combined else unwrap(payload)
            try:
                text.decode()
            except UnicodeDecodeError:
                self.queue.append(binary_frame(text))
            else:
                self.queue.append(text_frame(text))

    def flush(self) -> tuple[int, int]:
        """Write the queue; return the number of frames and of bytes."""
        frames, self.queue = self.queue, []
        if not self.is_open:
            return 0, 0
        # One write of frames that are encoded once for all clients: `ws.send` per frame and
        # connection would cost several times as much. Server frames are not masked, and there
        # are no extensions.
        data = b"".join(frames)
        self.ws.transport.write(data)
        return len(frames), len(data)
