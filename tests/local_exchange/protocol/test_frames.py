"""WebSocket frames, beside those of the websockets library."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from pairlab.local_exchange.protocol.frames import binary_frame, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1 << 20])
def test_frames_are_the_bytes_that_the_library_sends(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)
