"""Draws lines and text into an array and writes it as PNG: no other package is needed for it."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "rgb_of"]

_GLYPHS: Final = bytes.fromhex(
    "000000000000005F00000007000700147F147F14242A7F2A12231308646236495620500008070300001C224100"
    "0041221C002A1C7F1C2A08083E080800807030000808080808000060600020100804023E5149453E00427F4000"
    "72494949462141494D331814127F1027454545393C4A49493141211109073649494936464949291E0000140000"
    "004034000000081422411414141414004122140802015909063E415D594E7C1211127C7F494949363E41414122"
    "7F4141413E7F494949417F090909013E414151737F0808087F00417F41002040413F017F081422417F40404040"
    "7F021C027F7F0408107F3E4141413E7F090909063E4151215E7F09192946264949493203017F01033F4040403F"
    "1F2040201F3F4038403F631408146303047804036159494D43007F4141410204081020004141417F0402010204"
    "4040404040000307080020545478407F284444383844444428384444287F385454541800087E090218A4A49C78"
    "7F0804047800447D40002040403D007F1028440000417F40007C047804787C080404783844444438FC18242418"
    "18242418FC7C08040408485454542404043F44243C4040207C1C2040201C3C4030403C44281028444C9090907C"
    "4464544C440008364100000077000000413608000201020402"
)
"""ASCII from the space on, 5 columns each of 8 pixels, the lowest bit on top."""

_FINER: Final = 2
"""How many times finer lines are drawn than the picture is: their edges become smooth."""

_ASCII: Final = str.maketrans(
    {"−": "-", "–": "-", "·": "|", "β": "b", "σ": "s", "ρ": "r", "×": "x", "≤": "<=", "…": "..."}
)


class Canvas:
    """A picture of one size, drawn on by colour.

    Parameters
    ----------
    width, height : int
        In pixels.
    background : str
        Colour, as ``#rrggbb``.
    """

    def __init__(self, width: int, height: int, background: str) -> None:
        self.width, self.height = width, height
        self._fine = np.empty((height * _FINER, width * _FINER, 3), np.uint8)
        self._fine[:] = rgb_of(background)
        self._texts: list[tuple[int, int, str, NDArray[np.uint8], int]] = []

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        top, left = round(y * _FINER), round(x * _FINER)
        bottom, right = round((y + height) * _FINER), round((x + width) * _FINER)
        self._fine[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = rgb_of(colour)

    def cells(
        self, x: float, y: float, width: float, height: float, colours: NDArray[np.uint8]
    ) -> None:
        """Fill a rectangle with cells of equal size.

        Parameters
        ----------
        x, y, width, height : float
            Of all of them, in pixels.
        colours : array (rows, columns, 3)
            Red, green and blue of each.
        """
        top, left = round(y * _FINER), round(x * _FINER)
        room = self._fine[top : top + round(height * _FINER), left : left + round(width * _FINER)]
        rows, columns = (
            np.arange(room.shape[axis]) * colours.shape[axis] // max(room.shape[axis], 1)
            for axis in (0, 1)
        )
        room[:] = colours[rows[:, None], columns]

    def line(
        self, x: NDArray[np.float64], y: NDArray[np.float64], colour: str, thickness: float = 1.5
    ) -> None:
        """Draw a line through points from left to right; NaN interrupts it.

        Parameters
        ----------
        x, y : array
            In pixels; x ascends.
        colour : str
            As ``#rrggbb``.
        thickness : float
            In pixels.
        """
        rgb, half = rgb_of(colour), thickness * _FINER / 2
        x, y = x * _FINER, np.clip(y * _FINER, -half, self._fine.shape[0] + half)
        for run in _runs(np.isfinite(y)):
            if run.stop - run.start < 2:
                continue
            first, last = int(np.ceil(x[run][0])), int(np.floor(x[run][-1]))
            at = np.arange(max(first, 0), min(last, self._fine.shape[1] - 1) + 1)
            if not len(at):
                continue
            # A column of pixels is filled from the lowest to the highest point of the line in it.
            edges = np.interp([at - 0.5, at + 0.5], x[run], y[run])
            low, high = edges.min(axis=0), edges.max(axis=0)
            column = np.clip(np.rint(x[run]).astype(int) - at[0], 0, len(at) - 1)
            np.minimum.at(low, column, y[run])
            np.maximum.at(high, column, y[run])
            top = max(int(low.min() - half), 0)
            part = self._fine[top : int(high.max() + half) + 1, at[0] : at[-1] + 1]
            rows = top + np.arange(part.shape[0], dtype=np.float32)[:, None] + 0.5
            part[(rows >= np.float32(low - half)) & (rows <= np.float32(high + half))] = rgb

    def text(self, x: float, y: float, words: str, colour: str, size: int = 1) -> None:
        """Write a line of text, its upper left corner at a place; what is not ASCII becomes ?."""
        self._texts.append((round(x), round(y), words.translate(_ASCII), rgb_of(colour), size))

    @staticmethod
    def text_width(words: str, size: int = 1) -> int:
        """Return how wide a text is, in pixels."""
        return (6 * len(words.translate(_ASCII)) - 1) * size

    def png(self, **texts: str) -> bytes:
        """Return the picture as PNG, with texts in its metadata."""
        corners = [(n, m) for n in range(_FINER) for m in range(_FINER)]
        total = sum(self._fine[n::_FINER, m::_FINER].astype(np.uint16) for n, m in corners)
        pixels = np.asarray(total // len(corners), np.uint8)
        for x, y, words, rgb, size in self._texts:
            mask = _glyphs(words).repeat(size, axis=0).repeat(size, axis=1)
            mask, x = mask[:, max(-x, 0) :], max(x, 0)
            part = pixels[y : y + mask.shape[0], x : x + mask.shape[1]]
            part[mask[: part.shape[0], : part.shape[1]]] = rgb
        lines = np.zeros((self.height, 1 + 3 * self.width), np.uint8)  # 0: no filter
        lines[:, 1:] = pixels.reshape(self.height, -1)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        noted = [
            _chunk(b"iTXt", name.encode() + b"\0\0\0\0\0" + words.encode())
            for name, words in texts.items()
        ]
        image = _chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
        begin = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
        return begin + b"".join(noted) + image + _chunk(b"IEND", b"")


def rgb_of(colour: str) -> NDArray[np.uint8]:
    """Return red, green and blue of a colour, ``#rrggbb``."""
    return np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)], np.uint8)


def _runs(finite: NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], finite, [False])).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _glyphs(words: str) -> NDArray[np.bool_]:
    mask = np.zeros((8, max(6 * len(words), 1)), bool)
    for n, letter in enumerate(words):
        code = ord(letter) if " " <= letter <= "~" else ord("?")
        columns = np.frombuffer(_GLYPHS, np.uint8, 5, (code - 32) * 5)
        mask[:, 6 * n : 6 * n + 5] = (columns[None, :] >> np.arange(8)[:, None]) & 1
    return mask


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
