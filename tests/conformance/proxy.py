"""A proxy of a test's own, between it and a server: to cut connections, or let them hang."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536


class Proxy:
    """Passes on what comes to a port of 127.0.0.1, as long as it is to.

    Attributes:
        port: Where it listens.
        sees: Called with what a client sends, before it is passed on; False passes on no more.
    """

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.sees: Callable[[bytes], bool] | None = None
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flows.set()
        self.shut()

    def listen(self) -> None:
        """Take connections, again at the same port."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            # Closing it alone wouldn't wake up who waits for it.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def shut(self) -> None:
        """Take no more connections, and cut those there are."""
        self.refuse()
        self.cut()

    def cut(self) -> None:
        """Cut the connections there are."""
        with self._guard:
            ends, self._open = self._open, []
        for end in ends:
            _close(end)

    def hang(self) -> None:
        """Take connections, but pass nothing on."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what has waited, and what comes."""
        self._flows.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to, timeout=5)
            except OSError:
                _close(near)
                continue
            far.settimeout(None)
            with self._guard:
                self._open += [near, far]
            for source, sink, is_client in ((near, far, True), (far, near, False)):
                pump = threading.Thread(
                    target=self._pump, args=(source, sink, is_client), daemon=True
                )
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flows.wait()
                if is_client and self.sees is not None and not self.sees(data):
                    return
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
