"""Methods of a facade that are those of one of its parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["forwarder"]

P = ParamSpec("P")
R = TypeVar("R")


def forwarder(
    module: str, facade: str
) -> Callable[[str, Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
    """Return what makes methods of a facade, named by its module and class.

    It takes the name of a part, an attribute of the facade, and a method of the part's class; what
    it returns has the same signature and documentation.
    """

    def forward(
        part: str, method: Callable[Concatenate[Any, P], R]
    ) -> Callable[Concatenate[Any, P], R]:
        if iscoroutinefunction(method):
            # A framework that asks whether it must be awaited is told so.
            @wraps(method)
            async def awaited(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
                return await method(getattr(self, part), *args, **kwargs)

            forwarded: Callable[..., Any] = awaited
        else:

            @wraps(method)
            def called(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
                return method(getattr(self, part), *args, **kwargs)

            forwarded = called
        forwarded.__module__, forwarded.__qualname__ = module, f"{facade}.{method.__name__}"
        return forwarded

    return forward
