"""What the environment says about the network: proxies and certificates, for stream and REST alike.

The libraries below read the same variables, each in its own way: one leaves ``ALL_PROXY`` out,
the other cannot read ``NO_PROXY=[::1]``. Here they are read once, in one way, and a variable that
cannot be used is named.
"""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

from pairlab.errors import NetworkSetupError
from pairlab.net import is_loopback_url

__all__ = ["Proxy", "find_proxy", "proxy_hint", "tls_context", "tls_hint", "unreachable"]

_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_HTTP_SCHEMES: Final = ("http", "https")
_SOCKS_SCHEMES: Final = ("socks", "socks5", "socks5h")
_SOCKS_PORT: Final = 1080
_SOCKS_PACKAGES: Final = {"python_socks": "python-socks[asyncio]", "socksio": "socksio"}
_PLAIN_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and where it was found.

    Attributes
    ----------
    url : str
        Its scheme is ``http``, ``https`` or ``socks5h``; a user has a password, which may be empty.
    variable : str
        The environment variable, or ``the system's settings``.
    shown : str
        The URL without a password, for messages.
    """

    url: str
    variable: str
    shown: str


def find_proxy(url: str) -> Proxy | None:
    """Return the proxy for a URL; None for none, and for this machine.

    Parameters
    ----------
    url : str
        ``http``, ``https``, ``ws`` or ``wss``. The proxies of HTTP hold for the stream, too:
        both go to the same exchange.

    Raises
    ------
    NetworkSetupError
        If the proxy cannot be used; it names the variable and says what to do.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback_url(url):
        return None
    proxies = {name: value.strip() for name, value in urllib.request.getproxies().items()}
    secure = parts.scheme in ("https", "wss")
    names = ("https", "socks", "all") if secure else ("http", "socks", "all", "https")
    if parts.scheme in ("ws", "wss"):
        names = (parts.scheme, "https", "socks", "all", *(() if secure else ("http",)))
    name = next((name for name in names if proxies.get(name)), None)
    if name is None:
        return None
    port = parts.port or _PLAIN_PORTS.get(parts.scheme, 0)
    variable = _variable(f"{name}_proxy")
    if _is_excepted(host, port, proxies.get("no", "")):
        return None
    if not variable and urllib.request.proxy_bypass(host):
        return None  # an exception in the system's settings
    value = proxies[name]
    if "://" not in value:
        value = f"{'socks5' if name == 'socks' else 'http'}://{value}"
    if name == "socks" and value.startswith("http://"):
        value = "socks5h://" + value.removeprefix("http://")
    return _checked(value, variable or "the system's settings", host)


def _variable(name: str) -> str:
    """Return the variable's name as it is written in the environment; empty if it is not there."""
    # Of two that differ in case only, urllib takes the one in small letters.
    spelt = [name, *(key for key in os.environ if key.lower() == name)]
    return next((key for key in spelt if os.environ.get(key)), "")


def _checked(value: str, variable: str, host: str) -> Proxy:
    problem = ""
    try:
        parts = urlsplit(value)
        port, name = parts.port, parts.hostname
        (name or "").encode("idna")  # as the look-up of its address does
        login = unquote(f"{parts.username or ''}{parts.password or ''}", errors="strict")
        whole = parts.path in ("", "/") and not parts.query and not parts.fragment
    except ValueError:  # UnicodeError is one
        whole = False
    if not whole:
        # What stands behind a "/", "?" or "#" may belong to a password: nothing of it is shown.
        raise NetworkSetupError(
            f"{variable} is invalid: expected a proxy as http://host:port or socks5://host:port, "
            "or with user:password@ before the host, where special characters are percent-encoded "
            "(%23 for #, %2F for /); correct or unset it, then restart Python"
        )
    user, at, address = parts.netloc.rpartition("@")
    shown = f"{parts.scheme}://{address}"
    scheme = parts.scheme
    if scheme not in _HTTP_SCHEMES + _SOCKS_SCHEMES or not name:
        problem = "expected a proxy as http://host:port or socks5://host:port; correct or unset it"
    elif scheme in _SOCKS_SCHEMES:
        missing = [
            package
            for module, package in _SOCKS_PACKAGES.items()
            if importlib.util.find_spec(module) is None
        ]
        if missing:
            quoted = " ".join(f'"{package}"' for package in missing)
            problem = (
                f"a SOCKS proxy needs more packages: pip install {quoted}; or unset {variable}, "
                f"or except {host} by NO_PROXY"
            )
        elif not login.isascii():
            problem = "user and password of a SOCKS proxy must be ASCII; correct or unset it"
        # "socks" is what GNOME writes. Names are left to the proxy: this machine may know none.
        scheme = "socks5h"
        address = address if port else f"{address.rstrip(':')}:{_SOCKS_PORT}"
    if problem:
        raise NetworkSetupError(
            f"{variable} = {shown!r} cannot be used: {problem}, then restart Python"
        )
    if at and ":" not in user:
        user += ":"  # the stream's library refuses a user without a password
    return Proxy(f"{scheme}://{user}{at}{address}", variable, shown)


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Return whether ``NO_PROXY`` excepts a host: names, suffixes, addresses, networks, ports."""
    entries = exceptions.replace(",", " ").split()
    return any(_matches(host.rstrip("."), port, entry) for entry in entries)


def _matches(host: str, port: int, entry: str) -> bool:
    entry = entry.lower()
    if entry == "*":
        return True
    entry = entry.rpartition("://")[2]
    bracketed, colon, digits = entry.rpartition("]:")
    if colon and digits.isdecimal():
        return int(digits) == port and _matches(host, port, f"{bracketed}]")
    address = _network(host)
    network = _network(entry)
    if network is not None:
        return (
            address is not None
            and address.version == network.version
            and address.network_address in network
        )
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdecimal():
        if int(digits) != port:
            return False
        entry = name
        if address is not None:
            return _matches(host, port, entry)
    name = entry.strip("[]").removeprefix("*").strip(".")
    host = host.lower()
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network, or the address as a network of one, that a text names."""
    try:
        return ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def proxy_hint(url: str) -> str:
    """Return the words that name the proxy a URL goes through; empty without one."""
    try:
        proxy = find_proxy(url)
    except NetworkSetupError:
        return ""
    if proxy is None:
        return ""
    return f" through the proxy of {proxy.variable} ({proxy.shown}): is it right, and does it run?"


