"""A client library at the other end of a pipe: calls come as lines of JSON, and so do answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer(calls: Mapping[str, Callable[..., Any]]) -> None:
    """Make each call that is asked for; tell what it gave, or what it raised."""
    # What libraries print is talk.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            told = {"gave": calls[asked["call"]](**asked["how"])}
        except Exception as error:  # noqa: BLE001 - that it raised is what is asked for
            told = {"raised": type(error).__name__, "words": str(error)}
        print(json.dumps(told), file=out, flush=True)
