from __future__ import annotations

import pytest

from adapters_registry.api.status import STATUS, render
from adapters_registry.errors import RegistryError, all_errors, from_code


def test_every_error_has_a_status():
    assert set(STATUS) == set(all_errors())


def test_codes_are_unique_and_come_back_as_the_same_class():
    codes = [cls.code for cls in all_errors()]
    assert len(set(codes)) == len(codes)
    for cls in all_errors():
        found = from_code(cls.code, "m", param="p", retry_after_s=3)
        assert (type(found), found.message, found.param, found.retry_after_s) == (cls, "m", "p", 3)
    assert type(from_code("of_tomorrow", "m")) is RegistryError


@pytest.mark.parametrize("cls", all_errors())
def test_an_answer_says_whether_to_try_again(cls):
    answer = render(cls("m", retry_after_s=1.5))
    assert ("x-should-retry" in answer.headers) != ("retry-after" in answer.headers)
    assert answer.headers.get("retry-after", "2") == "2"
