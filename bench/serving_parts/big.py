"""Clients that send too slowly or too much, while others go on."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from contestants import V1_PATH, Lab
from load.openloop import LEAD_S, OpenLoop, Summary
from serving import Server, client_core, memory_mb, on_cores, server_core
from targets import Report, at_most, median

SLOW_CLIENTS = 500
SLOW_HEAD = f"POST {V1_PATH} HTTP/1.1\r\nHost: slow\r\nX-Slow: ".encode()
BACKLOG = 1_024
LAST_NICE = 19
GOOD_PER_S = 1_000.0
ROUNDS, SECONDS = 4, 4.0
QUICK_ROUNDS, QUICK_SECONDS = 2, 2.0
SLOW_RATIO = at_most(1.2)

BODY_BYTES, PIECE_BYTES = 50_000_000, 65_536
ANSWER_S = 20.0
BESIDE_PER_S, BESIDE_BEFORE_S, BESIDE_SECONDS = 200.0, 0.5, 3.0
MAX_BESIDE = at_most(20, "ms")


def run(lab: Lab, report: Report) -> None:
    """Measure and print."""
    report.begin("big", "one worker on one core, clients on another; open loop")
    request = lab.standard.as_list
    with lab.twofold("churn", "--workers=1", cores=server_core()) as server:
        server.wait_ready(request.is_answered)
        _slow_headers(lab, report, server)
        _big_body(lab, report, server, chunked=False)
        _big_body(lab, report, server, chunked=True)


# ---- slow headers


def _slow_headers(lab: Lab, report: Report, server: Server) -> None:
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if lab.quick else (ROUNDS, SECONDS)
    load = OpenLoop(lab.standard.as_list, [(GOOD_PER_S, seconds)], cores=client_core())
    alone: list[Summary] = []
    beside: list[Summary] = []
    reopened = 0
    # The slow clients use the client's core: alone, they do so, too, but talk to nobody.
    for _ in range(rounds):
        # Anew each time: whom nobody accepts stays in the queue, even when gone.
        nobody = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        with nobody, _slow_clients(nobody.getsockname()[1]):
            alone += load.run(server.port, lab.folder)
        with _slow_clients(server.port) as clients:
            beside += load.run(server.port, lab.folder)
            reopened += clients.reopened
    ratios = [b["p99_ms"] / a["p99_ms"] for a, b in zip(alone, beside, strict=True)]
    bad = sum(one["offered"] - one["statuses"].get("200", 0) for one in beside)
    p99_ms = [median([one["p99_ms"] for one in some]) or 0.0 for some in (alone, beside)]
    about = f"  {p99_ms[0]:.2f} ms alone, {p99_ms[1]:.2f} beside {SLOW_CLIENTS} slow clients"
    about += f" ({reopened} came again); {bad} not answered"
    name = f"p99 of {GOOD_PER_S:,.0f}/s beside slow headers / alone"
    report.check(name, median(ratios), SLOW_RATIO, about)
    report.keep("slow headers", {"alone": alone, "beside": beside, "reopened": reopened})


@dataclass
class SlowClients:
    """Clients that send a byte of their headers each second, for ever.

    Attributes:
        port: Whom they ask.
        connected: All are.
        reopened: Times that the server had enough of one, and it came again.
    """

    port: int
    connected: bool = False
    reopened: int = 0

    def go_on(self, stop: threading.Event) -> None:
        """Send until told to stop. The bytes are spread over each second."""
        # Whose answers are measured shares the core, and must not wait for this one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LAST_NICE)
        with on_cores(client_core()), contextlib.ExitStack() as open_ones:
            clients = [self._opened(open_ones) for _ in range(SLOW_CLIENTS)]
            self.connected = True
            start_s = time.monotonic()
            for turn in itertools.count():
                due_s = start_s + turn / SLOW_CLIENTS
                if stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                at = turn % SLOW_CLIENTS
                try:
                    clients[at].send(b"x")
                except OSError:
                    clients[at].close()
                    clients[at] = self._opened(open_ones)
                    self.reopened += 1

    def _opened(self, open_ones: contextlib.ExitStack) -> socket.socket:
        client = open_ones.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        client.send(SLOW_HEAD)
        client.settimeout(0)
        return client


@contextlib.contextmanager
def _slow_clients(port: int) -> Generator[SlowClients]:
    """Keep them at it, all connected, until the end of `with`."""
    clients, stop = SlowClients(port), threading.Event()
    thread = threading.Thread(target=clients.go_on, args=(stop,))
    thread.start()
    try:
        while thread.is_alive() and not clients.connected:
            time.sleep(0.01)
        yield clients
    finally:
        stop.set()
        thread.join()


# ---- a big body


def _big_body(lab: Lab, report: Report, server: Server, *, chunked: bool) -> None:
    load = OpenLoop(lab.standard.as_list, [(BESIDE_PER_S, BESIDE_SECONDS)], cores=client_core())
    body = b'{"row": [' + b"0.5," * (BODY_BYTES // 4) + b"0.5]}"
    worker = max(server.workers(), key=memory_mb)
    before_mb = memory_mb(worker)
    with load.running(server.port, lab.folder) as running:
        time.sleep(LEAD_S + BESIDE_BEFORE_S)
        with on_cores(client_core()):
            answer = _send(server.port, body, chunked=chunked)
        (summary,) = running.summaries()
    after_mb, most_mb = memory_mb(worker), memory_mb(worker, "VmHWM")
    name = f"50 MB body, {'chunked' if chunked else 'announced'}"
    about = f"  {answer.status}; {answer.sent_bytes / 1e6:.1f} MB were sent"
    report.check(f"{name}: milliseconds to the answer", answer.s * 1e3, None, about)
    memory = f"  {before_mb:.0f} MB before, {after_mb:.0f} after, {most_mb:.0f} at most so far"
    report.check(f"{name}: megabytes that the worker grew", after_mb - before_mb, None, memory)
    bad = summary["offered"] - summary["statuses"].get("200", 0)
    beside = f"  of {summary['offered']}, {bad} not answered; p99 {summary['p99_ms']} ms"
    report.check(f"{name}: slowest good request beside", summary["max_ms"], MAX_BESIDE, beside)
    mb = {"before_mb": before_mb, "after_mb": after_mb, "most_mb": most_mb}
    report.keep(f"{name}: all", {"status": answer.status, **mb, "beside": summary})


@dataclass(frozen=True)
class Answer:
    """What became of a big body.

    Attributes:
        status: The answer's first line, or what happened instead.
        s: Seconds until then.
        sent_bytes: What was sent by then.
    """

    status: str
    s: float
    sent_bytes: int


def _pieces(body: bytes, *, chunked: bool) -> Iterator[memoryview]:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {V1_PATH} HTTP/1.1\r\nHost: big\r\nContent-Type: application/json\r\n{length}\r\n"
    yield memoryview(head.encode() + b"\r\n")
    whole = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        piece = whole[start : start + PIECE_BYTES]
        yield memoryview(b"%x\r\n%b\r\n" % (len(piece), piece)) if chunked else piece
    if chunked:
        yield memoryview(b"0\r\n\r\n")


def _send(port: int, body: bytes, *, chunked: bool) -> Answer:
    """Send a body until it is through, and look for the answer all the while."""
    start_s = time.perf_counter()
    sent_bytes = 0

    def answer(status: str) -> Answer:
        return Answer(status, time.perf_counter() - start_s, sent_bytes)

    with (
        socket.create_connection(("127.0.0.1", port)) as client,
        selectors.DefaultSelector() as selector,
    ):
        client.settimeout(0)
        selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        for piece in _pieces(body, chunked=chunked):
            rest = piece
            while rest:
                ready = selector.select(ANSWER_S)
                if not ready:
                    return answer("it takes no more")
                if ready[0][1] & selectors.EVENT_READ:
                    return answer(_status(client))
                try:
                    count = client.send(rest)
                except OSError:  # it was closed while we were sending
                    return answer(_status(client))
                sent_bytes += count
                rest = rest[count:]
        selector.modify(client, selectors.EVENT_READ)
        return answer(_status(client) if selector.select(ANSWER_S) else "no answer")


def _status(client: socket.socket) -> str:
    try:
        line = client.recv(4096).partition(b"\r\n")[0]
    except OSError as error:
        return type(error).__name__
    return line.decode("latin-1") or "closed without an answer"
