"""The published table of what an upload may be is the one that the tests walk."""

from __future__ import annotations

from pathlib import Path

from tests.adapters_registry.conformance import page

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python -m tests.adapters_registry.conformance > docs/conformance.md"
