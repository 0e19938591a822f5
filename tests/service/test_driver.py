"""What the driver makes of Serve's account."""

from __future__ import annotations

from service import driver


def test_serves_account_is_cut_to_our_reason() -> None:
    account = "Failed:\n  Traceback ...\n  service.errors.BaseUnavailable: x cannot be served: no.\nThe end\n"
    assert driver._reason(account) == "x cannot be served: no."
    assert driver._reason("one\ntwo\n") == "two"
