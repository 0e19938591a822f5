"""Who a key stands for, and that every way of not being good looks the same."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters_registry.access import Scope, new_key
from adapters_registry.mark import KeyMark
from adapters_registry.recognition import REFUSED
from adapters_registry.records import KeyGrant
from service.access.keyring import KEYLESS, Caller, Keyring
from service.errors import InvalidKey, KeysLost, KeysStale, NotReady, QuickchangeError
from tests.service.api.world import CREATED, Key, key

NOW = CREATED + timedelta(days=1)
GOOD = key("acme", Scope.INFER)
ENDED = key("acme", Scope.INFER, expires_at=NOW)
REVOKED = key("acme", Scope.INFER, revoked_at=CREATED)


def ring(*keys: Key) -> Keyring:
    known = Keyring()
    known.replace((one.grant for one in keys), NOW)
    return known


def admit(
    keyring: Keyring, authorization: str | None, *, at: datetime = NOW, stale: bool = False, anonymous: bool = True
) -> Caller:
    return keyring.admit(authorization, at, stale=stale, anonymous=anonymous)


def test_a_good_key_is_its_principal() -> None:
    caller = admit(ring(GOOD, ENDED), f"Bearer {GOOD.text}")
    assert (caller.id, caller.tenant, caller.quotas) == (GOOD.grant.id, "acme", GOOD.grant.quotas)
    assert caller.principal.may(Scope.INFER)
    assert not caller.principal.may(Scope.SCRAPE)
    assert admit(ring(GOOD), f"bearer   {GOOD.text} ").id == GOOD.grant.id


def test_a_key_for_all_tenants_means_the_default_one_where_none_is_named() -> None:
    everywhere = key(None, Scope.ADMIN)
    caller = admit(ring(everywhere), f"Bearer {everywhere.text}")
    assert (caller.principal.tenant, caller.tenant) == (None, "default")


FORGED = str(GOOD.text)[:-1] + ("A" if str(GOOD.text)[-1] != "A" else "B")
BAD = {
    "nothing": (None, "missing"),
    "another scheme": (f"Basic {GOOD.text}", "malformed"),
    "no scheme": (str(GOOD.text), "malformed"),
    "cut": (f"Bearer {str(GOOD.text)[:-1]}", "malformed"),
    "longer": (f"Bearer {GOOD.text}A", "malformed"),
    "not ASCII": (f"Bearer {str(GOOD.text)[:-1]}é", "malformed"),
    "two": (f"Bearer {GOOD.text},{GOOD.text}", "malformed"),
    "unknown": (f"Bearer {new_key()}", "unknown"),
    "another's secret": (f"Bearer qc_{GOOD.text.id}_{ENDED.text.secret}", "wrong"),
    "one character": (f"Bearer {FORGED}", "wrong"),
    "expired": (f"Bearer {ENDED.text}", "expired"),
}


@pytest.mark.parametrize(("authorization", "why"), BAD.values(), ids=BAD)
def test_all_that_is_not_good_is_refused_alike(authorization: str | None, why: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        admit(ring(GOOD, ENDED), authorization)
    assert (caught.value.message, caught.value.param, caught.value.retry_after_s) == (REFUSED, None, None)
    assert caught.value.reason == why


def test_a_revoked_key_that_is_still_listed_is_refused() -> None:
    with pytest.raises(InvalidKey):
        admit(ring(GOOD, REVOKED), f"Bearer {REVOKED.text}")


def test_a_key_ends_on_the_moment_that_was_said() -> None:
    just_before = NOW - timedelta(microseconds=1)
    assert admit(ring(ENDED), f"Bearer {ENDED.text}", at=just_before).id == ENDED.grant.id
    with pytest.raises(InvalidKey):
        admit(ring(ENDED), f"Bearer {ENDED.text}", at=NOW)


def test_new_keys_take_the_place_of_all_old_ones() -> None:
    keyring = ring(GOOD)
    keyring.replace([ENDED.grant], NOW)
    with pytest.raises(InvalidKey):
        admit(keyring, f"Bearer {GOOD.text}")
    assert keyring.grants == (ENDED.grant,)


def outcome(keyring: Keyring, authorization: str | None, *, stale: bool, anonymous: bool) -> str:
    try:
        return admit(keyring, authorization, stale=stale, anonymous=anonymous).id
    except QuickchangeError as error:
        return error.code


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("authorization", [None, f"Bearer {GOOD.text}", "Bearer none"], ids=["none", "good", "wrong"])
def test_nobody_is_let_in_before_the_registry_was_heard_of(authorization: str | None, stale: bool) -> None:
    keyring = Keyring()
    assert not keyring.known
    for anonymous in (False, True):
        assert outcome(keyring, authorization, stale=stale, anonymous=anonymous) == NotReady.code


@pytest.mark.parametrize("authorization", [None, f"Bearer {GOOD.text}", "Bearer none"], ids=["none", "good", "wrong"])
def test_without_keys_everybody_is_nobody_on_loopback_and_refused_elsewhere(authorization: str | None) -> None:
    keyring = ring()
    assert keyring.known
    assert outcome(keyring, authorization, stale=False, anonymous=True) == KEYLESS.id == "anonymous"
    assert outcome(keyring, authorization, stale=False, anonymous=False) == InvalidKey.code


def test_one_key_ends_the_anonymous_time_even_an_expired_one() -> None:
    assert outcome(ring(GOOD), None, stale=False, anonymous=True) == InvalidKey.code
    assert outcome(ring(ENDED), None, stale=False, anonymous=True) == InvalidKey.code


@pytest.mark.parametrize("anonymous", [False, True])
def test_stale_keys_let_nobody_in_and_tell_when_to_come_back(anonymous: bool) -> None:
    for authorization in (None, f"Bearer {GOOD.text}", "Bearer none"):
        with pytest.raises(KeysStale) as caught:
            admit(ring(GOOD), authorization, stale=True, anonymous=anonymous)
        assert caught.value.retry_after_s == 30.0


def test_secrets_are_in_no_text() -> None:
    keyring = ring(GOOD)
    caller = admit(keyring, f"Bearer {GOOD.text}")
    for thing in (keyring, caller, keyring.grants, GOOD.text):
        assert GOOD.text.secret not in repr(thing)
    assert repr(keyring) == "<Keyring 1>"
    assert repr(Keyring()) == "<Keyring not loaded>"


def test_a_hash_is_no_secret() -> None:
    """Who reads the snapshot on the disk cannot log in with what it says."""
    grant: KeyGrant = GOOD.grant
    assert outcome(ring(GOOD), f"Bearer qc_{grant.id}_{grant.secret_hash[:43]}", stale=False, anonymous=True) == (
        InvalidKey.code
    )
    assert datetime.now(UTC) > CREATED


def test_once_there_was_a_key_an_empty_list_lets_nobody_in(tmp_path: Path) -> None:
    """Also not in a later process, which knows of it by the mark alone."""
    mark = KeyMark(tmp_path)
    keyring = Keyring(mark)
    keyring.replace([], NOW)
    assert outcome(keyring, None, stale=False, anonymous=True) == KEYLESS.id
    keyring.replace([GOOD.grant], NOW)
    keyring.replace([], NOW)
    later = Keyring(KeyMark(tmp_path))
    assert outcome(later, None, stale=False, anonymous=True) == NotReady.code
    later.replace([], NOW)
    for one in (keyring, later):
        assert (one.lost, one.known) == (True, False)
        for header in (None, f"Bearer {GOOD.text}", "Bearer none"):
            assert outcome(one, header, stale=False, anonymous=True) == KeysLost.code


def test_a_mark_that_a_full_disk_refused_is_set_with_the_next_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keyring = Keyring(KeyMark(tmp_path))
    with monkeypatch.context() as full_disk:
        full_disk.setattr("adapters_registry.mark._write", full)
        keyring.replace([GOOD.grant], NOW)
    assert keyring.is_marked
    assert not KeyMark(tmp_path).is_set
    keyring.replace([GOOD.grant], NOW)
    assert KeyMark(tmp_path).is_set


def test_how_many_ended_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.access.keyring.MOST_ENDED", 2)
    many = [key("acme") for _ in range(3)]
    keyring = Keyring()
    for left in range(3, -1, -1):
        keyring.replace([GOOD.grant, *(one.grant for one in many[:left])], NOW)
    assert list(keyring.ended) == [many[1].grant.id, many[0].grant.id]
