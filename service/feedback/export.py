"""Exports the feedback log as files of training rows, with a manifest of their sources.

::

    out/conversational-train.jsonl       rows whose prompt is a conversation
    out/conversational-held_out.jsonl    prompts held out from training
    out/standard-train.jsonl             rows whose prompt is a text
    out/standard-held_out.jsonl
    out/manifest.json                    written last: if it exists, the export is complete

Empty files are not written. The same log and selection give the same bytes. Whether a prompt is held out depends only
on the prompt, so it is the same in every format and every export.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from adapters_registry.support.durable import write_whole
from service.errors import InvalidValue, StorageFailed
from service.feedback.disk import storage_errors
from service.feedback.events import FeedbackEvent, Prompt, ResponseRecord
from service.feedback.log import parse_entry
from service.feedback.manifest import ExportedFile, Manifest, Selection, Split
from service.feedback.reading import START, Offset, read_directory, read_frame, segment_path
from service.feedback.row_files import RowFiles
from service.feedback.rows import COLUMNS, Left, rows
from service.feedback.said import Answer, answers
from service.feedback.verdicts import Answered, Standing, Verdicts

NOT_SELECTED, SENT_TWICE, DUPLICATE = "not_selected", "sent_twice", "duplicate"
"""Reasons of ``Manifest.left`` in addition to those of ``Left``: not of a selected adapter; a duplicate event; a
duplicate row."""


def export(events: Path, selection: Selection, out: Path) -> Manifest:
    """Write the feedback in the log directory ``events`` to ``out``, which must be empty or absent.

    The service may run meanwhile; events that it appends after the start are not exported. Takes about 500 bytes of
    memory per event, and 200 per pair of a ranking. Raises ``InvalidValue``, ``StorageFailed``, ``StorageFull``.
    """
    if not events.is_dir():
        raise InvalidValue(f"{events} is no feedback log: set data_dir to the service's", param="data_dir")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidValue(f"{out} is not an empty directory: name a new one", param="out")
    with storage_errors("writing the export"):
        out.mkdir(parents=True, exist_ok=True)
        tally = _Tally()
        log = _Log(events)
        with RowFiles(out, selection.format) as files:
            for judged in log.counting(selection, tally):
                _export_event(judged, selection, tally, files)
            manifest = tally.manifest(selection, files.publish())
        write_whole(out / "manifest.json", [manifest.model_dump_json(indent=2).encode(), b"\n"])
    return manifest


def split_of(prompt: Prompt, held_out: float) -> Split:
    """The split of a prompt, by the hash of its texts."""
    texts = (
        prompt if isinstance(prompt, str) else [turn if isinstance(turn, int) else turn.content for turn in prompt]
    )
    digest = sha256(json.dumps(texts).encode()).digest()
    return "held_out" if int.from_bytes(digest[:8]) < held_out * 2**64 else "train"


@dataclass
class _Tally:
    """The manifest's contents so far."""

    events: int = 0
    left: Counter[str] = field(default_factory=Counter)
    times: list[datetime] = field(default_factory=list)
    """The oldest and the newest time."""
    adapters: Counter[str] = field(default_factory=Counter)
    bases: Counter[str] = field(default_factory=Counter)

    def used(self, event: FeedbackEvent, records: list[ResponseRecord]) -> None:
        times = [*self.times, event.created_at]
        self.times = [min(times), max(times)]
        self.adapters.update({record.digest for record in records})
        self.bases.update({record.base_digest for record in records})

    def manifest(self, selection: Selection, files: tuple[ExportedFile, ...]) -> Manifest:
        return Manifest(
            selection=selection,
            columns=COLUMNS[selection.format],
            files=files,
            rows=sum(file.rows for file in files),
            events=self.events,
            left=dict(sorted(self.left.items())),
            first=self.times[0] if self.times else None,
            last=self.times[-1] if self.times else None,
            adapters=dict(sorted(self.adapters.items())),
            bases=dict(sorted(self.bases.items())),
        )


class _Judged(NamedTuple):
    """An event that counts, and the responses and answers that it is about."""

    event: FeedbackEvent
    records: list[ResponseRecord]
    answered: list[Answered]
    standing: Standing


