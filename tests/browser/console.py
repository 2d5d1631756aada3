"""What a page's console says, and the little of it that is Jupyter's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Said", "Screen"]

KNOWN: Final = (
    # Notebook 7 asks for a plugin's settings before it knows their schema, now and then.
    (
        r"^Cannot read properties of undefined \(reading 'schema'\)$",
        r"/static/notebook/notebook_core\.",
    ),
)
"""Errors of the front ends' own, which need no lab in the page: what they say, and where."""


@dataclass(frozen=True)
class Said:
    """One error: its text, and the script's address or the stack that it came with."""

    text: str
    where: str

    def matches(self, text: str, where: str = "") -> bool:
        """Return whether patterns are found in both."""
        return bool(re.search(text, self.text) and re.search(where, self.where))


@dataclass
class Screen:
    """A page, and what its console said.

    Attributes
    ----------
    expected : list of str
        Patterns of errors that a test of this page makes on purpose.
    """

    page: Any
    errors: list[Said] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda e: self._add(e.message, e.stack or e.name or ""))
        self.page.on("crash", lambda _: self._add("the page crashed", ""))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "assert"):
            at = message.location
            self._add(message.text, f"{at['url']}:{at['lineNumber']}:{at['columnNumber']}")

    def _add(self, text: str, where: str) -> None:
        self.errors.append(Said(text, where))

    @property
    def strange(self) -> list[Said]:
        """Every error but the known and the expected ones: each of them fails the page's tests."""
        return [
            said
            for said in self.errors
            if not any(said.matches(text, where) for text, where in KNOWN)
            and not any(said.matches(text) for text in self.expected)
        ]
