"""One kill under traffic: four streams and two short requests per second, until all succeed or the limit passes."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import httpx
import psutil

from loadtest.killing.outcome import HANGS, Answer, Outcome, back_s, counted
from loadtest.killing.roles import SCENES, SETTLE_S, find
from loadtest.killing.service import Service

STREAMS = 4
STREAM_TOKENS = 600
EVERY_S = 0.5
PATIENCE_S = 45.0
"""Timeout of a short request."""
BEFORE_S = 2.0
STEADY_S = 5.0
ENOUGH = 10
"""Consecutive successful requests after which the service counts as recovered."""


class Trial:
    """Kills the processes of a scene and reports what the clients saw."""

    def __init__(self, service: Service, role: str, limit_s: float) -> None:
        self._service = service
        self._role = role
        self._scene = SCENES[role]
        self._limit_s = limit_s
        self._answers: list[Answer] = []
        self._killed_at = 0.0

    def run(self) -> Outcome | None:
        """Returns None if there is no such process."""
        root = self._service.ready()
        if not all(find(root, victim) for victim in self._scene.victims):
            return None
        pushed, event = self._service.push(), self._service.judge()
        said = self._service.said()
        streams, state = asyncio.run(self._under_traffic(root))
        new_lines = self._service.said()[len(said) :]
        counted_from = [answer for answer in self._answers if answer.began_s >= 0]
        if back_s(counted_from) is None:
            self._service.stop()  # it will not come back by itself
        self._service.ready()
        lost = self._service.lost(pushed, event)
        return Outcome(
            role=self._role,
            back_s=back_s(counted_from),
            streams=counted(streams),
            requests=counted([answer.result for answer in counted_from]),
            longest_s=round(max((answer.ended_s - answer.began_s for answer in counted_from), default=0.0), 1),
            up=state,
            lost=lost,
            said=new_lines,
        )

    async def _under_traffic(self, root: psutil.Process) -> tuple[list[str], str]:
        self._model = self._service.model
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self._service.url, limits=limits, trust_env=False) as client:
            self._killed_at = time.monotonic() + BEFORE_S
            streams = [asyncio.create_task(self._stream(client)) for _ in range(STREAMS)]
            probing = asyncio.create_task(self._probe(client))
            await asyncio.sleep(BEFORE_S)
            for victim in self._scene.victims:
                if victim != self._scene.victims[0]:
                    await asyncio.sleep(SETTLE_S)
                await self._kill(root, victim)
            await self._until_well()
            state = self._state()
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing
            return list(await asyncio.gather(*streams)), state

    async def _kill(self, root: psutil.Process, victim: str) -> None:
        found = await asyncio.to_thread(find, root, victim)
        self._killed_at = time.monotonic()
        self._answers.clear()
        for process in found[:1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    async def _until_well(self) -> None:
        while (since := time.monotonic() - self._killed_at) < self._limit_s:
            if since >= self._scene.watch_s and self._well():
                return
            if self._service.exit_code is not None and since >= STEADY_S:
                return
            await asyncio.sleep(EVERY_S)

    def _well(self) -> bool:
        last = sorted(self._answers, key=lambda answer: answer.began_s)[-ENOUGH:]
        return len(last) == ENOUGH and all(answer.well for answer in last)

    def _state(self) -> str:
        code = self._service.exit_code
        return "runs" if code is None else f"ended with {code}"

    async def _probe(self, client: httpx.AsyncClient) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.create_task(self._short(client))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(EVERY_S)
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _short(self, client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        body = {"model": self._model, "max_tokens": 1, "temperature": 0, "prompt": "Once"}
        try:
            answer = await client.post("/v1/completions", json=body, timeout=PATIENCE_S)
            result = str(answer.status_code)
            if answer.status_code != httpx.codes.OK:
                result += f" {answer.json()['error']['code']}"
        except httpx.TimeoutException:
            result = HANGS
        except (httpx.TransportError, ValueError, KeyError) as error:
            result = type(error).__name__
        ended = time.monotonic()
        self._answers.append(Answer(began - self._killed_at, ended - self._killed_at, result))

    async def _stream(self, client: httpx.AsyncClient) -> str:
        body = {
            "model": self._model, "prompt": "Once", "max_tokens": STREAM_TOKENS, "ignore_eos": True, "stream": True
        }  # fmt: skip
        result = "cut"
        try:
            async with client.stream("POST", "/v1/completions", json=body, timeout=PATIENCE_S) as answer:
                async for line in answer.aiter_lines():
                    if line == "data: [DONE]" and result == "cut":
                        result = "whole"
                    elif line.startswith("data: ") and "error" in (event := json.loads(line.removeprefix("data: "))):
                        result = f"told {event['error']['code']}"
        except httpx.TimeoutException:
            return HANGS
        except httpx.TransportError as error:
            return result if result != "cut" else f"cut ({type(error).__name__})"
        return result