def _export_event(judged: _Judged, selection: Selection, tally: _Tally, files: RowFiles) -> None:
    tally.events += 1
    gave_rows = False
    for row in rows(selection.format, judged.event.said, judged.answered, judged.standing, selection.include):
        if isinstance(row, Left):
            tally.left[row.value] += 1
        elif files.write(row, split_of(row.prompt, selection.held_out)):
            gave_rows = True
        else:
            tally.left[DUPLICATE] += 1
    if gave_rows:
        tally.used(judged.event, judged.records)


class _Log:
    """The events that count, in the log's order, and the responses that they are about."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._responses: dict[str, Offset] = {}
        self._last = START
        self._end: Offset | None = None
        """The last line of the first pass, at which the second one ends."""
        # Most events are in the frame of their response, or soon after it.
        self._frame = lru_cache(maxsize=8)(self._read_frame)

    def counting(self, selection: Selection, tally: _Tally) -> Iterator[_Judged]:
        """Reads the log twice: first for each judge's last verdicts. Verdicts that are not selected replace none."""
        verdicts = Verdicts()
        for number, event in self._once(selection, Counter()):
            verdicts.add(number, event, self._answered(event)[1])
        self._end = self._last
        for number, event in self._once(selection, tally.left):
            records, answered = self._answered(event)
            standing = verdicts.standing(number, event, answered)
            if standing.any():
                yield _Judged(event, records, answered, standing)
            else:
                tally.left[Left.SUPERSEDED.value] += 1

    def _once(self, selection: Selection, left: Counter[str]) -> Iterator[tuple[int, FeedbackEvent]]:
        """The selected events without duplicates, numbered from 1; ``left`` counts the others."""
        seen: set[str] = set()
        for event in self._events(selection):
            if event.id in seen:
                left[SENT_TWICE] += 1
            elif selection.adapters and not self._is_of(event, set(selection.adapters)):
                left[NOT_SELECTED] += 1
            else:
                seen.add(event.id)
                yield len(seen), event

    def _is_of(self, event: FeedbackEvent, adapters: set[str]) -> bool:
        return any(_names(record) & adapters for record in self._answered(event)[0])

    def _answered(self, event: FeedbackEvent) -> tuple[list[ResponseRecord], list[Answered]]:
        """The judged responses and answers. Raises ``StorageFailed`` if the log lacks one."""
        targets = answers(event.said)
        known = {answer.response_id: self._response(answer) for answer in targets}
        records = [known[answer.response_id] for answer in targets]
        answered = [_answered(record, answer.choice) for record, answer in zip(records, targets, strict=True)]
        return records, answered

    def _response(self, answer: Answer) -> ResponseRecord:
        offset = self._responses.get(answer.response_id)
        record = None
        if offset is not None:
            record = parse_entry(self._frame(offset.segment, offset.position)[offset.line], offset).response
        if record is None:
            raise StorageFailed(f"the feedback log lacks response {answer.response_id}: restore its oldest segments")
        return record

    def _events(self, selection: Selection) -> Iterator[FeedbackEvent]:
        for offset, line in read_directory(self._directory):
            if self._end is not None and offset > self._end:
                return
            self._last = offset
            entry = parse_entry(line, offset)
            if entry.response is not None and entry.response.tenant == selection.tenant:
                self._responses.setdefault(entry.response.id, offset)
            elif entry.event is not None and _selected(entry.event, selection):
                yield entry.event

    def _read_frame(self, segment: int, position: int) -> list[bytes]:
        return read_frame(segment_path(self._directory, segment), segment, position)


def _selected(event: FeedbackEvent, selection: Selection) -> bool:
    """Applies the selection except for adapters, whose names are in the responses."""
    return (
        event.tenant == selection.tenant
        and (not selection.sources or event.said.source in selection.sources)
        and (selection.since is None or event.created_at >= selection.since)
        and (selection.until is None or event.created_at < selection.until)
    )


def _answered(record: ResponseRecord, choice: int) -> Answered:
    given = record.choices[choice]
    return Answered(record.prompt(choice), given.text, given.finish)


def _names(record: ResponseRecord) -> set[str]:
    """The names and digests by which a selection can name the response's adapters."""
    return {record.digest, *(f"{adapter.tenant}/{adapter.name}" for adapter in record.adapters)}
