"""The directory: whatever was put and dropped, a page is what a plain search of everything would give."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.access import ANONYMOUS, Principal
from service.access.directory import Directory
from tests.service.api.world import adapter

names = st.tuples(st.sampled_from(["a", "a-b", "b", "c"]), st.sampled_from(["x", "y", "z"]))
shared = st.sampled_from([(), ("a",), ("b", "c"), ("*",)])
changes = st.lists(st.tuples(names, shared, st.booleans()), max_size=30)
principals = st.sampled_from([ANONYMOUS, *(Principal(f"key-{name}", name, frozenset()) for name in ("a", "b", "d"))])


@given(changes, changes, principals, st.none() | names)
def test_pages(before: list, later: list, principal: Principal, after: tuple[str, str] | None) -> None:
    known = {name: adapter(*name, shared_with=grantees) for name, grantees, _ in before}
    directory = Directory(known.values())
    for name, grantees, put in later:
        if put:
            known[name] = adapter(*name, shared_with=grantees)
            directory.put(known[name])
        else:
            known.pop(name, None)
            directory.drop(name)
    assert {entry.name: entry.record for entry in directory.values()} == known
    found = [entry.name for entry in directory.open_to(principal, after)]
    assert found == [
        name for name in sorted(known) if (after is None or name > after) and directory.find(name).open_to(principal)
    ]
