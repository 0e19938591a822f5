"""Writes ``docs/fields.md`` from the table of request fields.

python -m service.api.fields_page > docs/fields.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from service.api import fields
from service.api.fields import Field, Use

HEAD = """\
# Request fields

What becomes of each field of a request for `POST /v1/chat/completions` and `POST /v1/completions`. Made from
`service/api/fields.py` by `python -m service.api.fields_page > docs/fields.md`.

- **honoured**: it does what the API that it comes from says.
- **label**: accepted; by its meaning it changes no answer.
- **hint**: ignored and reported, because the answer is as good without it.
- **refused**: a 400 that names it (`unsupported_parameter`), because the answer would be another one.
- A field at a *neutral* value asks for nothing and passes unreported. `null` is the same as absent, also in nested
  objects.
- A field that is in no table is ignored and reported; `limits.unknown_fields=refuse` makes it a 400
  (`unknown_parameter`).
- Ignored fields are reported in the header `x-ignored-parameters` (at most 20 names) and counted in
  `quickchange_ignored_parameters_total`.
- `tools` and `functions` pass where `tool_choice` (`function_call`) is `none`.
- `max_tokens` −1 generates up to the end of the context. 0 is a 400: nothing is scored without generating.
- `continue_final_message` without `add_generation_prompt` implies `add_generation_prompt: false`.
- `chat_template_kwargs` sets variables that the base's chat template reads, others are hints. The names that the
  service sets itself (`messages`, `tools`, the special tokens, …) are a 400.
- `truncate_prompt_tokens` keeps the prompt's last tokens; −1 keeps what leaves room for `max_tokens`.

"Known to" names the request models that have the field: O is openai-python 3.54, V is vLLM 0.32 (and the names of its
earlier `guided_` fields), S is SGLang and L is llama.cpp's server, as both were in November 2026.

"""
_TITLES: dict[str, Mapping[str, Field]] = {
    "Both endpoints": fields.EITHER,
    "Chat only": {name: one for name, one in fields.CHAT.items() if name not in fields.EITHER},
    "Completions only": {name: one for name, one in fields.COMPLETION.items() if name not in fields.EITHER},
    "Of `stream_options`": fields.STREAM_OPTIONS,
    "Of a message": fields.MESSAGE,
    "Of a text part": fields.PART,
}


def page() -> str:
    """Markdown."""
    return HEAD + "\n".join(_section(title, table) for title, table in _TITLES.items())


def _section(title: str, table: Mapping[str, Field]) -> str:
    rows = "".join(_row(name, one) for name, one in sorted(table.items()))
    return f"## {title}\n\n| field | what becomes of it | neutral at | known to |\n|---|---|---|---|\n{rows}"


def _row(name: str, one: Field) -> str:
    use = f"{one.use}: {one.instead}" if one.use is Use.REFUSED and one.instead else str(one.use)
    neutral = ", ".join(f"`{json.dumps(value)}`" for value in one.neutral)
    return f"| `{name}` | {use} | {neutral} | {one.known_to} |\n"


if __name__ == "__main__":
    print(page(), end="")
