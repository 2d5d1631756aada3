"""The OpenAPI schema, and a Swagger page that works offline."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html

from pairlab import __version__
from pairlab.services.rest import models

__all__ = ["DESCRIPTION", "describe_stream", "serve_docs"]

DESCRIPTION: Final = """The analytics of a running lab.

* **Reading** requires no token on this machine; from other machines, and for every change, send
  `Authorization: Bearer <token>`.
* NaN is `null`; times are ISO 8601, UTC.
* **Live**: the WebSocket `/stream` sends messages as the webhook *stream* below describes, at most
  a hundred per second. A slow reader gets the newest rows and is informed how many it missed;
  `/stream?cursor=…` continues after a page of `/analytics/stats`. It accepts no messages.
"""
_SWAGGER_FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'"
}


def describe_stream(app: FastAPI) -> None:
    """Add to the schema what FastAPI does not generate: the WebSocket and the token."""

    def stream(message: models.StreamMessage) -> None:
        """Send over the WebSocket `/stream`, to every reader."""

    app.webhooks.add_api_route("stream", stream, methods=["POST"], summary="WebSocket /stream")
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        token = {"type": "http", "scheme": "bearer", "description": "Shown when the server starts."}
        schema.setdefault("components", {})["securitySchemes"] = {"token": token}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def serve_docs(app: FastAPI) -> None:
    """Serve Swagger from installed files: FastAPI's own page loads it from a CDN."""
    # Read once, here, so that no request reads from disk.
    files = {
        name: Response(
            (resources.files("fastapi_offline") / "static" / name).read_bytes(), media_type=kind
        )
        for name, kind in _SWAGGER_FILES.items()
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
        app.add_route(f"/docs/files/{name}", _constant(file), methods=["GET"])
    page.headers.update(_PAGE_HEADERS)
    app.add_route("/docs", _constant(page), methods=["GET"])


def _constant(page: Response) -> Callable[[Request], Response]:
    return lambda request: page
