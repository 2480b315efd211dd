"""What a comparison of the speeds has found: values only, kept as JSON.

Times are seconds of one row or request unless a name says otherwise. Everything here was measured;
what follows from it, as costs and advice, is computed from it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from twofold.errors import InvalidInput, problem

LAYOUT = 1


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long something took, of so many times.

    Attributes:
        count: How often it was measured.
        mean_s: The mean.
        max_s: The longest.
        percentiles_s: By share in percent (as `"99.9"`), only those that the count bears: at
            least ten values lie beyond each.
    """

    count: int
    mean_s: float
    max_s: float
    percentiles_s: dict[str, float]


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    twofold: str


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it costs whatever the rows, and what each of them adds: a line through two sizes.

    Attributes:
        rows: Of the larger one: the rows of the other again and again.
        wall_s: Of that, as a whole process.
        cpu_s: The same of the CPU.
        fixed_wall_s: Without rows, as the line has it; at least 0.
        fixed_cpu_s: The same of the CPU.
        row_wall_s: What a row adds; at least 0.
        row_cpu_s: The same of the CPU.
    """

    rows: int
    wall_s: float
    cpu_s: float
    fixed_wall_s: float
    fixed_cpu_s: float
    row_wall_s: float
    row_cpu_s: float


class BatchFound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One batch run over the input, as a whole process.

    What a row waits for after the run has begun is split into three: until its partition is
    begun, while that is computed and written, and from then on until the commit shows it.

    Attributes:
        rows: Rows of the input.
        rows_quarantined: Of them set aside.
        wall_s: From the start of the process to its end.
        cpu_s: Of the process and its children.
        peak_memory_bytes: Resident, at most.
        start_s: Until the first partition was begun.
        partitions: How many there were.
        wait_s: For a row's partition to begin, from the start of the process.
        compute_s: Of a row's partition.
        commit_s: From the end of a row's partition to the end of the process.
        repeats: Runs that were made; the figures are those of the median one by wall_s.
        scaling: From this input and a larger one; None if the input is large itself.
    """

    rows: int
    rows_quarantined: int
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    start_s: float
    partitions: int
    wait_s: Latency
    compute_s: Latency
    commit_s: Latency
    repeats: int
    scaling: Scaling | None = None


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rate that was offered for a while (open loop).

    Attributes:
        offered_per_s: Requests that were due.
        answered_per_s: Answered with a prediction, whenever.
        in_time_per_s: Of them within the deadline: the goodput.
        shed_per_s: Refused because of load.
        failed_per_s: Everything else.
        latency: Of what was answered with a prediction, from the instant it was due.
        lateness_p99_s: Of the generator itself: from when a request was due to when it was sent.
        is_valid: Whether the generator kept up.
    """

    offered_per_s: float
    answered_per_s: float
    in_time_per_s: float
    shed_per_s: float
    failed_per_s: float
    latency: Latency
    lateness_p99_s: float
    is_valid: bool


class Overhead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the time of a lone request goes; medians, which add up to `total_s`.

    They do by construction: the server's stages are told by it to requests that ask with
    `X-Twofold-Timing`; what is left of its own total is put to `encode_s`, and what that leaves of
    the client's to `network_s`.

    Attributes:
        total_s: As its client sees it: the median of `alone`.
        network_s: What the server doesn't see of it: the client's own part, the system's, the wire.
        parse_s: From the first byte to the row.
        queue_s: Until the model had its turn.
        predict_s: Inside the model; its check of the row, too, where the native kernel makes that.
        encode_s: The rest: from the prediction to the answer.
    """

    total_s: float
    network_s: float
    parse_s: float
    queue_s: float
    predict_s: float
    encode_s: float


class RealTimeFound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Real-time serving of single rows.

    Attributes:
        workers: Of the server.
        start_s: From the start of the process until it was ready.
        memory_bytes: Of all its processes, shared pages counted once where the system tells.
        in_process: `predict_one` in Python, without a server.
        alone: One client that sends its next request when it has the answer, over loopback.
        overhead: Of that.
        slo_s: What p99 was held to.
        capacity_per_s: The highest rate whose p99 kept it; 0 if none did; None if it couldn't be
            measured.
        cpu_per_request_s: Of the server's processes, per answer: at the highest level within
            capacity; without levels, of the lone client.
        levels: The rates that were offered, ascending, beyond capacity too; none without it.
    """

    workers: int
    start_s: float
    memory_bytes: int
    in_process: Latency
    alone: Latency
    overhead: Overhead
    slo_s: float
    capacity_per_s: float | None
    cpu_per_request_s: float
    levels: list[Level]


class HybridFound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stored answers by key, from an embedded store.

    Attributes:
        keys: Of the snapshot.
        publish_s: As a whole process, from the committed run to the switch.
        publish_cpu_s: Of it.
        in_process: A look-up in Python.
        alone: One client over HTTP, as in `RealTimeFound`.
        capacity_per_s: As there.
        cpu_per_request_s: As there.
        level: Half the capacity, offered; None without it.
        age_at_switch_s: How old the answers were when they could first be read: from the instant
            the input is as of, when the run started, to the end of `publish_s`.
        scaling: Of publishing, from this run and a larger one; None without that.
    """

    keys: int
    publish_s: float
    publish_cpu_s: float
    in_process: Latency
    alone: Latency
    capacity_per_s: float | None
    cpu_per_request_s: float
    level: Level | None
    age_at_switch_s: float | None = None
    scaling: Scaling | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that was measured of a version in one comparison.

    Attributes:
        layout: Of this file.
        model: The model's name.
        version: Which.
        input: What was predicted, as it was given.
        made_at: When (UTC).
        is_quick: Whether it was measured for a short time only.
        machine: Where.
        batch: Batch prediction.
        real_time: Real-time serving.
        hybrid: Stored answers.
        notes: What couldn't be measured, or only in another way, and why.
    """

    layout: int = LAYOUT
    model: str
    version: str
    input: str
    made_at: datetime
    is_quick: bool
    machine: Machine
    batch: BatchFound
    real_time: RealTimeFound
    hybrid: HybridFound
    notes: tuple[str, ...] = ()


def read_findings(path: Path) -> Findings:
    """Read what a comparison wrote with `--json`.

    Raises:
        InvalidInput: It isn't that, or of a later layout.
        OSError: It can't be read.
    """
    try:
        data = path.read_bytes()
        layout = msgspec.json.decode(data, type=_Layout).layout
        if layout != LAYOUT:
            fix = "Update twofold, or compare again."
            raise InvalidInput(problem(f"{path}: layout", f"{LAYOUT}", f"{layout}", fix))
        return msgspec.json.decode(data, type=Findings)
    except msgspec.DecodeError as error:
        fix = "Give a file that `twofold lab compare --json` wrote."
        said = str(error)
        raise InvalidInput(problem(str(path), "findings of a comparison", said, fix)) from error


class _Layout(msgspec.Struct):
    layout: int
