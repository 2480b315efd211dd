"""Where the time of a row or a request goes: computed from what was measured. Values only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twofold.lab.findings import Latency, Overhead, Scaling
from twofold.lab.histogram import Histogram

STAGE = re.compile(rb"(\w+);dur=([0-9.]+)")
MIN_LONGER = 1.1
STAGES = ("parse", "queue", "predict", "encode", "total")


@dataclass(frozen=True)
class Part:
    """A partition of a run.

    Attributes:
        rows: How many.
        began_s: When it was begun, seconds from the start of the process.
        finished_s: When its files were safe, likewise.
    """

    rows: int
    began_s: float
    finished_s: float


@dataclass(frozen=True)
class Taken:
    """What one run took.

    Attributes:
        rows: Of its input.
        wall_s: From the start of the process to its end.
        cpu_s: Of it.
    """

    rows: int
    wall_s: float
    cpu_s: float


def latency_of(times_s: Sequence[float]) -> Latency:
    """Single times, added up."""
    histogram = Histogram()
    histogram.add(np.asarray(times_s, np.float64))
    return histogram.latency()


def row_latencies(parts: Iterable[Part], wall_s: float) -> tuple[Latency, Latency, Latency]:
    """What each row of a run waited for after the run was started.

    Of every row the three add up to `wall_s`: all rows are there at once, when the run is.

    Args:
        parts: The run's partitions.
        wall_s: From the start of the process to its end.

    Returns:
        Until its partition was begun; while that was computed and written; from then to the end.
    """
    found = (Histogram(), Histogram(), Histogram())
    for part in parts:
        began_s = min(max(part.began_s, 0.0), wall_s)
        finished_s = min(max(part.finished_s, began_s), wall_s)
        for histogram, seconds in zip(
            found, (began_s, finished_s - began_s, wall_s - finished_s), strict=True
        ):
            histogram.add(np.full(part.rows, seconds))
    waited, computed, committed = found
    return waited.latency(), computed.latency(), committed.latency()


def scaling_of(small: Taken, large: Taken) -> Scaling | None:
    """Tell what a run costs whatever its size from what each row adds, by a line through two runs.

    Returns:
        None if the larger run took hardly longer: that may as well be noise. Twice as long isn't,
        though hardly more was computed: the model waits for something else.
    """
    is_twice = large.wall_s >= 2 * small.wall_s
    is_longer = large.wall_s >= MIN_LONGER * small.wall_s
    if not (is_twice or (is_longer and large.cpu_s >= MIN_LONGER * small.cpu_s)):
        return None

    def line(short_s: float, long_s: float) -> tuple[float, float]:
        row_s = max(0.0, (long_s - short_s) / max(1, large.rows - small.rows))
        return max(0.0, short_s - small.rows * row_s), row_s

    fixed_wall_s, row_wall_s = line(small.wall_s, large.wall_s)
    fixed_cpu_s, row_cpu_s = line(small.cpu_s, large.cpu_s)
    return Scaling(
        rows=large.rows,
        wall_s=large.wall_s,
        cpu_s=large.cpu_s,
        fixed_wall_s=fixed_wall_s,
        fixed_cpu_s=fixed_cpu_s,
        row_wall_s=row_wall_s,
        row_cpu_s=row_cpu_s,
    )


def stages_of(head: bytes) -> Mapping[str, float] | None:
    """Read the seconds of each stage from an answer's headers; None if they don't tell."""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"server-timing:"):
            found = {name.decode(): float(ms) / 1000 for name, ms in STAGE.findall(line)}
            return found if found.keys() >= set(STAGES) else None
    return None


def overhead_of(total_s: float, stages: Sequence[Mapping[str, float]]) -> Overhead:
    """Split what a lone client waits for; see `Overhead` for why the parts add up.

    Args:
        total_s: What it waits for: a median.
        stages: What the server told of each of other such requests; at least one.
    """
    medians = {name: float(np.median([one[name] for one in stages])) for name in STAGES}
    server_s = min(medians["total"], total_s)
    parse_s = min(medians["parse"], server_s)
    queue_s = min(medians["queue"], server_s - parse_s)
    predict_s = min(medians["predict"], server_s - parse_s - queue_s)
    return Overhead(
        total_s=total_s,
        network_s=total_s - server_s,
        parse_s=parse_s,
        queue_s=queue_s,
        predict_s=predict_s,
        encode_s=server_s - parse_s - queue_s - predict_s,
    )
