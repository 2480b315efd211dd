"""Where a request's time went, told to callers who ask for it with `X-Twofold-Timing`."""

from __future__ import annotations

from typing import NamedTuple

TIMING = b"x-twofold-timing"


class Stages(NamedTuple):
    """The instants between a request's stages: monotonic seconds.

    Attributes:
        received_s: Its first byte was here.
        read_s: Its row was read; where another process reads it, it was passed on to that.
        started_s: The model had its turn.
        predicted_s: The model was done, with all requests of its micro-batch.
        answered_s: The answer was made.
    """

    received_s: float
    read_s: float
    started_s: float
    predicted_s: float
    answered_s: float

    def header(self) -> bytes:
        """The header line Server-Timing, in milliseconds; the stages add up to `total`.

        `src/wire/timing.c` has the same words.
        """
        parts = (
            ("parse", self.read_s - self.received_s),
            ("queue", self.started_s - self.read_s),
            ("predict", self.predicted_s - self.started_s),
            ("encode", self.answered_s - self.predicted_s),
            ("total", self.answered_s - self.received_s),
        )
        told = ", ".join(f"{name};dur={seconds * 1000:.4f}" for name, seconds in parts)
        return b"Server-Timing: %b\r\n" % told.encode()
