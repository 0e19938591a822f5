"""Every task and thread that the packages start: kept going by ``background``, or somebody waits for its end."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import adapters_registry
import service

STARTS = {"create_task", "ensure_future", "Thread", "Timer", "run_coroutine_threadsafe"}

ENDS_SEEN = {
    "adapters_registry/background.py": "is the one way of keeping work going",
    "adapters_registry/edge/fresh.py": "who asks waits for it, and gets its failure",
    "adapters_registry/feed.py": "wakes the waiters once; holds nothing that can fail",
    "service/adapters/host_copies.py": "a load that waits for room waits for both",
    "service/adapters/loads.py": "a load answers all who wait for it, whatever happens",
    "service/api/disconnect.py": "the request waits for it",
    "service/api/run.py": "the request waits for each prompt's",
    "service/access/catalog_saver.py": "the file's writer waits for the write",
    "service/dispatch/tasks.py": "its caller waits for a call; a replica's stream goes on after any failure",
    "service/chat/session.py": "the conversation waits for it",
    "service/process/cluster.py": "waited for as long as a stop may take",
    "service/commands/up.py": "gives each result or failure to who asked",
    "service/engine/loop.py": "its death is the replica's, seen by the health check and by what runs there",
    "service/dispatch/feed.py": "greets one gateway",
    "service/feedback/commit.py": "each commit's failure goes to who submitted",
    "service/serve/listener.py": "Serve waits for its server",
    "service/serve/recorder.py": "its failure is the health check's",
    "service/serve/engine_host.py": "a request waits for its adapter",
    "service/support/threads.py": "its result or failure goes to who waits",
    "service/serve/warm.py": "imports ahead of need; a failure is for who needs the module",
}


def test_each_start_is_known() -> None:
    found: Counter[str] = Counter()
    for package in (service, adapters_registry):
        root = Path(package.__file__ or "").parent
        for path in root.rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            found[str(path.relative_to(root.parent))] += sum(_name(call.func) in STARTS for call in calls)
    assert {path for path, count in found.items() if count} == set(ENDS_SEEN)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
