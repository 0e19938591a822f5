"""Keys: made, recognised, rotated with an overlap, revoked; on each database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

import pytest

from adapters_registry.access import ANONYMOUS, Principal, Scope, new_key, parse_key
from adapters_registry.errors import InvalidKey, InvalidValue, KeyNotFound, LastAdminKey, RegistryError
from adapters_registry.keys import MOST_OVERLAP_S, Keys
from adapters_registry.records import NewKey, Quotas
from adapters_registry.registry import Registry

BY = Principal("somebody", None, frozenset(Scope))
START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Hands:
    """A clock that goes when it is told to."""

    at: datetime = START
    commits: list[int] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def committed(self) -> None:
        self.commits.append(1)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def keys(registry: Registry, hands: Hands) -> Keys:
    return Keys(registry.metadata, hands.committed, clock=hands)


def bearer(key: str) -> str:
    return f"Bearer {key}"


def test_everybody_comes_in_until_there_is_a_key(registry, keys):
    assert keys.authenticate(None) is keys.authenticate("Bearer nonsense") is ANONYMOUS
    key = keys.create(None, "operator", [Scope.ADMIN]).key
    found = keys.authenticate(bearer(key))
    assert (found.id, found.tenant, found.scopes) == (parse_key(key).id, None, {Scope.ADMIN})
    for header in (None, "", key, f"Basic {key}", bearer(str(new_key()))):
        with pytest.raises(InvalidKey):
            keys.authenticate(header)


def test_nobody_comes_in_where_others_listen(registry):
    with pytest.raises(InvalidKey):
        Keys(registry.metadata, anonymous=False).authenticate(None)


def test_a_process_learns_of_the_first_key_that_another_made(registry, keys):
    other = Keys(registry.metadata)
    assert other.authenticate(None) is ANONYMOUS
    keys.create(None, "operator", [Scope.ADMIN])
    with pytest.raises(InvalidKey):
        other.authenticate(None)


def test_the_first_key_is_an_operators(keys):
    for tenant, scopes in ((None, [Scope.INFER]), ("acme", [Scope.ADMIN])):
        with pytest.raises(InvalidValue, match="first key") as caught:
            keys.create(tenant, "a", scopes)
        assert caught.value.param == "scopes"
    assert not keys.exist()


def test_what_no_key_can_be(keys, hands):
    keys.create(None, "operator", [Scope.ADMIN])
    for tenant, scopes, expires_at in (
        ("acme", [], None),
        ("acme", [Scope.SERVE], None),
        ("acme", [Scope.INFER], hands.at),
    ):
        with pytest.raises(InvalidValue):
            keys.create(tenant, "a", scopes, expires_at=expires_at)


def test_only_a_hash_is_kept(registry, keys):
    new = keys.create(None, "operator", [Scope.ADMIN, Scope.ADMIN], Quotas(concurrent=2), by=BY)
    assert new.record.scopes == (Scope.ADMIN,)
    assert (keys.get(new.record.id), keys.list()) == (new.record, (new.record,))
    secret = parse_key(new.key).secret
    with registry.metadata.reading() as rows:
        assert secret not in str(rows.keys.get(new.record.id))
    (entry,) = [entry for entry in registry.audit().entries if entry.action == "key.create"]
    assert (entry.actor, entry.subject) == ("somebody", new.record.id)
    assert secret not in str(entry)


def test_a_key_expires(keys, hands):
    operator = keys.create(None, "operator", [Scope.ADMIN])
    key = keys.create("acme", "a", [Scope.INFER], expires_at=hands.at + timedelta(seconds=10)).key
    hands.pass_s(9.9)
    assert keys.authenticate(bearer(key)).tenant == "acme"
    hands.pass_s(0.1)
    with pytest.raises(InvalidKey):
        keys.authenticate(bearer(key))
    assert keys.authenticate(bearer(operator.key)).id == operator.record.id


def test_a_rotation_overlaps(keys, hands):
    keys.create(None, "operator", [Scope.ADMIN])
    old = keys.create("acme", "a", [Scope.INFER], Quotas(requests_per_min=3))
    new = keys.rotate(old.record.id, 60, by=BY)
    for key in (old, new):
        assert keys.authenticate(bearer(key.key)).id == key.record.id
    same = "tenant", "name", "scopes", "quotas", "expires_at"
    assert [getattr(new.record, name) for name in same] == [getattr(old.record, name) for name in same]
    hands.pass_s(60)
    with pytest.raises(InvalidKey):
        keys.authenticate(bearer(old.key))
    assert keys.authenticate(bearer(new.key)).id == new.record.id


def test_a_key_is_rotated_once_and_lives_as_long_as_it_might_have(keys, hands):
    keys.create(None, "operator", [Scope.ADMIN])
    old = keys.create("acme", "a", [Scope.INFER], expires_at=hands.at + timedelta(days=10))
    hands.pass_s(86_400)
    new = keys.rotate(old.record.id, 3600)
    assert new.record.expires_at == hands.at + timedelta(days=10)
    assert keys.get(old.record.id).expires_at == hands.at + timedelta(hours=1)
    with pytest.raises(InvalidValue, match="rotated already"):
        keys.rotate(old.record.id, 3600)
    assert keys.rotate(new.record.id, 0).record.expires_at == hands.at + timedelta(days=10)
    with pytest.raises(InvalidValue, match="has ended"):
        keys.rotate(new.record.id, 0)
    for overlap_s in (-1, MOST_OVERLAP_S + 1):
        with pytest.raises(InvalidValue):
            keys.rotate(old.record.id, overlap_s)


def test_an_overlap_does_not_prolong(keys, hands):
    keys.create(None, "operator", [Scope.ADMIN])
    old = keys.create("acme", "a", [Scope.INFER], expires_at=hands.at + timedelta(seconds=10))
    keys.rotate(old.record.id, 60)
    assert keys.get(old.record.id).expires_at == hands.at + timedelta(seconds=10)


def test_a_revocation_holds_at_once_and_everywhere(registry, keys, hands):
    keys.create(None, "operator", [Scope.ADMIN])
    key = keys.create("acme", "a", [Scope.INFER])
    other = Keys(registry.metadata)
    assert other.authenticate(bearer(key.key)).tenant == "acme"
    seq, commits = registry.snapshot().seq, len(hands.commits)
    keys.revoke(key.record.id, by=BY)
    with pytest.raises(InvalidKey):
        other.authenticate(bearer(key.key))
    assert len(hands.commits) == commits + 1
    told = registry.changes(seq).keys
    assert told is not None
    assert [grant.name for grant in told] == ["operator"]
    keys.revoke(key.record.id)
    assert registry.changes(seq).seq == seq + 1


def principal(keys: Keys, new: NewKey) -> Principal:
    """Who shows the key."""
    return keys.authenticate(bearer(new.key))


def test_the_last_operator_stays(keys, hands):
    """Else nobody could make a key. None that will expire counts, and who asks must hold one that stays."""
    first = keys.create(None, "first", [Scope.ADMIN])
    keys.create("acme", "tenant's", [Scope.ADMIN])
    short = keys.create(None, "short", [Scope.ADMIN], expires_at=hands.at + timedelta(seconds=14))
    for asker in (first, short):
        with pytest.raises(LastAdminKey):
            keys.revoke(first.record.id, by=principal(keys, asker))
    second = keys.create(None, "second", [Scope.ADMIN])
    for asker in (first, short):
        with pytest.raises(LastAdminKey):
            keys.revoke(first.record.id, by=principal(keys, asker))
    keys.revoke(first.record.id, by=principal(keys, second))
    keys.revoke(short.record.id, by=principal(keys, short))
    hands.pass_s(14)
    with pytest.raises(LastAdminKey):
        keys.revoke(second.record.id, by=principal(keys, second))
    assert keys.create(None, "third", [Scope.ADMIN], by=principal(keys, second))


def test_the_first_key_does_not_expire(keys, hands):
    with pytest.raises(InvalidValue, match="must not expire") as caught:
        keys.create(None, "first", [Scope.ADMIN], expires_at=hands.at + timedelta(days=1))
    assert caught.value.param == "expires_at"
    assert keys.authenticate(None) is ANONYMOUS


def test_a_rotation_whose_answer_is_lost_locks_nobody_out(keys, hands):
    """The old key of an operator goes on until it is revoked with another, which somebody then holds."""
    old = keys.create(None, "operator", [Scope.ADMIN])
    new = keys.rotate(old.record.id, 0, by=principal(keys, old))
    hands.pass_s(86_400)
    with pytest.raises(LastAdminKey):
        keys.revoke(old.record.id, by=principal(keys, old))
    assert keys.get(old.record.id).expires_at is None
    keys.revoke(old.record.id, by=principal(keys, new))
    with pytest.raises(InvalidKey):
        keys.authenticate(bearer(old.key))


def test_two_operators_rotated_one_after_the_other_lock_nobody_out(keys, hands):
    one, other = (keys.create(None, name, [Scope.ADMIN]) for name in ("one", "other"))
    keys.rotate(one.record.id, 60, by=principal(keys, other))  # the answers of both are lost
    keys.rotate(other.record.id, 60, by=principal(keys, other))
    hands.pass_s(60)
    with pytest.raises(InvalidKey):
        keys.authenticate(bearer(one.key))
    assert keys.create(None, "another", [Scope.ADMIN], by=principal(keys, other))


def test_operators_that_all_expire_are_kept_to_their_ends(registry, keys, hands):
    """As earlier releases allowed it."""
    first = keys.create(None, "first", [Scope.ADMIN])
    end = hands.at + timedelta(days=1)
    with registry.metadata.writing() as rows:
        rows.keys.expire(first.record.id, end)
    second = keys.create(None, "second", [Scope.ADMIN], expires_at=end)
    for asker in (first, second):
        with pytest.raises(LastAdminKey):
            keys.revoke(first.record.id, by=principal(keys, asker))
    keys.rotate(first.record.id, 0, by=principal(keys, second))
    assert keys.get(first.record.id).expires_at == end


def test_how_many_there_may_be(keys, monkeypatch):
    keys.create(None, "operator", [Scope.ADMIN])
    monkeypatch.setattr("adapters_registry.keys.MOST_OF_TENANT", 2)
    first, _ = (keys.create("acme", "a", [Scope.INFER]) for _ in range(2))
    with pytest.raises(InvalidValue, match="as many keys"):
        keys.create("acme", "a", [Scope.INFER])
    keys.create("globex", "a", [Scope.INFER])
    keys.revoke(first.record.id)
    keys.create("acme", "a", [Scope.INFER])
    monkeypatch.setattr("adapters_registry.keys.MOST_KEYS", 4)
    with pytest.raises(InvalidValue, match="as many keys"):
        keys.create("initech", "a", [Scope.INFER])
    keys.create(None, "an operator's, whatever tenants hold", [Scope.ADMIN])
    monkeypatch.setattr("adapters_registry.keys.ROOM_FOR_OPERATORS", 1)
    with pytest.raises(InvalidValue, match="as many keys"):
        keys.create(None, "one more", [Scope.ADMIN])


def test_unknown_ids(keys):
    for verb in (keys.get, keys.revoke, lambda id: keys.rotate(id, 0)):
        with pytest.raises(KeyNotFound):
            verb("a" * 12)


def test_the_key_of_the_settings(registry):
    text = new_key()
    keys = Keys(registry.metadata, service_key=text)
    found = keys.authenticate(bearer(str(text)))
    assert (found.id, found.tenant, found.scopes) == ("service", None, {Scope.SERVE})
    keys.create(None, "operator", [Scope.ADMIN])
    assert keys.authenticate(bearer(str(text))) == found
    with pytest.raises(InvalidKey):
        keys.authenticate(bearer(f"qc_{text.id}_{new_key().secret}"))
    assert [grant.name for grant in registry.snapshot().keys] == ["operator"]


def test_refusals_tell_nothing(keys, hands):
    """The same message, whatever is wrong."""
    keys.create(None, "operator", [Scope.ADMIN])
    key = keys.create("acme", "a", [Scope.INFER], expires_at=hands.at + timedelta(seconds=1)).key
    revoked = keys.create("acme", "a", [Scope.INFER])
    keys.revoke(revoked.record.id)
    hands.pass_s(2)
    said: set[str] = set()
    for header in (
        None,
        "Bearer x",
        bearer(key),
        bearer(revoked.key),
        bearer(str(new_key())),
        bearer(key[:-1] + "A"),
    ):
        with pytest.raises(RegistryError) as caught:
            keys.authenticate(header)
        said.add(f"{type(caught.value)} {caught.value.message} {caught.value.param}")
    assert len(said) == 1


@pytest.mark.slow
def test_how_long_a_refusal_takes(registry, capsys):
    """A report, no limit: the medians of unknown ids, wrong secrets and good keys."""
    keys = Keys(registry.metadata)
    good = keys.create(None, "operator", [Scope.ADMIN]).key
    asked = {"good": good, "unknown": str(new_key()), "wrong": good[:-43] + new_key().secret, "malformed": "x"}
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(1000):
        for name, text in asked.items():
            began = perf_counter()
            try:
                keys.authenticate(bearer(text))
            except InvalidKey:
                assert name != "good"
            took[name].append(1e6 * (perf_counter() - began))
    with capsys.disabled():
        for name, times in took.items():
            p90 = sorted(times)[900]
            print(f"\n{name:10} median {median(times):6.0f} us, p90 {p90:6.0f} us", end="")
    assert len(took["good"]) == 1000
