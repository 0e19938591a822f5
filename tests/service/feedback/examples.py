"""Responses and feedback on them, and a disk that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.feedback.disk import Disk
from service.feedback.events import Adapter, Author, FeedbackEvent, Given, Prompt, ResponseRecord, Turn, event_of
from service.feedback.said import FeedbackInput, answers
from service.feedback.wire import parse_inputs
from service.settings import FeedbackOptions
from service.values import FinishReason, SamplingParams

BASE = "sha256:" + "b" * 64
SUPPORT = Adapter(tenant="acme", name="support", version=3, digest="sha256:" + "a" * 64)
OTHER = Adapter(tenant="acme", name="other", version=1, digest="sha256:" + "c" * 64)
ACME = Author("acme", "key-1")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HI: Prompt = (Turn(role="system", content="be brief"), Turn(role="user", content="hi"))

OPTIONS = FeedbackOptions(segment_bytes=4096, gather_s=0.0, wait_s=0.05)


def response(
    name: str,
    *texts: str,
    tenant: str = "acme",
    adapter: Adapter | None = SUPPORT,
    prompts: tuple[Prompt, ...] = (HI,),
    finish: FinishReason = FinishReason.STOP,
) -> ResponseRecord:
    return ResponseRecord(
        id=name,
        tenant=tenant,
        model=f"{adapter.tenant}/{adapter.name}@{adapter.version}" if adapter else "base",
        adapters=() if adapter is None else (adapter,),
        base_digest=BASE,
        prompts=prompts,
        choices=tuple(Given(text=text, finish=finish) for text in texts or ("hello",)),
        sampling=SamplingParams(max_tokens=8, logit_bias=((1, 2.0),)),
        stops=("\n",),
        created_at=NOON,
    )


def one(**fields: object) -> FeedbackInput:
    return parse_inputs(fields, most=1)[0]


def at(name: str, choice: int = 0) -> dict[str, object]:
    return {"response_id": name, "choice": choice}


def good(name: str = "r1", key: str | None = None, value: bool = True) -> FeedbackInput:
    return one(kind="binary", target=at(name), value=value, idempotency_key=key)


def event(
    said: FeedbackInput,
    records: Mapping[str, ResponseRecord] | None = None,
    *,
    author: Author = ACME,
    minute: int = 0,
) -> FeedbackEvent:
    known = records or {}
    behind = [known.get(answer.response_id) or response(answer.response_id) for answer in answers(said)]
    return event_of(said, author, behind, NOON + timedelta(minutes=minute))


class UnsyncedDisk(Disk):
    """For tests whose processes live on and whose many fsyncs would take long."""

    def sync(self, file: int) -> None: ...

    def sync_directory(self, path: Path) -> None: ...


class FailingDisk(Disk):
    """Fails the calls named, from now on, each with its error number; writes half before it does."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}

    def create(self, path: Path) -> int:
        self._maybe("create")
        return super().create(path)

    def write(self, file: int, data: bytes, position: int) -> None:
        if "write" in self.failing:
            super().write(file, data[: len(data) // 2], position)
        self._maybe("write")
        super().write(file, data, position)

    def sync(self, file: int) -> None:
        self._maybe("sync")
        super().sync(file)

    def truncate(self, file: int, size: int) -> None:
        self._maybe("truncate")
        super().truncate(file, size)

    def sync_directory(self, path: Path) -> None:
        self._maybe("sync_directory")
        super().sync_directory(path)

    def _maybe(self, call: str) -> None:
        if call in self.failing:
            raise OSError(self.failing[call], os.strerror(self.failing[call]))


FULL, BROKEN = errno.ENOSPC, errno.EIO
