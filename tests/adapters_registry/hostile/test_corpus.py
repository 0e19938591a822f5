"""Every bad artifact is refused with its own code: the large ones and a sample by the bounded check, whose caller
keeps nothing of them, the others in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters_registry.api.status import STATUS, invalid
from adapters_registry.check import check
from adapters_registry.errors import RegistryError
from adapters_registry.findings import Inspection
from adapters_registry.folder import describe
from adapters_registry.kinds import ArtifactFile, check_files, judge
from adapters_registry.manifest import BaseManifest, File
from adapters_registry.settings import Limits
from tests.adapters_registry.hostile.case import LIMITS, MIB, Case, base
from tests.adapters_registry.hostile.corpus import CORPUS
from tests.adapters_registry.hostile.memory import Memory
from tests.sampling import sample

GROWTH_BYTES = 32 * MIB
"""Far below the largest artifact, and below all of them together."""
SAMPLE = 16
"""Artifacts of usual size that the child is asked about in the default run."""
LARGE_BYTES = 1 << 18
Judge = Callable[[BaseManifest, Sequence[ArtifactFile], Limits], Inspection]
REMEDY = re.compile(r"\b(save|push|train|send|raise|run|name|shorten|convert)\b", re.IGNORECASE)


def listed(written: list[tuple[str, Path]]) -> list[ArtifactFile]:
    """As a commit takes them: the paths by the wire's rules, the files as such."""
    artifact = []
    for claimed, path in written:
        try:
            file = File.model_validate(describe(path).model_dump() | {"path": claimed})
        except ValidationError as error:
            raise invalid(error) from None
        artifact.append(ArtifactFile(file, partial(path.open, "rb")))
    check_files([entry.file for entry in artifact], LIMITS)
    return artifact


def refusal(judge: Judge, written: list[tuple[str, Path]]) -> RegistryError | None:
    try:
        judge(base(), listed(written), LIMITS)
    except RegistryError as error:
        return error
    return None


def is_large(written: list[tuple[str, Path]]) -> bool:
    return any(path.stat().st_size > LARGE_BYTES for _, path in written)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, Path]]]:
    directory = tmp_path_factory.mktemp("hostile")
    return {case.what: list(case.write(directory / str(number))) for number, case in enumerate(CORPUS)}


def refused_by_children(
    written: dict[str, list[tuple[str, Path]]], capsys: pytest.CaptureFixture[str]
) -> dict[str, RegistryError | None]:
    """Of each case, two at once as the registry does; this process keeps nothing of them."""
    memory = Memory()
    memory.start()
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(partial(refusal, check), written.values()))
    memory.stop()
    with capsys.disabled():
        print(f"\n{len(found)} bad artifacts: at most {memory.growth_bytes / MIB:.1f} MiB more resident")
    assert memory.growth_bytes < GROWTH_BYTES
    return dict(zip(written, found, strict=True))


def verify(case: Case, error: RegistryError | None) -> None:
    assert error is not None, f"{case.what}: it was accepted"
    assert (error.code, error.param) == (case.code, case.param), f"{case.what}: {error.message}"
    assert 400 <= STATUS[type(error)] < 500
    assert len(error.message) <= 1000
    assert case.code == "invalid_value" or REMEDY.search(error.message), error.message


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.what)
def test_refused_by_code_and_name(case: Case, written: dict[str, list[tuple[str, Path]]]) -> None:
    """In this process; the large ones are the child's alone."""
    if not is_large(written[case.what]):
        verify(case, refusal(judge, written[case.what]))


def test_the_child_refuses_the_large_ones_and_a_sample_alike(
    written: dict[str, list[tuple[str, Path]]], capsys: pytest.CaptureFixture[str]
) -> None:
    large = [case for case in CORPUS if is_large(written[case.what])]
    assert len(large) >= 8
    rest = [case for case in CORPUS if case not in large]
    cases = large + sample(rest, SAMPLE, "hostile artifacts")
    found = refused_by_children({case.what: written[case.what] for case in cases}, capsys)
    for case in cases:
        verify(case, found[case.what])


@pytest.mark.slow
def test_the_child_refuses_every_one(
    written: dict[str, list[tuple[str, Path]]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused_by_children(written, capsys)
    for case in CORPUS:
        verify(case, found[case.what])


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    assert len(CORPUS) >= 60
    assert len({case.what for case in CORPUS}) == len(CORPUS)
