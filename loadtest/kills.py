"""What clients see when a process of the system is killed: each process in turn, under traffic.

The service is started here, so that only its processes are killed:

    python -m loadtest.kills --out kills.json
    python -m loadtest.kills --code ../earlier --role raylet --role gateway     # another checkout's service
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.killing.outcome import Outcome
from loadtest.killing.roles import SCENES
from loadtest.killing.service import Service
from loadtest.killing.trial import Trial
from loadtest.machine import provenance


def main() -> int:
    """Kill, print the table, write the JSON; returns 1 if something acknowledged was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, default=Path.cwd(), help="checkout whose service is run (this one)")
    parser.add_argument("--role", action="append", choices=sorted(SCENES), help="may be repeated; all by default")
    parser.add_argument("--times", type=int, default=1, help="kills of each role")
    parser.add_argument("--limit-s", type=float, default=120.0, help="how long to wait for service again")
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--registry-port", type=int, default=8850)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        service = Service(args.code.resolve(), Path(scratch), args.port, args.registry_port)
        try:
            for role in args.role or SCENES:
                for _ in range(args.times):
                    outcome = Trial(service, role, args.limit_s).run()
                    if outcome is None:
                        print(f"{role}: there is no such process", file=sys.stderr)
                        break
                    print(json.dumps(asdict(outcome)), file=sys.stderr, flush=True)
                    outcomes.append(outcome)
                    _write(args.out, outcomes, service)
        finally:
            service.stop()
    _print(outcomes)
    return int(any(outcome.lost for outcome in outcomes))


def _write(out: Path | None, outcomes: list[Outcome], service: Service) -> None:
    """Called after each kill, so that a later failure loses no result."""
    if out is not None:
        document = provenance() | {"service": service.commit(), "kills": [asdict(outcome) for outcome in outcomes]}
        out.write_text(json.dumps(document, indent=1) + "\n")


def _print(outcomes: list[Outcome]) -> None:
    table = Table("killed", "served again", "streams", "requests", "longest answer", "up", "lost")
    for role in dict.fromkeys(outcome.role for outcome in outcomes):
        of_role = [outcome for outcome in outcomes if outcome.role == role]
        table.add_row(role, _back(of_role), *of_role[-1].cells())
    Console().print(table)


def _back(outcomes: list[Outcome]) -> str:
    """The median time until requests succeed, over the kills after which they did."""
    times = [outcome.back_s for outcome in outcomes if outcome.back_s is not None]
    never = len(outcomes) - len(times)
    shown = f"{statistics.median(times):.1f} s" if times else ""
    return " ".join(part for part in (shown, f"never ({never} of {len(outcomes)})" if never else "") if part)


if __name__ == "__main__":
    sys.exit(main())
