"""A whole front without an engine or a registry: a tiny real tokenizer and a `Generate` that plays scripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers import decoders as token_decoders
from transformers import PreTrainedTokenizerFast

from adapters_registry.access import KeyText, Scope, new_key
from adapters_registry.mark import KeyMark
from adapters_registry.records import (
    AdapterRecord,
    AliasRecord,
    Changes,
    KeyGrant,
    Quotas,
    Snapshot,
    TenantQuotas,
    VersionRecord,
)
from service.access.catalog import Catalog, CatalogSource
from service.api.front import Backend, Front
from service.api.routes import create_app
from service.feedback.port import Feedback
from service.metrics import GatewayMetrics
from service.report import FleetReport
from service.settings import KeyOptions, Limits, MetricsOptions, Settings
from service.values import Event, FinishReason, GenerateRequest, ServedBase, TokenLogprob

BASE = "sha256:" + "b" * 64
OTHER_BASE = "sha256:" + "c" * 64
BASE_NAME = "org/Base:1b"
"""With a slash, a colon and a capital, as base names may have."""
CONTEXT = 256
CREATED = datetime(2026, 1, 2, tzinfo=UTC)
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('system must come first') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, trained on a few words: most characters outside ASCII take several tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = token_decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = ["hello world, how are you today? the quick brown fox STOP here", "user assistant system é 😀"]
    backend.train_from_iterator(words * 20, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    wrapped.chat_template = TEMPLATE
    return wrapped


def encode(text: str) -> list[int]:
    return list(tokenizer()(text)["input_ids"])


HANG = "hang"
"""A step that never comes."""
Step = list[Event] | Exception | str
Script = Callable[[GenerateRequest], Sequence[Step]]


def says(*texts: str, tokens_a_step: int = 1, finish: FinishReason = FinishReason.STOP) -> Script:
    """Choice i says ``texts[i % len]``, cut at ``max_tokens`` with reason length."""

    def script(request: GenerateRequest) -> Sequence[Step]:
        return plays(*(encode(text) for text in texts), tokens_a_step=tokens_a_step, finish=finish)(request)

    return script


def plays(*choices: list[int], tokens_a_step: int = 1, finish: FinishReason = FinishReason.STOP) -> Script:
    """As ``says``, in token ids; each token's log-probability is minus its place, from 0."""

    def script(request: GenerateRequest) -> Sequence[Step]:
        steps: list[Step] = []
        limit = request.sampling.max_tokens
        said = [choices[i % len(choices)] for i in range(request.n)]
        for at in range(0, max(map(len, said)) + 1, tokens_a_step):
            step = []
            for choice, ids in enumerate(said):
                part = tuple(ids[:limit][at : at + tokens_a_step])
                done = at <= min(len(ids), limit) < at + tokens_a_step
                if part or done:
                    reason = FinishReason.LENGTH if len(ids) > limit else finish
                    probs = _probs(request, at, part)
                    step.append(
                        Event(request.request_id, choice, part, probs, reason if done else None, 4 if at == 0 else 0)
                    )
            steps.append(step)
        return steps

    return script


def _probs(request: GenerateRequest, at: int, part: tuple[int, ...]) -> tuple[TokenLogprob, ...]:
    k = request.sampling.logprobs
    if k is None:
        return ()
    return tuple(
        TokenLogprob(-float(at + i), tuple((token + j, -float(at + i) - j) for j in range(k)))
        for i, token in enumerate(part)
    )


