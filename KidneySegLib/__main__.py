"""``python -m KidneySegLib`` is ``kidneyseg``."""

from __future__ import annotations

import sys

from KidneySegLib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
