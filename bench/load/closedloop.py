"""Closed-loop load: each connection asks again as soon as it is answered; by `wrk`.

It tells how much a server can do. It doesn't tell how long clients wait when more is asked of it
than that: a slow answer keeps its connection from asking, and so lowers the load.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from load.request import Request
from serving import Cores, Elsewhere, Server, all_cores, on_cores

TIMEOUT_S = 5
GRACE_S = 30
MARK = "result "

DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write("result ", string.format(
    '{"answers": %d, "us": %d, "p50_us": %.3f, "p99_us": %.3f, "max_us": %.3f, "bad": %d, ' ..
    '"errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency.max, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""
"""How wrk reports, in Lua."""


class NoWrk(Exception):
    """wrk isn't installed."""


@dataclass(frozen=True)
class Closed:
    """What a closed loop found.

    Attributes:
        connections: How many there were.
        per_s: Good answers a second.
        p50_ms: Median latency of all answers, refusals included; so are the next two.
        p99_ms: See `p50_ms`.
        max_ms: See `p50_ms`.
        bad: Answers with a status from 400 on.
        errors: Connections refused or broken, and timeouts.
        cpu_us: The server's CPU time for each answer.
        elsewhere_cores: Cores that others used meanwhile.
    """

    connections: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    bad: int
    errors: int
    cpu_us: float
    elsewhere_cores: float


def check_installed() -> None:
    """Say how to install wrk if it isn't there."""
    if shutil.which("wrk") is None:
        raise NoWrk("wrk: expected it in the PATH, got none. Install the Debian package wrk.")


def closed_loop(
    request: Request,
    server: Server,
    *,
    connections: int,
    seconds: int,
    folder: Path,
    cores: Cores | None = None,
) -> Closed:
    """Load a server from some connections, for some whole seconds."""
    check_installed()
    script = folder / "wrk.lua"
    script.write_text(_lua(request, folder), encoding="utf-8")
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_S}s", "--script", str(script)]
    command.append(f"http://127.0.0.1:{server.port}{request.path}")
    before_s, others = server.cpu_s(), Elsewhere(server)
    with on_cores(cores or all_cores()):
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds + GRACE_S
        )
    used_s = server.cpu_s() - before_s
    found = json.loads(done.stdout.rpartition(MARK)[2])
    return Closed(
        connections=connections,
        per_s=(found["answers"] - found["bad"]) / (found["us"] * 1e-6),
        p50_ms=found["p50_us"] * 1e-3,
        p99_ms=found["p99_us"] * 1e-3,
        max_ms=found["max_us"] * 1e-3,
        bad=found["bad"],
        errors=found["errors"],
        cpu_us=used_s * 1e6 / max(1, found["answers"]),
        elsewhere_cores=others.cores(),
    )


def _lua(request: Request, folder: Path) -> str:
    """The script that makes wrk send the request; JSON's strings are Lua's, too."""
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in request.headers
    ]
    if body := request.body_file(folder):
        lines += [
            'wrk.method = "POST"',
            f'wrk.headers["Content-Type"] = {json.dumps(request.type)}',
            f'local file = io.open({json.dumps(str(body))}, "rb")',
            'wrk.body = file:read("*a")',
            "file:close()",
        ]
    if request.paths:
        # Each in turn, rendered once: what the client costs is the same for one as for many.
        listed = ", ".join(json.dumps(path) for path in request.paths)
        lines += [
            f"local paths, at, rendered = {{{listed}}}, 0, {{}}",
            "function init() for i, path in ipairs(paths) do",
            ' rendered[i] = wrk.format("GET", path) end end',
            "function request() at = at % #rendered + 1 return rendered[at] end",
        ]
    return "\n".join(lines) + DONE