@dataclass
class ScriptedEngine:
    """`Generate` from a script; notes what it was asked and how each request ended."""

    script: Script
    requests: list[GenerateRequest] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    """Requests that were closed before their script ended."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[Event], None]:
        self.requests.append(request)
        complete = False
        try:
            for step in self.script(request):
                await asyncio.sleep(0)
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, str):
                    await asyncio.Event().wait()
                else:
                    yield step
            complete = True
        finally:
            if not complete:
                self.closed.append(request.request_id)
            self.ended.set()


def version(number: int, base: str = BASE) -> VersionRecord:
    return VersionRecord(
        number=number,
        digest=f"sha256:{number:064x}",
        base=base,
        kind="lora",
        rank=8,
        size_bytes=1,
        created_at=CREATED,
    )


def adapter(
    tenant: str = "acme",
    name: str = "support",
    *versions: VersionRecord,
    production: int | None = None,
    generation: int = 1,
    shared_with: Sequence[str] = (),
) -> AdapterRecord:
    """An adapter whose production alias points at the given version, by default the last; 0 is no alias."""
    versions = versions or (version(1),)
    target = versions[-1].number if production is None else production
    aliases = (
        AliasRecord(alias="production", version=one.number, digest=one.digest, generation=generation)
        for one in versions
        if one.number == target
    )
    return AdapterRecord(
        tenant=tenant,
        name=name,
        created_at=CREATED,
        versions=versions,
        aliases=tuple(aliases),
        shared_with=tuple(shared_with),
    )


@dataclass(frozen=True)
class Key:
    """An API key, from both sides."""

    text: KeyText
    grant: KeyGrant

    @property
    def header(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.text}"}


def key(tenant: str | None = "acme", *scopes: Scope, quotas: Quotas = Quotas(), **more: Any) -> Key:
    """A new one, by default for everything that a serving plane does."""
    text = new_key()
    grant = KeyGrant(
        id=text.id,
        tenant=tenant,
        name="test",
        scopes=scopes or (Scope.INFER, Scope.FEEDBACK_WRITE, Scope.FEEDBACK_EXPORT, Scope.SCRAPE),
        quotas=quotas,
        created_at=CREATED,
        secret_hash=text.secret_hash,
        **more,
    )
    return Key(text, grant)


class QuietSource:
    """A registry that says nothing new."""

    def __init__(self, *adapters: AdapterRecord) -> None:
        self._adapters = adapters

    async def snapshot(self) -> Snapshot:
        return Snapshot(seq=1, adapters=self._adapters)

    async def changes(self, since: int, wait_s: float, head: str | None) -> Changes:
        await asyncio.Event().wait()
        raise AssertionError


ADAPTERS = (
    adapter("acme", "support", version(1), version(2), version(3), production=3),
    adapter("default", "mine", version(1)),
    adapter("acme", "elsewhere", version(1, OTHER_BASE)),
    adapter("globex", "draft", version(1), production=0),
)


@dataclass
class World:
    """A front, its fake engine and clients for it."""

    engine: ScriptedEngine
    app: ASGIApp
    metrics: GatewayMetrics
    ready: bool = True
    fleet: FleetReport = field(default_factory=lambda: FleetReport({}))
    """What stands behind the front, as it says itself."""

    async def post(self, path: str, body: object, **more: Any) -> httpx.Response:
        """One request inside this process; ``body`` is JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | dict(more.pop("headers", {}))
        async with self.client() as client:
            return await client.post(path, content=content, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.get(path, **more)

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """A real server on a loopback port; yields its base URL."""
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = True
            await task


def world(
    path: Path,
    script: Script,
    limits: Limits | None = None,
    *,
    chat_template: bool = True,
    source: CatalogSource | None = None,
    feedback: Feedback | None = None,
    adapters: Sequence[AdapterRecord] = ADAPTERS,
    metrics: MetricsOptions | None = None,
    keys: Sequence[Key] = (),
    tenants: Sequence[TenantQuotas] = (),
    mark: KeyMark | None = None,
    host: str = "127.0.0.1",
    options: KeyOptions | None = None,
    known: bool = True,
    cors_origins: Sequence[str] = (),
    age_s: float = 0.0,
) -> World:
    """A front that knows ``adapters`` and ``keys`` since ``age_s`` and whose engine plays ``script``."""
    grants = tuple(key.grant for key in keys)
    snapshot = Snapshot(seq=1, adapters=tuple(adapters), keys=grants, tenants=tuple(tenants))
    file = path / "catalog.json"
    if known:
        file.write_text(snapshot.model_dump_json())
        os.utime(file, (time.time() - age_s,) * 2)
    engine = ScriptedEngine(script)
    tokens = tokenizer()
    if not chat_template:
        tokens = PreTrainedTokenizerFast(tokenizer_object=tokens.backend_tokenizer)
    made: list[World] = []

    async def ready() -> bool:
        return made[0].ready

    async def inspect() -> FleetReport:
        return made[0].fleet

    front = Front(
        settings=Settings(
            limits=limits or Limits(), host=host, keys=options or KeyOptions(), cors_origins=tuple(cors_origins)
        ),
        catalog=Catalog(source or QuietSource(), file, BASE, mark),
        tokenizer=tokens,
        backend=Backend(
            served=ServedBase(BASE_NAME, BASE, "/nowhere", CONTEXT, len(tokens)),
            generate=engine.generate,
            ready=ready,
            feedback=feedback,
            inspect=inspect,
        ),
        metrics=GatewayMetrics(CollectorRegistry(), metrics or MetricsOptions()),
    )
    made.append(World(engine, create_app(front), front.metrics))
    return made[0]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that ends with ``[DONE]``."""
    parts = response.text.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""], response.text[-200:]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


USER = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "acme/support", "messages": USER} | more


def completion(**more: Any) -> dict[str, Any]:
    return {"model": "acme/support", "prompt": "hello"} | more
