"""What the tests of this folder share lies beside this file: any of them may import it by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
