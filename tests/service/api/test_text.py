"""Tokens to shown text: however they are cut, the pieces join to the tokenizer's own decoding, cut at the stop."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from service.api.text import Choice, Delta, Showing, StopMatcher
from service.api.vocabulary import Vocabulary
from service.values import Event, FinishReason, TokenLogprob
from tests.service.api.world import encode, tokenizer

SAMPLES = [
    "hello world STOP here",
    "héllo 😀👩‍👩‍👧 e\u0301",
    "漢字かな混じり",
    "a\ufffdb",
    "🇨🇭 ok\n\n",
    "<|im_end|>x",
]


@cache
def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Llama's kind: ▁ for spaces, single bytes for what has no token, the first space stripped."""
    words = ["▁hello", "▁world", "hello", "world", "▁", "é", "x", "."]
    vocab = {"<s>": 0, "</s>": 1, "<unk>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocab |= {word: 259 + i for i, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"byte-level": tokenizer, "sentencepiece": sentencepiece_like}
VOCABULARIES = {name: Vocabulary(make()) for name, make in TOKENIZERS.items()}

sampled = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(SAMPLES)), max_size=5).map(
    lambda parts: encode("".join(parts))
)
byte_level_ids = st.one_of(sampled, st.lists(st.integers(0, len(tokenizer()) + 3), max_size=40))
other_ids = st.lists(st.one_of(st.integers(0, 266), st.sampled_from([3 + b for b in "é😀".encode()])), max_size=40)


def run(
    ids: list[int], cuts: list[int], stops: tuple[str, ...] = (), kind: str = "byte-level"
) -> tuple[Choice, list[Delta]]:
    """A choice that got ``ids`` in events cut at ``cuts``, taken from after each."""
    choice = Choice.begin(0, VOCABULARIES[kind], Showing(stops))
    edges = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    deltas = []
    for start, end in pairwise(edges):
        logprobs = tuple(TokenLogprob(-float(i), ()) for i in range(start, end))
        choice.push(Event("r", 0, tuple(ids[start:end]), logprobs))
        deltas.append(choice.take())
    choice.push(Event("r", 0, (), (), FinishReason.STOP))
    deltas.append(choice.take())
    return choice, [delta for delta in deltas if delta is not None]


