"""Sends fuzzed requests to both planes: no death, no 5xx but 503, 504 and 507 with known codes, memory flat.

python -m tests.fuzz --count 100000        (half an hour on a quiet machine; exits with 1 if anything broke)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="of both planes, four fifths raw bytes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = asyncio.run(fuzz(options.count, options.seed))
    print(json.dumps(result, indent=1))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
