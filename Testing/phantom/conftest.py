from __future__ import annotations

import sys
from pathlib import Path

# pytest's importlib mode leaves a test's own folder off the path.
sys.path.insert(0, str(Path(__file__).parent))
