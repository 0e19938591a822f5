"""Whether an address to listen on is reached from this machine only."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Raises ``OSError`` or ``ValueError`` where ``host`` is no address."""
    addresses = {ipaddress.ip_address(found[4][0]) for found in socket.getaddrinfo(host, None)}
    return all(address.is_loopback for address in addresses)
