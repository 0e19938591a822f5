"""The model string's grammar."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_registry.manifest import NAME_PATTERN
from service.access.names import Alias, Exact, ModelName, Version, parse_model
from service.errors import ModelNotFound

BASE = "Org/Base:1b"
DIGEST = "sha256:" + "0f" * 32

names = st.from_regex(NAME_PATTERN.removesuffix("$") + r"\Z")
aliases = names.filter(lambda name: not name.isdecimal() and not name.startswith("sha256"))
digests = st.from_regex(r"\Asha256:[0-9a-f]{64}\Z")
selectors = st.one_of(
    st.integers(1, 999_999_999).map(lambda n: (str(n), Version(n))),
    digests.map(lambda d: (d, Exact(d))),
    aliases.map(lambda a: (a, Alias(a))),
)


@given(base=st.booleans(), tenant=st.none() | names, adapter=names, selector=st.none() | selectors)
def test_every_well_formed_name_means_what_it_is_made_of(
    base: bool, tenant: str | None, adapter: str, selector: tuple[str, Version | Exact | Alias] | None
) -> None:
    text = (f"{BASE}:" if base else "") + (f"{tenant}/" if tenant else "") + adapter
    text += f"@{selector[0]}" if selector else ""
    meant = selector[1] if selector else Alias("production")
    assert parse_model(text, BASE) == ModelName(tenant, adapter, meant)


@given(st.text(max_size=80))
def test_any_other_text_is_refused_with_the_field_named(text: str) -> None:
    if re.fullmatch(r"[a-z0-9._:/@-]*", text):
        return  # well formed, or among the malformed ones below
    with pytest.raises(ModelNotFound) as caught:
        parse_model(text, BASE)
    assert caught.value.param == "model"


@pytest.mark.parametrize("base", ["plain", "org/base", "a:b/c:d", "/data/models/x", "a@b"])
def test_the_base_is_itself_whatever_its_name_holds(base: str) -> None:
    assert parse_model(base, base) is None
    assert parse_model(f"{base}:acme/support@2", base) == ModelName("acme", "support", Version(2))


@pytest.mark.parametrize(
    "text",
    [
        "", "@", "@1", "/", "a/", "/a", "a/b/c", "a:b", "A", "a b", "a@", "a@0", "a@01", "a@1@2", "a@sha256",
        "a@sha256:00",
        "a@sha256-new", f"a@{DIGEST}0", f"a@{DIGEST.upper()}", "a\n", "a@1\n", "a@x\n", "other:acme/support", "-a",
        "a" * 64,
        f"{BASE}:", f"{BASE}:@1", f"{BASE}:{BASE}", "a@9999999999", "../a", "a@../b", "é",
    ],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(ModelNotFound, match="does not exist or"):
        parse_model(text, BASE)


def test_a_long_name_is_not_echoed_whole() -> None:
    with pytest.raises(ModelNotFound) as caught:
        parse_model("x" * 5000, BASE)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["a", "t/a", "t/a@2", "a@canary", f"t/a@sha256:{'0' * 64}"])
def test_a_name_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_model(text, "base")) == text
