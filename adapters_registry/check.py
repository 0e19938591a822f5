"""Checks an uploaded artifact in a separate process, which bounds the memory and time that an artifact can use."""

from __future__ import annotations

import hashlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from adapters_registry.allowances import NOTHING, Allowances
from adapters_registry.blobs import storage_error
from adapters_registry.check_child import READY, Answer, Given, Job
from adapters_registry.choosing import UNCHECKED, Bases, OtherBase
from adapters_registry.errors import CheckFailed, CheckUnavailable, DigestMismatch, RegistryError, from_code
from adapters_registry.findings import Inspection
from adapters_registry.kinds import ArtifactFile
from adapters_registry.manifest import BaseManifest, File
from adapters_registry.settings import Limits

CHILD = ("-P", "-m", "adapters_registry.check_child")
ANSWER_BYTES = 32 << 20
"""Bound on the child's output: it repeats names of tensors and modules a few times, and all of them fit in 1 MiB."""
_PIECE_BYTES = 1 << 20
_RETRY_S = 5.0
_KILLS = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
"""Signals from outside: the machine is short of memory, or is shutting down."""
_log = logging.getLogger(__name__)

Check = Callable[[BaseManifest, Sequence[ArtifactFile], Limits, Allowances, Bases], Inspection]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the child ended."""

    output: bytes
    status: int
    """As in ``subprocess``: negative for a signal."""
    late: bool = False
    long: bool = False
    """Its output exceeded the bound."""


def check(
    base: BaseManifest,
    files: Sequence[ArtifactFile],
    limits: Limits,
    allowed: Allowances = NOTHING,
    bases: Bases = UNCHECKED,
    *,
    spool: Path | None = None,
    child: Sequence[str] = CHILD,
) -> Inspection:
    """Returns and raises as ``judge``. Raises ``CheckFailed`` if the artifact exceeds the child's bounds.

    Raises ``CheckUnavailable`` if the child did not finish for a reason outside the artifact. Blocks for at most
    ``limits.check_s``. Blobs that are not local files are copied first, into ``spool`` (None: the system's directory
    for temporary files).
    """
    with ExitStack() as stack:
        given = [
            Given(file=file.file, descriptor=stack.enter_context(_local(file, spool)).fileno()) for file in files
        ]
        job = Job(base=base, files=tuple(given), limits=limits, allowed=allowed, bases=bases)
        outcome = _run(job, child)
    return _read(outcome, job)


@contextmanager
def _local(artifact: ArtifactFile, spool: Path | None) -> Iterator[BinaryIO]:
    """The file, positioned at its start, in a form that the child can inherit."""
    with artifact.open() as file:
        if _has_descriptor(file):
            yield file
            return
        with _unnamed(spool) as copy:
            hashed = hashlib.sha256()
            while piece := file.read(_PIECE_BYTES):
                hashed.update(piece)
                copy.write(piece)
            found = f"sha256:{hashed.hexdigest()}"
            if found != artifact.file.digest:
                raise DigestMismatch(
                    f"The stored bytes of {artifact.file.path} are {found}, not {artifact.file.digest}: "
                    "upload it again.",
                    param=artifact.file.path,
                )
            copy.seek(0)
            yield copy


def _has_descriptor(file: BinaryIO) -> bool:
    try:
        file.fileno()
    except OSError:  # io.UnsupportedOperation
        return False
    return True


@contextmanager
def _unnamed(directory: Path | None = None) -> Iterator[BinaryIO]:
    """A file without a name, which is deleted when it is closed."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            yield file
    except OSError as error:
        raise storage_error(error) from error


def _run(job: Job, child: Sequence[str]) -> _Outcome:
    descriptors = [given.descriptor for given in job.files]
    with _unnamed() as question:
        question.write(job.model_dump_json().encode())
        question.seek(0)
        try:
            process = subprocess.Popen(
                [sys.executable, *child],
                stdin=question,
                stdout=subprocess.PIPE,
                pass_fds=descriptors,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        except OSError as error:
            raise CheckUnavailable(
                f"The check of the artifact could not be started ({error.strerror}): repeat the request.",
                retry_after_s=_RETRY_S,
            ) from error
    with process:
        try:
            return _watch(process, time.monotonic() + job.limits.check_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """The variables that Python needs to find modules, without secrets; one thread, since each takes address
    space."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return kept | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _watch(process: subprocess.Popen[bytes], deadline: float) -> _Outcome:
    assert process.stdout is not None
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) <= ANSWER_BYTES:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return _Outcome(bytes(output), 0, late=True)
            piece = os.read(process.stdout.fileno(), _PIECE_BYTES)
            if not piece:
                break
            output += piece
        else:
            return _Outcome(b"", 0, long=True)
    try:
        return _Outcome(bytes(output), process.wait(max(0.0, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        return _Outcome(bytes(output), 0, late=True)


def _read(outcome: _Outcome, job: Job) -> Inspection:
    if not outcome.output.startswith(READY) and not outcome.long:
        raise _unavailable("did not start in time" if outcome.late else f"did not start (status {outcome.status})")
    if outcome.late:
        raise _unavailable(f"took over {job.limits.check_s:g} s (limits.check_s) on this machine")
    if outcome.long:
        raise _failed("gave an endless answer")
    if outcome.status:
        raise _ended(-outcome.status, job)
    try:
        answer = Answer.model_validate_json(outcome.output.removeprefix(READY))
    except ValidationError:
        raise _failed("gave no answer") from None
    return _accept(answer, job)


def _ended(number: int, job: Job) -> RegistryError:
    if number in _KILLS:
        return _unavailable(f"was killed by another ({signal.Signals(number).name})")
    if number == signal.SIGXCPU:
        return _failed(
            f"took over {job.limits.check_s / 2:g} s of processor time (half of limits.check_s)",
            "push a smaller adapter, or raise the limit",
        )
    return _failed(f"crashed ({signal.strsignal(number) if number > 0 else f'status {-number}'})")


def _accept(answer: Answer, job: Job) -> Inspection:
    if answer.refusal is not None:
        raise from_code(answer.refusal.code, answer.refusal.message, param=answer.refusal.param)
    if answer.other_base is not None and answer.other_base in {base.digest for base in job.bases.known}:
        raise OtherBase(answer.other_base)
    if answer.over_memory:
        raise _failed(
            f"took over {job.limits.check_bytes} bytes of memory (limits.check_bytes)",
            "push an adapter of a lower rank, or raise the limit",
        )
    if answer.defect is not None:
        _log.error("the check of an artifact failed", extra={"trace": answer.defect})
        raise _failed("failed on it")
    found = answer.inspection
    files: Sequence[File] = sorted((given.file for given in job.files), key=lambda file: file.path)
    if found is None or found.manifest.base != job.base.digest or found.manifest.files != tuple(files):
        raise _failed("gave an answer to another question")
    return found


def _failed(what: str, remedy: str = "save the adapter again with save_pretrained, then push it") -> CheckFailed:
    return CheckFailed(f"The check of the artifact {what}: {remedy}.", param="files")


def _unavailable(what: str) -> CheckUnavailable:
    return CheckUnavailable(f"The check of the artifact {what}: repeat the request.", retry_after_s=_RETRY_S)
