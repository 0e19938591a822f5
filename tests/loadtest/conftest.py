"""A server for each test, so that what it saw is the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loadtest.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
