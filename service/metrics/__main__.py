"""Writes ``docs/metrics.md``.

python -m service.metrics > docs/metrics.md
"""

from __future__ import annotations

from service.metrics.docs import table

print(table(), end="")
