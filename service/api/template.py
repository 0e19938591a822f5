"""Renders a conversation with the base's chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import PreTrainedTokenizerBase

from service.api.json_object import printable
from service.api.schemas import Message
from service.errors import InvalidValue

OURS = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "raise_exception"}
    | {"strftime_now", *DEFAULT_NAMESPACE}
)
"""Variables of a template that clients must not set, in addition to the tokenizer's special tokens."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Options of a request for rendering its conversation."""

    begin_answer: bool = True
    """The template begins the assistant's turn."""
    continues: bool = False
    """The last message is not closed, and the answer continues it."""
    variables: Mapping[str, Any] = field(default_factory=dict)


class Template:
    """Renders in a sandbox, as transformers does. The template comes with the base, so the operator chose it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ours = OURS | tokenizer.special_tokens_map.keys()
        self._read = _variables(tokenizer.chat_template)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._tokenizer.chat_template is not None

    def choose(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The variables that the template reads, and the names of the others. Raises ``InvalidValue``.

        Only known variables are passed on, because the rendering call also has named options, such as a template.
        """
        taken = sorted(given.keys() & self._ours)
        if taken:
            param = f"chat_template_kwargs.{taken[0]}"
            raise InvalidValue(f"{param}: is set by the service", param=param)
        others = [name for name in given if name not in self._read]
        return {name: value for name, value in given.items() if name in self._read and value is not None}, others

    def render(self, messages: tuple[Message, ...], how: Rendering) -> str:
        """The text. Raises ``InvalidValue`` if the template refuses it, e.g. roles that do not alternate."""
        turns = [message.model_dump(exclude_none=True) for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=how.begin_answer,
                continue_final_message=how.continues,
                **how.variables,
            )
        except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            # TemplateError is a template's refusal; the others happen in templates that do not expect such values.
            raise InvalidValue(
                f"messages: the chat template refuses them: {printable(str(error))}", param="messages"
            ) from error
        assert isinstance(text, str)
        return text


def _variables(template: object) -> frozenset[str]:
    """Variables that ``template`` reads and does not set; empty if there are several templates, by purpose."""
    if not isinstance(template, str):
        return frozenset()
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        return frozenset(find_undeclared_variables(environment.parse(template)))
    except TemplateError:
        return frozenset()  # it has tags of transformers: such a template gets no variables from clients
