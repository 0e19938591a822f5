"""What an error's status, body and headers are."""

from __future__ import annotations

import json

import pytest

from service.api.status import STATUS, error_response
from service.errors import Overloaded, QuickchangeError, all_errors


@pytest.mark.parametrize("cls", all_errors())
def test_every_error_is_a_response(cls: type[QuickchangeError]) -> None:
    response = error_response(cls("told", param="field"))
    assert response.status_code == STATUS[cls].status
    told = {"message": "told", "type": STATUS[cls].type, "param": "field", "code": cls.code}
    assert json.loads(bytes(response.body)) == {"error": told}
    retry_told = "retry-after" in response.headers
    permanent = response.headers.get("x-should-retry") == "false"
    assert retry_told == (response.status_code in (429, 503))
    passing = response.status_code in (408, 429) or (response.status_code >= 500 and response.status_code != 504)
    assert permanent == (not passing)


@pytest.mark.parametrize(("wait_s", "told"), [(None, "1"), (0.0, "1"), (0.2, "1"), (2.0, "2"), (2.1, "3")])
def test_retry_after_is_whole_seconds_upwards(wait_s: float | None, told: str) -> None:
    assert error_response(Overloaded("full", retry_after_s=wait_s)).headers["retry-after"] == told
