"""The error tree: stable codes that survive a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from service.api.status import STATUS
from service.errors import InternalError, QuickchangeError, all_errors, from_failure
from service.values import Failure

LEAVES = [cls for cls in all_errors() if cls is not QuickchangeError]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in LEAVES]
    assert len(set(codes)) == len(codes)


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    assert set(STATUS) == set(all_errors())


@pytest.mark.parametrize("cls", LEAVES)
def test_an_error_crosses_processes_whole(cls: type[QuickchangeError]) -> None:
    error = cls("told", param="field", retry_after_s=2.5)
    for back in (from_failure(error.failure()), pickle.loads(pickle.dumps(error))):
        assert type(back) is cls
        assert (str(back), back.param, back.retry_after_s) == ("told", "field", 2.5)


def test_an_unknown_code_is_an_internal_error() -> None:
    assert type(from_failure(Failure("from_the_future", "x"))) is InternalError
