"""Whether an address is reachable from this machine only."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether ``host`` is ``localhost`` or a loopback address; names are not resolved."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def listens_on_loopback(host: str) -> bool:
    """Whether a listener on ``host`` can be reached from this machine only.

    Raises ``OSError`` or ``ValueError`` if ``host`` is not an address.
    """
    found = {ipaddress.ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    return all(address.is_loopback for address in found)
