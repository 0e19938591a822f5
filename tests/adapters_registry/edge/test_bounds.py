"""Bounds from the settings and from what the process may open."""

from __future__ import annotations

import pytest

from adapters_registry.edge.bounds import ConnectionLimits, bounds


@pytest.mark.parametrize(
    ("limits", "descriptors", "found"),
    [
        (ConnectionLimits(), 1024, (768, 384, 768)),
        (ConnectionLimits(), 1 << 20, (4096, 2048, 4096)),
        (ConnectionLimits(total=100, per_address=20), 1024, (100, 20, 20)),
    ],
)
def test_what_is_not_said_follows_from_the_descriptors(
    limits: ConnectionLimits, descriptors: int, found: tuple[int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    made = bounds(limits, 16384, descriptors)
    assert (made.total, made.per_address, made.per_loopback) == found
    assert not caplog.records


def test_a_number_that_the_descriptors_do_not_allow_is_cut_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert bounds(ConnectionLimits(total=5000), 16384, 1024).total == 768
    [record] = caplog.records
    assert (record.__dict__["wanted"], record.__dict__["total"]) == (5000, 768)
