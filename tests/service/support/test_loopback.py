"""Which addresses only this machine reaches."""

from __future__ import annotations

import pytest

from service.support.loopback import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_only_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
def test_other_machines_too(host: str) -> None:
    assert not is_loopback(host)


def test_no_address() -> None:
    with pytest.raises((OSError, ValueError)):
        is_loopback("no.such.host.invalid")
