"""``python -m service``: the same as ``quickchange``."""

import sys

from service.cli import main

sys.exit(main())
