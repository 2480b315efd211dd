"""The version of this package, where every floor may ask for it."""

from __future__ import annotations

VERSION = "0.1.0"
