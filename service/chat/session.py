"""One chat session: reads lines, sends requests, shows answers, records feedback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from service.chat.conversation import Answer, Conversation, Exchange
from service.chat.remote import Service, unreachable
from service.chat.screen import Screen
from service.chat.words import QUESTION, VERBS, Better, Command, Message, Mistake, parse, parse_verdict
from service.errors import QuickchangeError

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code that shells expect after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the requests."""

    sampling: Mapping[str, float]
    """Request fields, sent as they are."""
    swap: Callable[[], bool] | None
    """Whether to swap the next two answers, with hidden names; None: in the given order, with names."""
    key: str | None = field(default=None, repr=False)
    """The API key; a service without keys needs none."""


@dataclass(slots=True)
class _Gathered:
    """An answer as far as it was received, also if it is stopped."""

    response_id: str = ""
    weights: str = ""
    text: list[str] = field(default_factory=list)
    finish: str | None = None

    def answer(self) -> Answer:
        return Answer(self.response_id, "".join(self.text), self.weights)


class Session:
    """The conversation and its current model. Call ``run`` once."""

    def __init__(self, url: str, model: str | None, system: str | None, options: Options, screen: Screen) -> None:
        self._url = url
        self._model = model or ""
        self._options = options
        self._screen = screen
        self._conversation = Conversation(system)
        self._rivals: tuple[str, str] | None = None
        """The two models that get the next message."""

    def run(self) -> int:
        """The exit code. In a pipe the first error ends the chat, because later lines assume that it did not happen.

        Raises what ``Service`` raises if there is nothing to talk to.
        """
        with asyncio.Runner() as runner:
            self._runner = runner
            self._service = Service(self._url, self._options.key)
            try:
                self._open()
                return self._loop()
            finally:
                runner.run(self._service.aclose())

    def _open(self) -> None:
        if self._model:
            self._do(self._service.find(self._model))
        else:
            self._model = self._do(self._service.models())[0].id
        if self._screen.interactive:
            self._screen.note(f"{self._model} at {self._url}; /help lists the commands, Ctrl-D ends")

    def _loop(self) -> int:
        while True:
            try:
                line = self._screen.read(self._model)
            except EOFError:
                return 0
            except KeyboardInterrupt:
                return INTERRUPTED
            code = self._take(line)
            if code is not None:
                return code

    def _take(self, line: str) -> int | None:
        """The exit code, if ``line`` was the last."""
        try:
            meant = parse(line)
            if isinstance(meant, Message):
                self._say(meant.text)
            elif meant == Command("quit"):
                return 0
            elif meant is not None:
                self._command(meant)
        except Mistake as mistake:
            return self._failed(str(mistake), 2)
        except QuickchangeError as error:
            return self._failed(error.message, 1)
        except httpx.TransportError as error:
            return self._failed(unreachable(error), 1)
        except KeyboardInterrupt:
            self._screen.note("stopped")
        return None

    def _failed(self, why: str, code: int) -> int | None:
        self._screen.error(why)
        return None if self._screen.interactive else code

    def _command(self, command: Command) -> None:
        match command.verb:
            case "adapter":
                self._switch(command.words[0])
            case "adapters":
                models = self._do(self._service.models())
                self._screen.listing(model.id for model in models)
            case "compare":
                self._begin_compare((command.words[0], command.words[1]), command.text)
            case "good" | "bad":
                self._record("binary", _target(self._last().answer), command.verb == "good")
            case "correct":
                self._record("correction", _target(self._last().answer), command.text)
                self._conversation = self._conversation.corrected(command.text)
            case "undo":
                said = self._last().said
                self._conversation = self._conversation.undone()
                self._screen.note(f"removed: {said}")
            case "clear":
                self._conversation = self._conversation.cleared()
            case "system":
                self._conversation = self._conversation.directed(command.text)
            case "help":
                self._screen.listing(_help())
            case unknown:
                raise AssertionError(unknown)

    def _say(self, text: str) -> None:
        if self._rivals is not None:
            rivals, self._rivals = self._rivals, None
            self._compare(rivals, self._conversation, text)
            return
        got, stopped = _Gathered(), False
        try:
            self._do(self._gather(self._model, self._conversation, text, got, self._screen.piece))
        except KeyboardInterrupt:
            stopped = True
        finally:
            if got.text or got.finish:
                self._screen.end()
        if got.text:
            self._conversation = self._conversation.answered(text, got.answer())
        self._screen.note(_about(got, stopped))

    def _switch(self, name: str) -> None:
        model = self._do(self._service.find(name))
        self._model = name
        self._screen.note(f"switched to {name} ({model.root})")

    def _begin_compare(self, rivals: tuple[str, str], text: str) -> None:
        for name in rivals:
            self._do(self._service.find(name))
        last = self._conversation.last
        if text:
            self._compare(rivals, self._conversation, text)
        elif last is not None:
            self._screen.note(f"sending your last message to both: {last.said}")
            self._compare(rivals, self._conversation.undone(), last.said)
        else:
            self._rivals = rivals
            self._screen.note("the next message goes to both")

    def _compare(self, rivals: tuple[str, str], before: Conversation, said: str) -> None:
        """Send both models ``said`` after ``before``; the chat continues with the answer that is judged better."""
        swap = self._options.swap
        shown = (rivals[1], rivals[0]) if swap is not None and swap() else rivals
        titles = ("a", "b") if swap is not None else (f"a: {shown[0]}", f"b: {shown[1]}")
        got = (_Gathered(), _Gathered())
        with self._screen.pair(titles) as show:
            self._do(self._gather_both(shown, before, said, got, show))
        better = self._verdict()
        a, b = (one.answer() for one in got)
        self._screen.note(f"a was {a.weights}, b was {b.weights}")
        if better is None:
            return
        if better != "both_bad":
            self._conversation = before.answered(said, b if better == "b" else a)
        self._record("preference", {"a": _target(a), "b": _target(b)}, better)

    def _verdict(self) -> Better | None:
        while True:
            if self._screen.interactive:
                self._screen.note(QUESTION)
            try:
                return parse_verdict(self._screen.read("better"))
            except EOFError:
                return None
            except Mistake as mistake:
                if not self._screen.interactive:
                    raise
                self._screen.error(str(mistake))

    def _record(self, kind: str, target: Mapping[str, object], value: object) -> None:
        recorded = self._do(self._service.judge(kind, target, value))
        self._screen.note(f"recorded as {recorded}")

    def _last(self) -> Exchange:
        last = self._conversation.last
        if last is None:
            raise Mistake("nothing has been answered yet")
        return last

    async def _gather(
        self, model: str, conversation: Conversation, said: str, into: _Gathered, show: Callable[[str], None]
    ) -> None:
        async with aclosing(self._service.ask(model, conversation.turns(said), self._options.sampling)) as pieces:
            async for piece in pieces:
                into.response_id, into.weights = piece.response_id, piece.weights
                into.finish = piece.finish or into.finish
                if piece.text:
                    into.text.append(piece.text)
                    show(piece.text)

    async def _gather_both(
        self,
        models: tuple[str, str],
        conversation: Conversation,
        said: str,
        into: tuple[_Gathered, _Gathered],
        show: Callable[[int, str], None],
    ) -> None:
        def task(side: int) -> asyncio.Task[None]:
            gather = self._gather(models[side], conversation, said, into[side], lambda text: show(side, text))
            return asyncio.create_task(gather)

        tasks = [task(0), task(1)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work``. Ctrl-C cancels it, which closes its streams, and raises ``KeyboardInterrupt``."""
        return self._runner.run(work)


def _target(answer: Answer) -> dict[str, object]:
    return {"response_id": answer.response_id, "choice": 0}


def _about(got: _Gathered, stopped: bool) -> str:
    """Which weights answered, and whether the answer is complete."""
    if stopped:
        return f"{got.weights}, stopped" if got.weights else "stopped"
    return f"{got.weights}, cut at the token limit" if got.finish == "length" else got.weights


def _help() -> list[str]:
    usages = {f"/{name} {verb.usage}".rstrip(): verb.help for name, verb in VERBS.items()}
    width = max(map(len, usages))
    return [f"{usage:<{width}}  {text}" for usage, text in usages.items()]
