"""One look at a running server, as values: all that a diagnosis needs.

Counts are since the server was started; instants are the server's own, UTC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime

from twofold.lab.scrape import Buckets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """How long one stage of the answered requests took.

    Attributes:
        buckets: Upper bound in seconds to how many took at most that.
        sum_s: All together, seconds.
    """

    buckets: Buckets = dataclasses.field(default_factory=dict)
    sum_s: float = 0.0


NO_STAGE = Stage()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelLook:
    """One version of a model.

    Attributes:
        model: Its name.
        version: Which.
        requests: How many ended, by outcome: `ok`, `invalid`, `refused`, `late`, `failed`, `gone`.
        rows: Rows predicted.
        duration: From a request's first byte to its answer.
        queue: From its first byte to its turn.
        predict: Inside the model.
        waiting_requests: That wait for it now.
        capacity_per_s: Requests that could be answered; 0 if that isn't known.
        overloaded_since: Since when requests are refused because of load; None if they aren't.
        row_cost_s: What predicting one row costs by itself, as learnt of late.
        packed_row_cost_s: What it cost when the version was packed; 0 if unknown.
        is_apart: Whether it is predicted in processes of its own.
        answers: Keys asked for, by what they were answered with: `stored`, `stale`, `live`, ...
        snapshot_as_of: When the input of its snapshot was true; None without one.
    """

    model: str
    version: str
    requests: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows: float = 0.0
    duration: Stage = NO_STAGE
    queue: Stage = NO_STAGE
    predict: Stage = NO_STAGE
    waiting_requests: float = 0.0
    capacity_per_s: float = 0.0
    overloaded_since: datetime | None = None
    row_cost_s: float = 0.0
    packed_row_cost_s: float = 0.0
    is_apart: bool = False
    answers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    snapshot_as_of: datetime | None = None

    @property
    def name(self) -> str:
        """As it is named on the command line."""
        return f"{self.model}@{self.version}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreLook:
    """The store of snapshots, if it is on a server.

    Attributes:
        answered: Look-ups that it answered.
        failed: Look-ups that it didn't answer in time.
        duration: How long they took, failed ones too.
        timeout_s: How long they may take; 0 if the store isn't on a server.
        away_since: Since when it is only tried now and then; None if it is asked.
    """

    answered: float = 0.0
    failed: float = 0.0
    duration: Stage = NO_STAGE
    timeout_s: float = 0.0
    away_since: datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a server.

    Attributes:
        at_s: When, monotonic seconds.
        asked_at: When it was asked, by the clock of this machine, UTC.
        answered_at: When its answer had come, by the same clock.
        server_date: What its clock said in between, whole seconds (the Date header); None if it
            didn't say.
        is_ready: Whether it says that it is.
        models: Each version.
        responses: HTTP responses, by status.
        workers: That answer.
        connections: That are open.
        max_connections: That may be open.
        blocks: Times that an event loop stood still for a quarter of a second or more.
        longest_block_s: The longest within the last minute.
        blocked_at: When the last one was; None if there was none.
        restarts: Workers that died and were replaced.
        restarted_at: When the last one was.
        deaths: Models' own processes that died or hung.
        died_at: When the last one did.
        reloads_refused: Changes of the served versions that couldn't be loaded.
        refused_at: When the last one was.
        switched_at: When versions were last changed.
        max_age_s: The age up to which stored predictions are fresh.
        store: Where the snapshots are.
        clients: Requests per second of those clients that are refused most, by outcome:
            `admitted`, `shed`, `late`, `over_quota`, `invalid`, `failed`.
    """

    at_s: float
    asked_at: datetime
    answered_at: datetime
    server_date: datetime | None = None
    is_ready: bool = True
    models: tuple[ModelLook, ...] = ()
    responses: Mapping[str, float] = dataclasses.field(default_factory=dict)
    workers: float = 1.0
    connections: float = 0.0
    max_connections: float = 0.0
    blocks: float = 0.0
    longest_block_s: float = 0.0
    blocked_at: datetime | None = None
    restarts: float = 0.0
    restarted_at: datetime | None = None
    deaths: float = 0.0
    died_at: datetime | None = None
    reloads_refused: float = 0.0
    refused_at: datetime | None = None
    switched_at: datetime | None = None
    max_age_s: float = 0.0
    store: StoreLook = dataclasses.field(default_factory=StoreLook)
    clients: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """The time by the server's clock, to the second."""
        return self.answered_at if self.server_date is None else self.server_date
