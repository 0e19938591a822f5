"""What an upload may be, as a page made from the tables that the tests walk.

python -m tests.adapters_registry.conformance > docs/conformance.md
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from peft import PeftType

from adapters_registry.api.status import STATUS
from adapters_registry.capabilities import WORDS
from adapters_registry.errors import NotRunnable, RegistryError, all_errors
from adapters_registry.kinds import KINDS
from adapters_registry.kinds.foreign import BOOKKEEPING, ONLY
from adapters_registry.kinds.lora_config import WITHOUT_EFFECT, LoraConfig
from adapters_registry.patterns import PATTERN_CHARS
from adapters_registry.settings import Limits
from adapters_registry.tensorfile import HEADER_BYTES, ITEM_BYTES, TENSORS
from tests.adapters_registry.hostile.case import Case
from tests.adapters_registry.hostile.corpus import CORPUS, GROUPS
from tests.adapters_registry.kinds.fields import FIELDS
from tests.adapters_registry.kinds.saved import SUPPORTED, UNSUPPORTED
from tests.adapters_registry.kinds.written import STILL_REFUSED, WRITTEN, Written

_NAMED_CHARS = 72
_HEAD = """\
# What an upload may be

An adapter is a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`, no other file. The registry checks
both in a process of its own before there is a version; what it refuses, it refuses with a stable code, the name of
the field, file, tensor or module at fault, and what to do about it. What is not in these tables as supported is
refused. What was normalised, passed over or allowed is in the push's answer and is kept with the version as notes
(`quickchange show`). `pull` gives back the bytes that were pushed.

This page is made by `python -m tests.adapters_registry.conformance > docs/conformance.md` from the tables that the
tests walk: every line is a test.
"""
_BOUNDS = """\
## Bounds

The process has no access to the network or to files but the two, and no secret in its environment. What breaks its
bounds is refused with `check_failed` (422); what is not the artifact's fault (the process cannot be started, is
killed by another, or the machine is too slow) is `check_unavailable` (503) and may be repeated.
"""


def page() -> str:
    """The whole page."""
    parts = (_supported(), _written(), (_BOUNDS,), _bounds(), _fields(), _foreign(), _kinds(), _needs(), _refused())
    return "\n".join((_HEAD, *(line for part in parts for line in part)))


def _supported() -> Iterator[str]:
    yield "## As PEFT saves them\n"
    yield "Saved by PEFT itself on small random models; ranks and scales are then those of PEFT's own layers.\n"
    rows = [(case.what, _settings(case.settings), "accepted") for case in SUPPORTED]
    rows += [(case.what, _settings(case.settings), _code(case.refused[0])) for case in UNSUPPORTED if case.refused]
    yield from _table(("adapter", "`LoraConfig`", "outcome"), rows)


def _written() -> Iterator[str]:
    yield "## As other tools write them\n"
    yield "Accepted where the effect is the one that PEFT computes from the folder, or would with PEFT's names.\n"
    rows = [(case.what, "accepted", f"`{case.note}`", _allowed(case)) for case in WRITTEN]
    rows += [(case.what, _code(case.refused[0]), "", _allowed(case)) for case in STILL_REFUSED if case.refused]
    yield from _table(("what is different", "outcome", "note", "with"), rows)


def _allowed(case: Written) -> str:
    flags = [f"--ignore-field {name}" for name in case.allowed.ignore_fields[:1]]
    flags += ["--allow-partial"] * case.allowed.partial + ["--allow-no-effect"] * case.allowed.no_effect
    return f"`{' '.join(flags)}`" if flags else ""


def _foreign() -> Iterator[str]:
    yield "Bookkeeping of other tools, which is passed over and noted:\n"
    tools = sorted(set(BOOKKEEPING.values()))
    rows = [(tool, ", ".join(f"`{name}`" for name, by in BOOKKEEPING.items() if by == tool)) for tool in tools]
    yield from _table(("tool", "fields"), rows)
    for name, values in ONLY.items():
        yield f"`{name}` is that only as {', '.join(map(_json, values))}.\n"


def _bounds() -> Iterator[str]:
    limits = Limits()
    rows = (
        ("header of the safetensors file", f"{HEADER_BYTES:,} bytes", ""),
        ("tensors", f"{TENSORS:,}", ""),
        ("types of tensors", ", ".join(ITEM_BYTES), ""),
        ("characters of a pattern", f"{PATTERN_CHARS:,}", ""),
        ("`adapter_config.json`", f"{limits.config_bytes:,} bytes", "`limits.config_bytes`"),
        ("`adapter_model.safetensors`", f"{limits.upload_bytes:,} bytes", "`limits.upload_bytes`"),
        ("rank", f"{limits.rank}", "`limits.rank`"),
        ("matching of all patterns", f"{limits.match_s:g} s", "`limits.match_s`"),
        ("memory of the process", f"{limits.check_bytes:,} bytes of address space", "`limits.check_bytes`"),
        ("the check, by the clock", f"{limits.check_s:g} s", "`limits.check_s`"),
        ("the check, of processor time", f"{limits.check_s / 2:g} s", "half of `limits.check_s`"),
    )
    return _table(("what", "bound", "setting"), rows)


def _fields() -> Iterator[str]:
    yield "## Fields of `adapter_config.json`\n"
    yield "A field that is not listed is refused unless it says nothing (null, false, empty), is another tool's"
    yield "bookkeeping (below), or the push says that it is to be ignored (`--ignore-field NAME`).\n"
    rows = []
    for name in dict.fromkeys(field.name for field in FIELDS):
        entries = [field for field in FIELDS if field.name == name]
        passes = [value for field in entries for value in field.passes]
        refused = [f"{_json(value)} {_code(field.code)}" for field in entries for value in field.refused]
        rows.append((f"`{name}`", _how(name, passes), ", ".join(map(_json, passes)), "; ".join(refused)))
    yield from _table(("field", "", "for example", "refused, for example"), rows)


def _how(name: str, passes: Sequence[Any]) -> str:
    if name in LoraConfig.model_fields or name == "peft_type":
        return "honoured"
    if name in WITHOUT_EFFECT:
        return "without effect"
    assert not any(passes)
    return "refused unless empty"


def _kinds() -> Iterator[str]:
    others = sorted(kind.value for kind in PeftType if kind.value not in KINDS)
    yield "## Kinds\n"
    yield f"`peft_type` {', '.join(f'`{kind}`' for kind in KINDS)} is supported. All others are refused with"
    yield f"`unsupported_field`: {', '.join(others)}.\n"


def _needs() -> Iterator[str]:
    yield "## What a service must be able to run\n"
    yield "Each service announces with its base what it can run. An adapter that no single service of its base can"
    yield f"run is refused with {_code(NotRunnable.code)}, which names what is missing. Services of earlier releases"
    yield "announce nothing and can run all of these. Details: [manifest.md](manifest.md).\n"
    rows = [(f"`{need}`", words.what, words.remedy) for need, words in WORDS.items()]
    yield from _table(("need", "what it is", "without it"), rows)


def _refused() -> Iterator[str]:
    yield "## The corpus of bad artifacts\n"
    yield f"{len(CORPUS)} artifacts, each refused with its code and what it names.\n"
    for title, cases in GROUPS.items():
        yield f"### {title}\n"
        yield from _table(("what is wrong", "code", "names"), map(_row, cases))


def _row(case: Case) -> tuple[str, str, str]:
    return _text(case.what), _code(case.code), "" if case.param is None else _shown(case.param)


def _code(code: str) -> str:
    by_code: dict[str, type[RegistryError]] = {error.code: error for error in all_errors()}
    return f"`{code}` ({STATUS[by_code[code]]})"


def _shown(name: str) -> str:
    """A name that may be long, or hold what is not seen."""
    short = name if len(name) <= _NAMED_CHARS else f"{name[: _NAMED_CHARS // 2]}…{name[-_NAMED_CHARS // 2 :]}"
    return f"`{short.encode('unicode_escape').decode() if not short.isprintable() else short or ' '}`"


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={_text(json.dumps(value))}`" for name, value in settings.items())


def _json(value: Any) -> str:
    return f"`{_text(json.dumps(value))}`"


def _text(text: str) -> str:
    """Within a cell."""
    return text.replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