def joined(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def cut_at(text: str, stops: tuple[str, ...]) -> str:
    """Character by character: stop at the first place where the text so far ends with a stop string."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))]
    return text


@given(ids=byte_level_ids, cuts=st.lists(st.integers(0, 40)))
def test_pieces_join_to_the_tokenizers_decoding(ids: list[int], cuts: list[int]) -> None:
    _, deltas = run(ids, cuts)
    assert joined(deltas) == tokenizer().decode(ids, skip_special_tokens=True)
    shown = [one.token for delta in deltas for one in delta.logprobs]
    assert shown == ids


@given(ids=other_ids, cuts=st.lists(st.integers(0, 40)))
def test_so_they_do_for_tokenizers_that_are_not_byte_level(ids: list[int], cuts: list[int]) -> None:
    _, deltas = run(ids, cuts, kind="sentencepiece")
    assert joined(deltas) == sentencepiece_like().decode(ids, skip_special_tokens=True)


@given(
    ids=byte_level_ids,
    cuts=st.lists(st.integers(0, 40)),
    stops=st.lists(
        st.one_of(
            st.text(min_size=1, max_size=4), st.sampled_from(["STOP", "ST", " w", "lo wo", "o", "😀", "\ufffd"])
        ),
        max_size=3,
    ),
)
def test_stop_strings_cut_the_same_wherever_the_tokens_end(ids: list[int], cuts: list[int], stops: list[str]) -> None:
    text = tokenizer().decode(ids, skip_special_tokens=True)
    choice, deltas = run(ids, cuts, tuple(stops))
    expected = cut_at(text, tuple(stops))
    assert joined(deltas) == expected
    assert deltas[-1].finish == choice.finish == "stop"
    whole_choice, whole = run(ids, [], tuple(stops))
    assert joined(whole) == expected
    assert whole_choice.tokens == choice.tokens
    assert [one for delta in deltas for one in delta.logprobs] == [one for delta in whole for one in delta.logprobs]
    if len(expected) < len(text):
        # Counted up to the token that completed the stop string, and not one further.
        assert choice.tokens <= len(ids)
        before = tokenizer().decode(ids[: choice.tokens - 1], skip_special_tokens=True).rstrip("\ufffd")
        assert cut_at(before, tuple(s for s in stops if "\ufffd" not in s)) == before or choice.tokens == len(ids)


@given(
    pieces=st.lists(st.text(alphabet="ab", max_size=4)),
    stops=st.lists(st.text(alphabet="ab", min_size=1, max_size=4)),
)
def test_the_matcher_holds_back_no_more_than_it_must(pieces: list[str], stops: list[str]) -> None:
    matcher, text, shown = StopMatcher(tuple(stops)), "", ""
    for piece in pieces:
        shown += matcher.push(piece)
        text += piece
        if cut_at(text, tuple(stops)) != text:
            assert matcher.matched
            assert shown == cut_at(text, tuple(stops))
            return
        held = text[len(shown) :]
        assert shown + held == text
        assert not held or any(stop.startswith(held) for stop in stops)
        longer = [text[-n:] for n in range(len(held) + 1, len(text) + 1)]
        assert not any(stop.startswith(end) for stop in stops for end in longer)
    assert shown + matcher.flush() == text


def test_an_incomplete_character_is_held_until_its_last_byte() -> None:
    ids = encode("a🦊b")
    assert len(ids) > 4
    choice = Choice.begin(0, VOCABULARIES["byte-level"], Showing())
    seen = []
    for token in ids:
        choice.push(Event("r", 0, (token,)))
        delta = choice.take()
        seen.append(delta.text if delta else "")
    assert [text for text in seen if text] == ["a", "🦊", "b"]


def test_a_broken_character_at_the_end_is_shown_as_such() -> None:
    _, deltas = run(encode("a🦊")[:-1], [1, 2, 3])
    assert joined(deltas) == "a\ufffd"


def test_special_tokens_have_no_text() -> None:
    special = tokenizer().convert_tokens_to_ids("<|im_start|>")
    assert isinstance(special, int)
    ids = [special, *encode("hello"), special, *encode(" world")]
    assert joined(run(ids, [1, 2, 3])[1]) == "hello world"


@pytest.mark.parametrize(("finish", "shown"), [(FinishReason.LENGTH, "length"), (FinishReason.STOP, "stop")])
def test_the_engines_reason_stands_unless_a_stop_string_was_completed(finish: FinishReason, shown: str) -> None:
    ids = tuple(encode("hello STOP"))
    plain = Choice.begin(0, VOCABULARIES["byte-level"], Showing())
    plain.push(Event("r", 0, ids, (), finish))
    assert plain.finish == shown
    stopped = Choice.begin(0, VOCABULARIES["byte-level"], Showing(("STOP",)))
    stopped.push(Event("r", 0, ids, (), finish))
    assert stopped.finish == "stop"
    assert stopped.take() == Delta(0, "hello ", (), "stop")


def test_what_the_engine_failed_has_no_end() -> None:
    choice = Choice.begin(0, VOCABULARIES["byte-level"], Showing())
    choice.push(Event("r", 0, (), (), FinishReason.FAILED))
    assert choice.finish is None


def test_logprobs_of_a_cut_answer_are_those_of_its_text() -> None:
    ids = encode("hello world STOP here")
    _, deltas = run(ids, list(range(len(ids))), (" STOP",))
    shown = [one.token for delta in deltas for one in delta.logprobs]
    assert tokenizer().decode(shown).startswith("hello world")
    assert "STOP" not in tokenizer().decode(shown)
    assert shown == ids[: len(shown)]


def test_a_run_of_broken_bytes_costs_no_more_than_its_length() -> None:
    # A prompt can force such a run; decoding it anew at each token would hold the event loop.
    continuation = next(t for t in range(len(tokenizer())) if VOCABULARIES["byte-level"].spelling(t) == b"\x80")
    choice, deltas = run([continuation] * 4000, list(range(4000)))
    assert joined(deltas) == "\ufffd" * 4000
    assert choice.tokens == 4000


def shown(showing: Showing, event: Event) -> tuple[str, str | None]:
    choice = Choice.begin(0, VOCABULARIES["byte-level"], showing)
    choice.push(event)
    return choice.text, choice.finish


def test_a_stop_string_is_shown_where_that_is_wanted() -> None:
    event = Event("r", 0, tuple(encode("hello STOP here")))
    assert shown(Showing(("STOP",)), event) == ("hello ", "stop")
    assert shown(Showing(("STOP",), with_stop=True), event) == ("hello STOP", "stop")


def test_so_is_a_stop_token() -> None:
    token = encode("fox")[-1]
    event = Event("r", 0, tuple(encode("hello ")), (), FinishReason.STOP, stop_token=token)
    spelling = VOCABULARIES["byte-level"].spelling(token).decode()
    assert shown(Showing(), event) == ("hello ", "stop")
    assert shown(Showing(with_stop=True), event) == (f"hello {spelling}", "stop")


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_special_tokens_are_shown_where_that_is_wanted(kind: str) -> None:
    special = TOKENIZERS[kind]().convert_tokens_to_ids("<|im_start|>" if kind == "byte-level" else "<s>")
    text = []
    for showing in (Showing(), Showing(special=True)):
        choice = Choice.begin(0, VOCABULARIES[kind], showing)
        choice.push(Event("r", 0, (special,), (), FinishReason.LENGTH))
        text.append(choice.text)
    assert text == ["", "<|im_start|>" if kind == "byte-level" else "<s>"]
