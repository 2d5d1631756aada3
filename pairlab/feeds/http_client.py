"""HTTP clients that take proxies and certificates from `environment`, as the stream does."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from pairlab.feeds.environment import find_proxy, tls_context

__all__ = ["http_client"]


def http_client(base_url: str, **options: Any) -> httpx.AsyncClient:
    """Return a client for one host.

    Reads files: not for the event loop.

    Parameters
    ----------
    base_url : str
        ``http`` or ``https``.
    **options
        Any other argument of `httpx.AsyncClient`.

    Raises
    ------
    NetworkSetupError
        If a proxy or certificate of the environment cannot be used.
    """
    proxy = find_proxy(base_url)
    # Files of certificates are read only where they are needed.
    to_proxy = tls_context() if proxy is not None and proxy.url.startswith("https:") else None
    to_host = tls_context() if base_url.startswith("https:") else None
    return httpx.AsyncClient(
        base_url=base_url,
        trust_env=False,
        proxy=None if proxy is None else httpx.Proxy(proxy.url, ssl_context=to_proxy),
        verify=to_host or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        **options,
    )
