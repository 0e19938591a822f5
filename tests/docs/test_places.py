"""README's table of places names what exists, and names every package of the service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SOURCES = ("service", "adapters_registry", "examples", "deploy", "loadtest", "tests", "docs")


def named() -> set[str]:
    """The paths in the first cells of the table."""
    table = README.split("## Where things live")[1]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {path.rstrip("/") for cell in cells for path in re.findall(r"`([^`]+)`", cell)}


def test_every_path_exists() -> None:
    assert [path for path in sorted(named()) if not (ROOT / path).exists()] == []


def test_every_source_folder_and_every_package_of_the_service_is_named() -> None:
    packages = {str(found.parent.relative_to(ROOT)) for found in ROOT.glob("service/*/__init__.py")}
    assert ({*SOURCES, *packages}) - named() == set()


@pytest.mark.parametrize("page", ["README.md", "docs", "deploy", "examples"])
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    pages = [ROOT / page] if page.endswith(".md") else sorted((ROOT / page).glob("*.md"))
    broken = [
        f"{one.relative_to(ROOT)}: {target}"
        for one in pages
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", one.read_text())
        if not _leads_somewhere(one, target)
    ]
    assert pages
    assert broken == []


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    return there.exists() and (not anchor or anchor in anchors(there))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_top_level_folders_of_source_are_all_known() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    folders = {file.split("/")[0] for file in files if "/" in file and not file.startswith(".")}
    assert folders == set(SOURCES)
