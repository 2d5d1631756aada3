"""What the applications of a lab and of a board have in common: paths, refusals, faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from pairlab import __version__
from pairlab.schema import LogLevel
from pairlab.services.rest import models

__all__ = ["CSV_BODY", "Application", "EncodedJson"]

CSV_BODY: Final[dict[str, Any]] = {
    "description": "A file.",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}
"""How the schema describes a download."""


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    known = (401, 403, 421, 429, *statuses)
    return {s: {"model": models.Problem, "description": HTTPStatus(s).phrase} for s in known}


class EncodedJson(JSONResponse):
    """A response of encoded JSON."""

    def render(self, content: Any) -> bytes:
        """Return the content unchanged."""
        return bytes(content)


class Application:
    """A FastAPI application whose paths refuse and fail in the same words.

    Parameters
    ----------
    description : str
        Of its documentation.
    log : callable
        Takes a level and a message: where faults are told.

    Attributes
    ----------
    app : FastAPI
        The application.
    """

    def __init__(self, description: str, log: Callable[[LogLevel, str], None]) -> None:
        self._methods: defaultdict[str, set[str]] = defaultdict(set)
        self._log = log
        self.app = FastAPI(
            title="pairlab",
            version=__version__,
            description=description,
            docs_url=None,
            redoc_url=None,
            swagger_ui_oauth2_redirect_url=None,
        )
        self.app.add_exception_handler(AnyHTTPException, self._refused)
        self.app.add_exception_handler(RequestValidationError, self._invalid)
        self.app.add_exception_handler(Exception, self._failed)

    def path(
        self,
        method: Literal["GET", "POST"],
        url: str,
        do: Callable[..., Any],
        model: Any = None,
        *problems: int,
        **more: Any,
    ) -> None:
        """Add a path: its handler, the model of its answer and the statuses of its refusals."""
        responses = {**_problems(*problems), **more.pop("responses", {})}
        if model is not None:
            responses[200] = {"model": model}
        self._methods[url].add(method)
        first = (do.__doc__ or "").splitlines()[0].split(". ")[0].rstrip(".")
        self.app.add_api_route(
            url, do, methods=[method], responses=responses, response_class=EncodedJson,
            response_model=None, name=do.__name__, summary=first, **more,
        )  # fmt: skip

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, AnyHTTPException)  # noqa: S101  registered for nothing else
        body, headers = msgspec.json.encode({"detail": error.detail}), error.headers
        if (
            error.status_code == 405
        ):  # a path's methods are separate routes; Starlette names only one of them
            headers = {"Allow": ", ".join(sorted(self._methods[request.url.path]))}
        return EncodedJson(body, error.status_code, headers=headers)

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
        return EncodedJson(msgspec.json.encode({"detail": _describe(error)}), 422)

    async def _failed(self, request: Request, error: Exception) -> Response:
        self._log(
            "error",
            f"{request.url.path}: {type(error).__name__}: {error}. Other requests are not "
            "affected. Try again; if the error persists, restart the lab",
        )
        return EncodedJson(b'{"detail":"internal server error: see the lab\'s event log"}', 500)


def _describe(error: RequestValidationError) -> str:
    problems = []
    for problem in error.errors():
        name, value = problem["loc"][-1], str(problem.get("input"))[:60]
        if problem["type"] == "extra_forbidden":
            problems.append(f"unknown field {str(name)[:60]!r}")
        else:
            problems.append(f"{name} = {value!r} is invalid: {problem['msg']}")
    return "; ".join(problems)
