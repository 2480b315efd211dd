"""What the parts of the lab's benchmark share: a server, and the load generator on its own core."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load.request import Request
from serving import Server, client_core, on_cores, server_core

from twofold.lab.arrivals import Arrivals, level
from twofold.lab.generator import Target, run_closed, run_open
from twofold.lab.loaded import Loaded

REQUEST = Request("/", expect="prediction")
BYTES = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LIMITS: dict[str, Any] = {"deadline_s": 1.0, "timeout_s": 10.0, "warm_up_s": 0.0}


@dataclass(frozen=True)
class LoadLab:
    """Where it is measured.

    Attributes:
        folder: For what is made meanwhile.
        quick: Whether a few seconds are enough.
    """

    folder: Path
    quick: bool

    def server(self, *work: float) -> Server:
        """A server of one core that works so long for each request; see `constant.py`."""
        script = Path(__file__).with_name("constant.py")
        command = [sys.executable, str(script), *map(str, work)]
        log = self.folder / "constant.log"
        return Server("constant", command, log, server_core(), announced=True)

    def offered(self, port: int, rate_per_s: float, seconds: float, **changes: Any) -> Loaded:
        """What came of a constant rate."""
        profile = level(rate_per_s, seconds, arrivals=Arrivals.CONSTANT)
        target = Target(("127.0.0.1", port), [BYTES], b"prediction")
        with on_cores(client_core()):
            return run_open(target, profile, **{**LIMITS, **changes})

    def asked(self, port: int, connections: int, seconds: float) -> Loaded:
        """What came of a closed loop."""
        target = Target(("127.0.0.1", port), [BYTES], b"prediction")
        with on_cores(client_core()):
            return run_closed(target, connections=connections, seconds=seconds, **LIMITS)
