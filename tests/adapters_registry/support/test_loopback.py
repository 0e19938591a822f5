"""Which addresses only this machine reaches."""

from __future__ import annotations

import pytest

from adapters_registry.support.loopback import is_loopback, listens_on_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_only_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert listens_on_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1"])
def test_other_machines_too(host: str) -> None:
    assert not is_loopback(host)
    assert not listens_on_loopback(host)


def test_no_address() -> None:
    with pytest.raises((OSError, ValueError)):
        listens_on_loopback("no.such.host.invalid")
    assert not is_loopback("no.such.host.invalid")


def test_a_name_that_only_resolves_to_this_machine_is_not_trusted_unresolved() -> None:
    assert not is_loopback("localhost.example")
    assert is_loopback("::ffff:127.0.0.1")
