"""Writes rows to JSONL files, one per form and split, without duplicate rows; files are complete or absent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b, sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from adapters_registry.support.durable import write_whole
from service.feedback.manifest import ExportedFile, Split
from service.feedback.rows import Form, Format, Row, columns

_CHUNK_BYTES = 1 << 20


class RowFiles:
    """Collects rows in unnamed files; ``publish`` writes them under their names. A context manager."""

    def __init__(self, out: Path, format: Format) -> None:
        self._out = out
        self._format = format
        self._open_files = ExitStack()
        self._parts: dict[tuple[Form, Split], IO[bytes]] = {}
        self._counts: Counter[tuple[Form, Split]] = Counter()
        self._written: set[bytes] = set()

    def __enter__(self) -> RowFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    def write(self, row: Row, split: Split) -> bool:
        """Returns False if the same row was written before."""
        form, values = columns(self._format, row)
        line = json.dumps(values, ensure_ascii=False).encode() + b"\n"
        digest = blake2b(line, digest_size=16).digest()
        if digest in self._written:
            return False
        self._written.add(digest)
        self._part(form, split).write(line)
        self._counts[form, split] += 1
        return True

    def publish(self) -> tuple[ExportedFile, ...]:
        """Writes each file durably under its name."""
        return tuple(self._published(form, split) for form, split in sorted(self._parts))

    def _part(self, form: Form, split: Split) -> IO[bytes]:
        part = self._parts.get((form, split))
        if part is None:
            part = self._open_files.enter_context(TemporaryFile(dir=self._out))  # noqa: SIM115  closed by the stack
            self._parts[form, split] = part
        return part

    def _published(self, form: Form, split: Split) -> ExportedFile:
        name = f"{form}-{split}.jsonl"
        part = self._parts[form, split]
        part.seek(0)
        digest = sha256()

        def chunks() -> Iterator[bytes]:
            while chunk := part.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield chunk

        write_whole(self._out / name, chunks())
        return ExportedFile(
            name=name,
            form=form,
            split=split,
            rows=self._counts[form, split],
            bytes=part.tell(),
            digest=f"sha256:{digest.hexdigest()}",
        )
