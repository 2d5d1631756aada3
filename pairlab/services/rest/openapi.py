"""The documentation: the OpenAPI schema, and a page that opens without the internet."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html

from pairlab import __version__
from pairlab.services.rest import models

__all__ = ["ABOUT", "describe_stream", "serve_docs"]

ABOUT: Final = """The analytics of a running lab, for other programs.

* **Reading** needs no token on this machine; beyond it, as for every change, send
  `Authorization: Bearer <token>`.
* NaN is `null`; times are ISO 8601, UTC.
* **Live**: the WebSocket `/stream` sends what the webhook *stream* below shows, as it comes, at
  most a hundred times a second. A slow reader gets the newest, and is told how many it missed;
  `/stream?cursor=…` goes on after a page of `/analytics/stats`. It takes no messages.
"""
_FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_SAFETY: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'"
}


def describe_stream(app: FastAPI) -> None:
    """Put what OpenAPI has no words for where a reader of the schema looks."""

    def stream(message: models.StreamMessage) -> None:
        """Send over the WebSocket `/stream`, to every reader."""

    app.webhooks.add_api_route("stream", stream, methods=["POST"], summary="WebSocket /stream")
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        token = {"type": "http", "scheme": "bearer", "description": "Shown when the server starts."}
        schema.setdefault("components", {})["securitySchemes"] = {"token": token}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def serve_docs(app: FastAPI) -> None:
    """Serve Swagger from this machine: FastAPI's own page loads it from a CDN."""
    # Read once, here: no request needs the disk.
    files = {
        name: Response(
            (resources.files("fastapi_offline") / "static" / name).read_bytes(), media_type=kind
        )
        for name, kind in _FILES.items()
    }
    title = f"pairlab {__version__}"
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=title,
        swagger_js_url="/docs/files/swagger-ui-bundle.js",
        swagger_css_url="/docs/files/swagger-ui.css",
        swagger_favicon_url="/docs/files/favicon.png",
    )
    for name, file in files.items():
        app.add_route(f"/docs/files/{name}", _show(file), methods=["GET"])
    page.headers.update(_SAFETY)
    app.add_route("/docs", _show(page), methods=["GET"])


def _show(page: Response) -> Callable[[Request], Response]:
    return lambda request: page
