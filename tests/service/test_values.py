"""What crosses layers: the identity of the adapters that one request wears."""

from __future__ import annotations

from service.values import NO_ADAPTERS, AdapterRef, AdapterSet

ONE = AdapterRef("acme", "medical", 3, "sha256:" + "a" * 64)
TWO = AdapterRef("acme", "tone", 1, "sha256:" + "b" * 64)


def test_a_set_of_one_has_that_ones_identity() -> None:
    assert AdapterSet((ONE,)).digest == ONE.digest
    assert str(AdapterSet((ONE,))) == "acme/medical@3"
    assert (NO_ADAPTERS.digest, bool(NO_ADAPTERS)) == ("", False)


def test_the_digest_of_several_tells_their_order() -> None:
    digests = {AdapterSet(parts).digest for parts in ((ONE, TWO), (TWO, ONE), (ONE, ONE), (ONE,), (TWO,))}
    assert len(digests) == 5
    assert all(len(digest) == len(ONE.digest) for digest in digests)
    assert str(AdapterSet((ONE, TWO))) == "acme/medical@3+acme/tone@1"
