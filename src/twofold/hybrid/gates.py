"""The gates: what a snapshot has to be before it is switched to. Values only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from twofold.hybrid.settings import SnapshotSettings
from twofold.stores.snapshot import GateResult, Pointer


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What is to be switched to, as the gates see it.

    Attributes:
        run: Its run; see `Snapshot.run`.
        as_of: When its input was true.
        rows: Its keys.
        rows_in: Rows of the run's input.
        rows_quarantined: Of these, those set aside.
        drifts: For each output its name, its drift from the current snapshot (population
            stability index), and what that stays below by chance.
    """

    run: str
    as_of: datetime
    rows: int
    rows_in: int
    rows_quarantined: int
    drifts: Sequence[tuple[str, float, float]]


def pass_gates(
    candidate: Candidate, pointer: Pointer, limits: SnapshotSettings
) -> tuple[GateResult, ...]:
    """Look at a snapshot before it is switched to.

    Args:
        candidate: The snapshot.
        pointer: What is current, and previous.
        limits: What is allowed.

    Returns:
        What each gate says; those that need a snapshot before say nothing where there is none.
    """
    found = [_quarantined(candidate, limits)]
    current, previous = pointer.current, pointer.previous
    if current is None:
        return tuple(found)
    least = limits.min_rows_ratio * current.rows
    found.append(
        GateResult(
            gate="min_rows_ratio",
            limit=f"at least {limits.min_rows_ratio:g} of the {current.rows:,} keys before",
            got=f"{candidate.rows:,}",
            passed=candidate.rows >= least,
        )
    )
    found += [_drift(item, limits) for item in candidate.drifts]
    found.append(
        GateResult(
            gate="as_of",
            limit=f"an as_of not before {current.as_of.isoformat()}",
            got=candidate.as_of.isoformat(),
            passed=candidate.as_of >= current.as_of,
        )
    )
    if previous is not None and previous.is_rolled_back:
        found.append(
            GateResult(
                gate="rolled_back",
                limit="another run than the one that was rolled back",
                got="that run" if candidate.run == previous.run else "another",
                passed=candidate.run != previous.run,
            )
        )
    return tuple(found)


def _quarantined(candidate: Candidate, limits: SnapshotSettings) -> GateResult:
    ratio = candidate.rows_quarantined / candidate.rows_in if candidate.rows_in else 0.0
    return GateResult(
        gate="max_quarantined_ratio",
        limit=f"at most {limits.max_quarantined_ratio:.2%} of the rows in quarantine",
        got=f"{ratio:.2%}",
        passed=ratio <= limits.max_quarantined_ratio,
    )


def _drift(item: tuple[str, float, float], limits: SnapshotSettings) -> GateResult:
    name, psi, by_chance = item
    return GateResult(
        gate="max_prediction_psi",
        limit=f"a drift of {name} of at most {limits.max_prediction_psi:g}",
        got=f"a PSI of {psi:.3g}",
        passed=psi <= max(limits.max_prediction_psi, by_chance),
    )
