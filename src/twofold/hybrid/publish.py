"""Publishing: a committed run is written beside the current snapshot, verified, and switched to.

Whatever happens on the way, the current snapshot is read on: nothing of it is touched before the
one step that moves the pointer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import secrets
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from twofold.batch.committed import Committed
from twofold.errors import GatesShut, StoreUnavailable, TwofoldError, problem
from twofold.hybrid.gates import Candidate, pass_gates
from twofold.hybrid.run_rows import check_publishable, output_names, output_type, run_rows
from twofold.hybrid.settings import SnapshotSettings
from twofold.hybrid.spread import SpreadCount, bins_told, drift
from twofold.model.names import check_name
from twofold.model.signature import Signature
from twofold.stores.snapshot import (
    GateResult,
    Pointer,
    Snapshot,
    Stored,
    next_number,
    rolled_back,
    switched,
)
from twofold.stores.store import Publication, Rows, Store
from twofold.stores.values import to_micros

CHECKED_ROWS = 1_000
CHECKED_PER_PART = 50
"""Rows of a part that are read back by key, chosen by chance; of all parts, `CHECKED_ROWS`."""


class PublishStep(enum.StrEnum):
    """The steps of publishing, each reported just before it is taken.

    Tests raise or kill at a step to play a crash there.
    """

    WRITE = "write the snapshot beside the current one"
    VERIFY = "read it back"
    GATES = "look at the gates"
    SWITCH = "switch to it"
    SWITCHED = "tell of the switch"


class PublishState(enum.StrEnum):
    """What became of it."""

    PUBLISHED = "published"
    ALREADY_PUBLISHED = "already published"


@dataclasses.dataclass(frozen=True)
class PublishResult:
    """A snapshot that is current.

    Attributes:
        state: Whether it was so before.
        snapshot: The snapshot.
        elapsed_s: How long it took.
    """

    state: PublishState
    snapshot: Snapshot
    elapsed_s: float


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass(frozen=True)
class PublishWatch:
    """What looks on.

    Attributes:
        step: Told of each step.
        progress: Told how many rows are written.
        clock: The time (UTC).
    """

    step: Callable[[PublishStep], None] = lambda _: None
    progress: Callable[[int], None] = lambda _: None
    clock: Callable[[], datetime] = _utc_now


def publish(
    run: Committed,
    store: Store,
    limits: SnapshotSettings,
    *,
    features: Signature | None = None,
    force: bool = False,
    watch: PublishWatch | None = None,
) -> PublishResult:
    """Publish a committed run: readers see the snapshot before it whole, then this one whole.

    The same run again changes nothing.

    Args:
        run: The run.
        store: Where to.
        limits: Of the gates.
        features: The version's signature, if the input's fields are to lie beside the
            predictions, for live ones; the run must have kept them.
        force: Switch although a gate is shut; that is recorded.
        watch: What looks on.

    Raises:
        InvalidInput: It can't be read by key: it has none, or one twice.
        GatesShut: It isn't good enough; the current snapshot is read on.
        LeaseHeld: Somebody else publishes this model.
        StoreUnavailable: The store doesn't answer.
        CommitUnknown: Whether it was switched to can't be told.
    """
    watch = watch or PublishWatch()
    began_s = time.monotonic()
    names = () if features is None else features.names
    check_publishable(run.manifest, names)
    with store.publishing(check_name(run.manifest.model.name)) as publication:
        current = publication.pointer.current
        identity = f"{run.identity}-{run.generation}"
        if current and (current.run, current.features) == (identity, names):
            elapsed_s = time.monotonic() - began_s
            return PublishResult(PublishState.ALREADY_PUBLISHED, current, elapsed_s)
        attempt = _Attempt(run, publication, watch, features)
        snapshot = attempt.publish(identity, limits, force=force)
        watch.step(PublishStep.SWITCHED)
    return PublishResult(PublishState.PUBLISHED, snapshot, time.monotonic() - began_s)


def roll_back(store: Store, model: str) -> Pointer:
    """Read the previous snapshot again, in one step.

    Raises:
        InvalidInput: There is none.
        LeaseHeld: Somebody publishes this model just now.
        StoreUnavailable: The store doesn't answer.
    """
    with store.publishing(check_name(model)) as publication:
        pointer = rolled_back(publication.pointer, model)
        publication.point(pointer)
    return pointer


class _Attempt:
    """One publication."""

    def __init__(
        self,
        run: Committed,
        publication: Publication,
        watch: PublishWatch,
        features: Signature | None,
    ) -> None:
        self._run = run
        self._publication = publication
        self._watch = watch
        self._features = features
        self._outputs = output_names(run.manifest)
        before = publication.pointer.current
        bins = before.spreads if before and before.outputs == self._outputs else ()
        told = run.manifest.statistics
        known = {item.name: bins_told(item) for item in told.predictions} if told else {}
        self._own = [SpreadCount(known.get(name)) for name in self._outputs]
        self._compared = [SpreadCount(item) for item in bins]
        self._bins = bins
        self._sample: list[tuple[bytes, tuple[Any, ...], int, dict[str, Any] | None]] = []

    def publish(self, identity: str, limits: SnapshotSettings, *, force: bool) -> Snapshot:
        run, publication, watch = self._run.manifest, self._publication, self._watch
        schema = self._run.schema()
        kind = output_type(schema.field(self._outputs[0]))
        snapshot = Snapshot(
            name=f"{next_number(publication.pointer):06}-{secrets.token_hex(4)}",
            number=next_number(publication.pointer),
            model=run.model.name,
            version=run.model.version,
            digest=run.model.digest,
            run_id=run.run_id,
            run=identity,
            as_of=run.as_of,
            predicted_at=run.predicted_at,
            published_at=watch.clock(),
            rows=run.rows_predicted,
            outputs=self._outputs,
            type=kind,
            features=() if self._features is None else self._features.names,
        )
        watch.step(PublishStep.WRITE)
        try:
            gates, shut = self._written(snapshot, limits, force=force)
        except TwofoldError:
            # Why it failed is what counts, not whether it can be deleted just now.
            with contextlib.suppress(StoreUnavailable):
                publication.discard(snapshot)
            raise
        snapshot = msgspec.structs.replace(
            snapshot,
            published_at=watch.clock(),
            gates=gates,
            is_forced=bool(shut),
            spreads=tuple(item.spread for item in self._own),
        )
        watch.step(PublishStep.SWITCH)
        publication.point(switched(publication.pointer, snapshot))
        return snapshot

    def _written(
        self, snapshot: Snapshot, limits: SnapshotSettings, *, force: bool
    ) -> tuple[tuple[GateResult, ...], list[GateResult]]:
        """Write it, verify it and look at the gates: what all of them say, and those shut."""
        rows = run_rows(self._run, self._outputs, snapshot.type, self._features)
        self._publication.write(snapshot, self._looked_at(rows))
        self._watch.step(PublishStep.VERIFY)
        self._verify(snapshot)
        self._watch.step(PublishStep.GATES)
        gates = self._gates(snapshot.run, limits)
        shut = [gate for gate in gates if not gate.passed]
        if shut and not force:
            raise _shut(snapshot.run_id, shut)
        return gates, shut

    def _looked_at(self, every: Iterator[Rows]) -> Iterator[Rows]:
        """Count the predictions that go by, and remember some."""
        random, done = Random(self._run.run_id), 0  # noqa: S311 - a sample, no secret
        for rows in every:
            for count, column in zip(self._own, rows.predictions, strict=True):
                count.add(column)
            for count, column in zip(self._compared, rows.predictions, strict=False):
                count.add(column)
            room = min(CHECKED_ROWS - len(self._sample), CHECKED_PER_PART, len(rows.keys))
            for at in random.sample(range(len(rows.keys)), room):
                self._sample.append(_row(rows, at))
            done += len(rows.keys)
            yield rows
            self._watch.progress(done)

    def _verify(self, snapshot: Snapshot) -> None:
        wanted = self._run.manifest.rows_predicted
        found = self._publication.verify(snapshot)
        fix = "Nothing was switched. Publish the run again."
        if found != wanted:
            raise TwofoldError(problem(snapshot.run_id, f"{wanted} keys", str(found), fix))
        stored = self._publication.find(snapshot, [row[0] for row in self._sample])
        for (key, *expected), got in zip(self._sample, stored, strict=True):
            if got is None or not _same(expected, got):
                where = f"{snapshot.run_id}: key {key.decode('utf-8', 'replace')[:80]!r}"
                shown = "nothing" if got is None else str(got.predictions)
                raise TwofoldError(problem(where, str(expected[0]), shown, fix))

    def _gates(self, identity: str, limits: SnapshotSettings) -> tuple[GateResult, ...]:
        run = self._run.manifest
        drifts = [
            (name, *drift(count.spread, before))
            for name, count, before in zip(self._outputs, self._compared, self._bins, strict=False)
        ]
        candidate = Candidate(
            run=identity,
            as_of=run.as_of,
            rows=run.rows_predicted,
            rows_in=run.rows_in,
            rows_quarantined=run.rows_quarantined,
            drifts=drifts,
        )
        return pass_gates(candidate, self._publication.pointer, limits)


def _row(rows: Rows, at: int) -> tuple[bytes, tuple[Any, ...], int, dict[str, Any] | None]:
    predictions = tuple(column[at].as_py() for column in rows.predictions)
    features = None if rows.features is None else rows.features.slice(at, 1).to_pylist()[0]
    predicted_at = to_micros(rows.predicted_at[at].as_py())
    return rows.keys[at].as_py(), predictions, predicted_at, features


def _same(expected: Sequence[Any], got: Stored) -> bool:
    predictions, predicted_at, features = expected
    return (
        [_bits(value) for value in predictions] == [_bits(value) for value in got.predictions]
        and predicted_at == to_micros(got.origin.predicted_at)
        and (features is None) == (got.features is None)
        and (features is None or _by_bits(features) == _by_bits(got.features or {}))
    )


def _by_bits(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _bits(value) for name, value in row.items()}


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def _shut(run_id: str, gates: Sequence[GateResult]) -> GatesShut:
    every = [
        problem(run_id, f"{gate.limit} ({gate.gate})", gate.got, "").rstrip() for gate in gates
    ]
    fix = "The snapshot before is read on. Mend the run, or publish it with --force."
    return GatesShut(" ".join([*every, fix]))
