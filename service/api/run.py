"""Merges the events of a job's prompts into visible pieces of each choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from service.api.job import Job, Usage
from service.api.latency import Latency
from service.api.text import Choice, Delta
from service.api.vocabulary import Vocabulary
from service.errors import InternalError
from service.values import Event, FinishReason, Generate

OnEnd = Callable[[Job, Sequence[Choice], FinishReason], None]
"""Called with a response's choices, and the finish reason for choices that did not end."""


class Run:
    """One job being generated: a task per prompt fills the inbox, ``deltas`` empties it.

    The inbox needs no bound: a request's tokens are bounded, and a slow reader gets them merged.
    """

    def __init__(self, job: Job, vocabulary: Vocabulary, latency: Latency, on_end: OnEnd | None = None) -> None:
        """``on_end`` is called at most once: by ``broken_off``, or when all choices have ended, before their last
        part is returned."""
        self._job = job
        self._latency = latency
        self._on_end = on_end
        self._n = job.requests[0].n
        self.choices = [Choice.begin(index, vocabulary, job.showing) for index in range(len(job.requests) * self._n)]
        self._inbox: list[tuple[int, list[Event]]] = []
        self._wake = asyncio.Event()

    async def deltas(self, generate: Generate) -> AsyncGenerator[list[Delta], None]:
        """New text since the last item, at most one delta per choice; ends when every choice has ended.

        Raises the errors of ``generate``, after everything before them was returned. Closing this generator closes
        those of ``generate``.
        """
        pumps = [
            asyncio.create_task(self._pump(i, generate(request))) for i, request in enumerate(self._job.requests)
        ]
        for pump in pumps:
            pump.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                ended = [pump.done() for pump in pumps]  # read first: all that they produced is then in the inbox
                visible = self._drain()
                for i, pump in enumerate(pumps):
                    if self._complete(i):
                        pump.cancel()
                ended_well = all(choice.finish for choice in self.choices)
                if ended_well:
                    self._end(FinishReason.STOP)
                if visible:
                    yield visible
                if ended_well:
                    return
                for i, pump in enumerate(pumps):
                    if ended[i] and not self._complete(i):
                        raise _cause(pump)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def broken_off(self, reason: FinishReason) -> None:
        """The answer was cut off after its id and a part of it were sent. No effect once all choices have ended."""
        self._end(reason)

    def usage(self) -> Usage:
        """The tokens until now."""
        return Usage(
            prompt=self._job.prompt_tokens,
            completion=sum(choice.tokens for choice in self.choices),
            # Further choices of a prompt share the first one's blocks, which is no hit of an earlier request.
            cached=sum(choice.cached_tokens for choice in self.choices[:: self._n]),
        )

    def _end(self, reason: FinishReason) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._job, self.choices, reason)

    async def _pump(self, prompt: int, events: AsyncIterator[list[Event]]) -> None:
        async with aclosing(cast("AsyncGenerator[list[Event], None]", events)):
            async for batch in events:
                self._inbox.append((prompt, batch))
                self._latency.came(prompt, batch)
                self._wake.set()

    def _drain(self) -> list[Delta]:
        inbox, self._inbox = self._inbox, []
        touched: dict[int, Choice] = {}
        for prompt, batch in inbox:
            for event in batch:
                choice = self.choices[prompt * self._n + event.choice]
                if choice.finish is None:
                    choice.push(event)
                    touched[choice.index] = choice
        return [delta for choice in touched.values() if (delta := choice.take()) is not None]

    def _complete(self, prompt: int) -> bool:
        return all(choice.finish for choice in self.choices[prompt * self._n : (prompt + 1) * self._n])


def _cause(pump: asyncio.Task[None]) -> BaseException:
    """Why a prompt's events ended before its choices did."""
    if not pump.cancelled() and (error := pump.exception()) is not None:
        return error
    return InternalError("the engine ended the request without finishing it")
