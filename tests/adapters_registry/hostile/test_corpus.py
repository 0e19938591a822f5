"""Every bad artifact is refused with its own code by the bounded check, and this process keeps nothing of them."""

from __future__ import annotations

import re
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
from adapters_registry.kinds import ArtifactFile, check_files
from adapters_registry.manifest import File
from tests.adapters_registry.hostile.case import LIMITS, MIB, Case, base
from tests.adapters_registry.hostile.corpus import CORPUS
from tests.adapters_registry.hostile.memory import Memory

GROWTH_BYTES = 32 * MIB
"""Far below the largest artifact, and below all of them together."""
REMEDY = re.compile(r"\b(save|push|train|send|raise|run|name|shorten|convert)\b", re.IGNORECASE)


def submit(written: list[tuple[str, Path]]) -> Inspection:
    """As a commit does: the paths by the wire's rules, the files as such, then the check."""
    artifact = []
    for claimed, path in written:
        try:
            file = File.model_validate(describe(path).model_dump() | {"path": claimed})
        except ValidationError as error:
            raise invalid(error) from None
        artifact.append(ArtifactFile(file, partial(path.open, "rb")))
    check_files([entry.file for entry in artifact], LIMITS)
    return check(base(), artifact, LIMITS)


def refusal(written: list[tuple[str, Path]]) -> RegistryError | None:
    try:
        submit(written)
    except RegistryError as error:
        return error
    return None


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


@pytest.fixture(scope="module")
def refusals(memory: Memory, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RegistryError | None]:
    """Of each case, two at once as the registry does."""
    directory = tmp_path_factory.mktemp("hostile")
    written = [list(case.write(directory / str(number))) for number, case in enumerate(CORPUS)]
    memory.start()
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(refusal, written))
    memory.stop()
    return {case.what: error for case, error in zip(CORPUS, found, strict=True)}


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.what)
def test_refused_by_code_and_name(case: Case, refusals: dict[str, RegistryError | None]) -> None:
    error = refusals[case.what]
    assert error is not None, "it was accepted"
    assert (error.code, error.param) == (case.code, case.param), error.message
    assert 400 <= STATUS[type(error)] < 500
    assert len(error.message) <= 1000
    assert case.code == "invalid_value" or REMEDY.search(error.message), error.message


def test_nothing_of_them_is_kept(
    refusals: dict[str, RegistryError | None], memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{len(refusals)} bad artifacts: at most {memory.growth_bytes / MIB:.1f} MiB more resident")
    assert memory.growth_bytes < GROWTH_BYTES


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    assert len(CORPUS) >= 60
    assert len({case.what for case in CORPUS}) == len(CORPUS)
