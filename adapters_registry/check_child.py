"""The process that reads one artifact: confined before it reads the first byte, and ended after its answer.

stdin     the job, one JSON object; the artifact's files are open descriptors
stdout    "ready\\n" once confined, then the answer, one JSON object
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from functools import partial
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.choosing import UNCHECKED, Bases, OtherBase
from adapters_registry.errors import RegistryError, StorageFailed
from adapters_registry.findings import Inspection
from adapters_registry.kinds import ArtifactFile, judge
from adapters_registry.manifest import BaseManifest, File
from adapters_registry.settings import Limits

READY = b"ready\n"
_MESSAGE_CHARS = 1000
_PARAM_CHARS = 200
"""Names in an artifact may be as long as its header."""
_TRACE_CHARS = 4000


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Given(_Value):
    """A file of the artifact under an inherited descriptor that stands at the file's start."""

    file: File
    descriptor: int


class Job(_Value):
    """Artifact, base and settings of one check."""

    base: BaseManifest
    files: tuple[Given, ...]
    limits: Limits
    allowed: Allowances = NOTHING
    bases: Bases = UNCHECKED


class Refusal(_Value):
    """An error of the tree in ``errors``."""

    code: str
    message: str
    param: str | None


class Answer(_Value):
    """Exactly one of these is set."""

    inspection: Inspection | None = None
    refusal: Refusal | None = None
    other_base: str | None = None
    """The digest of the other base that the config names."""
    over_memory: bool = False
    defect: str | None = None
    """The trace of an unexpected exception."""


def main() -> None:
    """Answers the job on standard input."""
    job = Job.model_validate_json(sys.stdin.buffer.read())
    confine(job.limits)
    out = sys.stdout.buffer
    out.write(READY)
    out.flush()
    out.write(answer(job).model_dump_json().encode())
    out.flush()


def confine(limits: Limits) -> None:
    """Bounds memory and processor time; from then on nothing can be opened, connected, written to disk or started."""
    seconds = max(1, round(limits.check_s / 2))
    _limit(resource.RLIMIT_AS, limits.check_bytes)
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)  # soft below hard: SIGXCPU names the cause, SIGKILL does not
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        _limit(kind, 0)  # open files stay usable


def answer(job: Job) -> Answer:
    """The result or failure of ``job``, of bounded size."""
    files = [ArtifactFile(given.file, partial(_open, given.descriptor)) for given in job.files]
    try:
        return Answer(inspection=judge(job.base, files, job.limits, job.allowed, job.bases))
    except RegistryError as error:
        param = None if error.param is None else _clipped(error.param, _PARAM_CHARS)
        return Answer(refusal=Refusal(code=error.code, message=_clipped(error.message, _MESSAGE_CHARS), param=param))
    except OtherBase as other:
        return Answer(other_base=other.digest)
    except MemoryError:
        return Answer(over_memory=True)
    except OSError as error:
        message = f"The stored artifact could not be read ({error}): repeat the request."
        return Answer(refusal=Refusal(code=StorageFailed.code, message=message, param=None))
    except Exception:  # a hostile file may make the check raise anything: the parent reports it
        return Answer(defect=_clipped(traceback.format_exc()[-_TRACE_CHARS:], _TRACE_CHARS))


def _open(descriptor: int) -> BinaryIO:
    return os.fdopen(descriptor, "rb")


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(kind)
    wanted = (soft, soft if hard is None else hard)
    if most != resource.RLIM_INFINITY:
        wanted = (min(wanted[0], most), min(wanted[1], most))
    resource.setrlimit(kind, wanted)


def _clipped(text: str, chars: int) -> str:
    """Short, and encodable: an artifact's names may contain halves of surrogate pairs."""
    sendable = text.encode("utf-8", "backslashreplace").decode()
    if len(sendable) <= chars:
        return sendable
    tail = chars // 2  # the end of a message says what to do
    return sendable[: chars - tail - 1] + "…" + sendable[-tail:]


if __name__ == "__main__":
    main()