def unreachable(error: BaseException) -> str:
    """Return in words why a host cannot be reached, and what to do."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return (
                "its name cannot be resolved, so this machine has no network, or its DNS does not "
                "answer: check network, VPN and DNS"
            )
        if isinstance(seen, ConnectionRefusedError):
            return "nothing answers at this address: check firewall and VPN"
        if isinstance(seen, ConnectionResetError):
            return "the connection was cut off while it was opened: check firewall, proxy and VPN"
        if isinstance(seen, OSError) and seen.errno in _NO_ROUTE:
            return "this machine has no network: check cable, Wi-Fi and VPN"
        seen = seen.__cause__ or seen.__context__
    return str(error).rstrip(".") or type(error).__name__


# -- certificates --------------------------------------------------------------------------------


def tls_context() -> ssl.SSLContext:
    """Return the certificates to trust: those that the environment names, else the usual ones.

    Reads files: not for the event loop.

    Raises
    ------
    NetworkSetupError
        If a variable names what is not there or cannot be read.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
    return _context(*(os.environ.get(name, "") for name in names))


@lru_cache(maxsize=4)
def _context(file: str, folder: str, key_log: str) -> ssl.SSLContext:
    if file and not os.path.isfile(file):
        raise _bad_variable("SSL_CERT_FILE", file, "there is no such file")
    if folder and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise _bad_variable("SSL_CERT_DIR", folder, "there is no such folder")
    if key_log:
        try:
            with open(key_log, "a", encoding="utf-8"):
                pass
        except OSError as error:
            raise _bad_variable("SSLKEYLOGFILE", key_log, error.strerror or str(error)) from error
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        import certifi

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context
    except (OSError, ValueError) as error:  # SSLError is an OSError
        name, value = ("SSL_CERT_FILE", file) if file else ("SSL_CERT_DIR", folder)
        if not value:
            raise NetworkSetupError(
                f"the certificates of this machine cannot be read: {error}; reinstall the package "
                "certifi, or name a file of certificates by SSL_CERT_FILE"
            ) from error
        raise _bad_variable(name, value, f"it has no certificates: {error}") from error


def _bad_variable(name: str, value: str, why: str) -> NetworkSetupError:
    return NetworkSetupError(
        f"{name} = {value!r} cannot be used: {why}; correct or unset it, then restart Python"
    )


def tls_hint(error: BaseException) -> str:
    """Return what to do about a certificate that was not accepted; empty for any other error."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ssl.SSLCertVerificationError):
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return ""
    ways = {"SSL_CERT_FILE": "", "SSL_CERT_DIR": " (then run 'openssl rehash' on it)"}
    for name, way in ways.items():
        if value := os.environ.get(name):
            return (
                f" {name} = {value!r} is set, and it alone says whom to trust: add the missing "
                f"certificate to it{way}, or unset it and restart Python."
            )
    return (
        " Where a company's proxy inspects TLS, set SSL_CERT_FILE to a file that has its "
        "certificate, and restart Python; else check this machine's date."
    )
