"""The cheapest server that Python can be: one answer for all, after a fixed time of work.

    python bench/lab_parts/constant.py WORK_US [EVERY SLOW_US]

Of EVERY requests one takes SLOW_US. Serves at a free port, which it prints as a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n"
ANSWER += b'{"prediction":0.5}'


def main() -> None:
    """Serve until it is ended."""
    work_us, *few = map(float, sys.argv[1:])
    every, slow_us = few or (1.0, work_us)
    works = itertools.cycle([work_us] * (int(every) - 1) + [slow_us])

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            end_s = time.perf_counter() + next(works) * 1e-6
            while time.perf_counter() < end_s:
                pass
            self.transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=2048)
        port = server.sockets[0].getsockname()[1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
        await server.serve_forever()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
