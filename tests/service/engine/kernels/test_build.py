"""Compiling the kernels: once, whole, and refused with the compiler's own words."""

from __future__ import annotations

import logging
import stat
import threading
from pathlib import Path

import pytest

from service.engine.kernels import build
from service.engine.kernels.errors import NativeUnavailable
from service.engine.kernels.levels import LEVELS, supported_levels
from service.engine.load import load_engine
from service.errors import BaseUnavailable
from service.settings import EngineOptions
from tests.models import tiny_base

pytestmark = pytest.mark.skipif(not supported_levels(), reason="no level of the kernels runs on this processor")
PROBE = build.STEP


def compiler(folder: Path, script: str) -> None:
    """A ``g++`` that is this shell script."""
    path = folder / "g++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def compiled(cache: Path) -> list[str]:
    """What is there beside the locks."""
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


@pytest.fixture(autouse=True)
def small_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that compile in a moment: what is tested is the cache, not the kernels."""
    sources = tmp_path / "csrc"
    sources.mkdir()
    (sources / "one.h").write_text("inline int one() { return 1; }\n")
    (sources / PROBE).write_text('#include "one.h"\nextern "C" int probe() { return one(); }\n')
    monkeypatch.setattr(build, "SOURCES", sources)
    return sources


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one line for each run of the real compiler."""
    real, runs = build.find_compiler()[0], tmp_path / "runs"
    compiler(tmp_path, f'case "$1" in --version) ;; *) echo run >> {runs} ;; esac\nexec {real} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return runs


def test_the_second_time_nothing_is_compiled(counted: Path, tmp_path: Path) -> None:
    level = supported_levels()[-1]
    first = build.library(level, tmp_path / "cache", PROBE)
    assert build.library(level, tmp_path / "cache", PROBE) == first
    assert counted.read_text().splitlines() == ["run"]
    assert compiled(tmp_path / "cache") == [first.name]


def test_of_replicas_that_need_it_at_once_one_compiles_it(counted: Path, tmp_path: Path) -> None:
    level, made = supported_levels()[-1], []
    threads = [
        threading.Thread(target=lambda: made.append(build.library(level, tmp_path / "cache", PROBE).read_bytes()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert made[0] == made[1]
    assert counted.read_text().splitlines() == ["run"]
    assert made[0].startswith(b"\x7fELF")


def test_other_sources_or_flags_are_another_library(small_sources: Path) -> None:
    key = build._key(PROBE, ("g++ 12", "-O3"))
    assert build._key(PROBE, ("g++ 12", "-O2")) != key
    assert build._key(PROBE, ("g++ 13", "-O3")) != key
    with (small_sources / "one.h").open("a") as header:
        header.write("// changed\n")
    assert build._key(PROBE, ("g++ 12", "-O3")) != key


def test_what_the_package_has_needs_no_compiler_while_it_is_of_these_sources(
    small_sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "COMPILED", tmp_path / "compiled")
    made = build.compile_into_package()
    assert [path.name.split("-")[1] for path in made] == [level.name for level in LEVELS]
    monkeypatch.setenv("PATH", str(tmp_path))
    level = supported_levels()[0]
    assert build.library(level, tmp_path / "cache") == made[LEVELS.index(level)]
    with (small_sources / "one.h").open("a") as header:
        header.write("// changed\n")
    with pytest.raises(NativeUnavailable):
        build.library(level, tmp_path / "cache", PROBE)


def test_no_compiler_and_a_broken_one_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailable, match=r"no C\+\+ compiler; install g\+\+ or clang\+\+"):
        build.library(supported_levels()[0], tmp_path / "cache", PROBE)
    compiler(tmp_path, 'case "$1" in --version) echo g++ 0 ;; *) echo "x.h:1: error: sorry" >&2; exit 1 ;; esac')
    with pytest.raises(NativeUnavailable, match=r"g\+\+ failed: x.h:1: error: sorry"):
        build.library(supported_levels()[0], tmp_path / "cache", PROBE)
    assert not compiled(tmp_path / "cache")


def test_without_a_compiler_auto_serves_with_torch_and_native_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = EngineOptions(kv_cache_bytes=1 << 20)
    with caplog.at_level(logging.INFO):
        engine = load_engine(tiny_base("llama"), options, name="mine", cache_dir=tmp_path / "cache")
    snapshot = engine.snapshot()
    assert snapshot.backend.startswith("torch")
    assert "torch computes instead of the native kernels" in (snapshot.fallback or "")
    [warned] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warned.getMessage() == snapshot.fallback
    [ready] = [record for record in caplog.records if record.message == "engine ready"]
    assert "no C++ compiler" in ready.__dict__["reason"]
    with pytest.raises(BaseUnavailable, match=r"mine cannot be served by the native backend: there is no C\+\+"):
        load_engine(
            tiny_base("llama"),
            options.model_copy(update={"backend": "native"}),
            name="mine",
            cache_dir=tmp_path / "cache",
        )
