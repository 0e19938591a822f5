"""Writes ``docs/fields.md`` from the table of request fields.

python -m service.api.fields_page > docs/fields.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from service.api import fields
from service.api.field import Field, Use

HEAD = """\
# Request fields

This page lists the effect of each request field of `POST /v1/chat/completions` and `POST /v1/completions`. It is
generated from `service/api/fields.py` by `python -m service.api.fields_page > docs/fields.md`.

- **honoured**: the field has the effect that its API documents.
- **label**: accepted. Such a field never changes an answer.
- **hint**: ignored and reported, because the answer is equally good without it.
- **refused**: a 400 that names the field (`unsupported_parameter`), because ignoring it would change the answer.
- A field with a *neutral* value has no effect. It is accepted and not reported. `null` is the same as an absent
  field, also in nested objects.
- A field that is in no table is ignored and reported. With `limits.unknown_fields=refuse` it is a 400
  (`unknown_parameter`).
- Ignored fields are reported in the header `x-ignored-parameters` (at most 20 names) and counted in
  `quickchange_ignored_parameters_total`.
- `tools` and `functions` are accepted if `tool_choice` (`function_call`) is `none`.
- `max_tokens` −1 generates up to the end of the context. 0 is a 400: a request that generates nothing is not
  supported.
- `continue_final_message` without `add_generation_prompt` implies `add_generation_prompt: false`.
- `chat_template_kwargs` sets variables that the base's chat template reads; other names are hints. Names that the
  service sets itself (`messages`, `tools`, the special tokens, …) are a 400.
- `truncate_prompt_tokens` keeps the last tokens of the prompt; −1 keeps as many as leave room for `max_tokens`.

"Known to" lists the request models that have the field: O is openai-python 3.54, V is vLLM 0.32 (including its
earlier `guided_` fields), S is SGLang and L is llama.cpp's server, both as of November 2026.

"""
_TITLES: dict[str, Mapping[str, Field]] = {
    "Both endpoints": fields.EITHER,
    "Chat only": {name: one for name, one in fields.CHAT.items() if name not in fields.EITHER},
    "Completions only": {name: one for name, one in fields.COMPLETION.items() if name not in fields.EITHER},
    "Fields of `stream_options`": fields.STREAM_OPTIONS,
    "Fields of a message": fields.MESSAGE,
    "Fields of a text part": fields.PART,
}


def page() -> str:
    """Markdown."""
    return HEAD + "\n".join(_section(title, table) for title, table in _TITLES.items())


def _section(title: str, table: Mapping[str, Field]) -> str:
    rows = "".join(_row(name, one) for name, one in sorted(table.items()))
    return f"## {title}\n\n| field | effect | neutral values | known to |\n|---|---|---|---|\n{rows}"


def _row(name: str, one: Field) -> str:
    use = f"{one.use}: {one.instead}" if one.use is Use.REFUSED and one.instead else str(one.use)
    neutral = ", ".join(f"`{json.dumps(value)}`" for value in one.neutral)
    return f"| `{name}` | {use} | {neutral} | {one.known_to} |\n"


if __name__ == "__main__":
    print(page(), end="")
