"""The proxy between a server and whoever asks it, as the environment or the system has it."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether the address is of this machine: a proxy, which may be another, would look for the server at itself."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str) -> str | None:
    """The proxy that requests to this address go through, without its password, and what sets it; None without one."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    if is_loopback(url) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    name = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    return None if name is None else f"{without_password(proxies[name])} ({name}_proxy)"


def set_proxies() -> str:
    """All proxies that are set, each with its variable, without passwords."""
    found = urllib.request.getproxies()
    return ", ".join(f"{name}_proxy={without_password(url)}" for name, url in found.items() if url)


def without_password(url: str) -> str:
    """The address of a proxy without who uses it."""
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]
