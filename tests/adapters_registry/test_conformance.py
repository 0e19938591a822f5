"""The published tables of uploads are those that the tests use."""

from __future__ import annotations

from pathlib import Path

from tests.adapters_registry.conformance import page

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python -m tests.adapters_registry.conformance > docs/conformance.md"
