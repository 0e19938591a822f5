"""``quickchange status`` for people."""

from __future__ import annotations

from collections import Counter

from service.commands.output import print_table, say, size
from service.commands.status_values import UNREACHABLE, Held, Problem, Replica, Status

NONE = "-"
"""Shown for a part that did not answer."""


def print_status(found: Status) -> None:
    registry = found.registry
    print_table(
        ("PART", "WHERE", "STATE", "HOLDS"),
        [
            ("service", found.url, "ready" if found.ready else "not ready", _holds(found)),
            (
                "registry",
                found.registry_url,
                _reachable(found),
                f"{registry.adapters} adapters, {registry.versions} versions, base {registry.base or NONE}"
                if registry
                else NONE,
            ),
        ],
    )
    say("")
    print_table(
        ("REPLICA", "BACKEND", "RUNNING", "WAITING", "KV BLOCKS", "ADAPTERS", "BYTES"),
        map(_row, found.replicas) if found.replicas is not None else [(NONE,) * 7],
    )
    held = [(replica.replica, adapter) for replica in found.replicas or [] for adapter in replica.adapters]
    if held:
        say("")
        print_table(
            ("ADAPTER", "REPLICA", "STATE", "IN USE BY", "IDLE", "SIZE", "ERROR"),
            [_held(replica, adapter) for replica, adapter in held],
        )
    if found.request_log is not None:
        say("")
        say(f"requests are logged in {found.request_log}")
    # A problem of the whole service affects all parts: it is printed once.
    for message, parts in _by_message(found.problems).items():
        say(f"{', '.join(parts)}: {message}")


def _reachable(found: Status) -> str:
    if any((problem.part, problem.code) == ("registry", UNREACHABLE) for problem in found.problems):
        return "not reachable"
    return "reachable" if found.registry else "refuses"


def _by_message(problems: list[Problem]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for problem in problems:
        parts.setdefault(problem.message, []).append(problem.part)
    return parts


def _holds(found: Status) -> str:
    return NONE if found.models is None else f"base {found.base or NONE}, {found.models} models"


def _row(replica: Replica) -> tuple[str, ...]:
    states = Counter(adapter.state for adapter in replica.adapters)
    return (
        replica.replica,
        replica.backend or NONE,
        _count(replica.running),
        _count(replica.waiting),
        _blocks(replica),
        ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or NONE,
        size(sum(adapter.bytes for adapter in replica.adapters)),
    )


def _blocks(replica: Replica) -> str:
    used, total = replica.kv_blocks_used, replica.kv_blocks_total
    if used is None or total is None:
        return NONE
    return f"{used} of {total} ({used / total if total else 0.0:.0%})"


def _count(number: int | None) -> str:
    return NONE if number is None else str(number)


def _held(replica: str, adapter: Held) -> tuple[str, ...]:
    retry = "" if adapter.retry_after_s is None else f", again in {adapter.retry_after_s:.0f} s"
    return (
        adapter.adapter,
        replica,
        adapter.state,
        _count(adapter.leases),
        NONE if adapter.leases or adapter.idle_s is None else f"{adapter.idle_s:.0f} s",
        size(adapter.bytes),
        f"{adapter.error}{retry}" if adapter.error else NONE,
    )
