"""The OpenAPI description, and what schemathesis finds by it."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import schemathesis.openapi
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode as Mode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapters_registry.access import Scope
from adapters_registry.api.describe import describe
from adapters_registry.api.parts import PARTIAL_TYPE
from adapters_registry.api.status import STATUS
from adapters_registry.feed import Feed
from tests.adapters_registry.api.world import World, every

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def test_it_tells_of_every_route(app: FastAPI):
    told = describe(app)["paths"]
    for method, route in every(app):
        if not route.include_in_schema:
            continue
        operation = told[route.path][method.lower()]
        assert operation["summary"], route.path
        assert {"400", "500", "503", "507"} <= set(operation["responses"]), route.path
        assert ("401" in operation["responses"]) >= ("security" in operation), route.path
        assert "422" not in operation["responses"] or "HTTPValidationError" not in str(operation), route.path
        bodied = method in ("PUT", "POST", "PATCH") and not route.path.endswith(("/shares/{grantee}", "/rollback"))
        assert ("requestBody" in operation) or not bodied or "{id}" in route.path, route.path


def test_every_status_it_tells_of_is_one_of_the_tables(app: FastAPI):
    known = set(map(str, STATUS.values())) | {"200", "201", "202", "204"}
    for operations in describe(app)["paths"].values():
        for operation in operations.values():
            assert set(operation["responses"]) <= known


schemathesis.openapi.media_type(PARTIAL_TYPE, st.binary(max_size=100))


@schemathesis.serializer(PARTIAL_TYPE)
def _as_it_is(_ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def ours(url: str, feed: Feed, world: World) -> Iterator[requests.Session]:
    """With a key that may do everything; long-polls answer at once."""
    feed.close()
    key = world.keys.create(None, "all", [*Scope]).key
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {key}"
        yield session


def fuzz(url: str, session: requests.Session, count: int, modes: Iterator[tuple[Mode, ...]]) -> Counter[int]:
    """So many requests of each operation and mode; their statuses. A check that fails raises."""
    statuses: Counter[int] = Counter()
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        for mode in next(modes):
            with contextlib.suppress(Unsatisfiable):  # what takes nothing can be given nothing bad
                _fuzz(found.ok().as_strategy(generation_mode=mode), session, count, statuses)
    return statuses


def _fuzz(cases: st.SearchStrategy[Any], session: requests.Session, count: int, statuses: Counter[int]) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Any) -> None:
        answer = case.call_and_validate(session=session, checks=CHECKS)
        statuses[answer.status_code] += 1

    ask()


def test_nothing_that_is_asked_breaks_it(url, ours):
    statuses = fuzz(url, ours, 4, itertools.cycle([(Mode.POSITIVE,), (Mode.NEGATIVE,)]))
    assert statuses.total() >= 100
    assert not [status for status in statuses if status >= 500]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_that_is_asked_at_length_breaks_it(url, ours, capsys):
    statuses = fuzz(url, ours, 150, itertools.repeat((Mode.POSITIVE, Mode.NEGATIVE)))
    with capsys.disabled():
        print(f"\n{statuses.total()} requests: {dict(sorted(statuses.items()))}", end="")
    assert statuses.total() >= 10_000
    assert not [status for status in statuses if status >= 500]
