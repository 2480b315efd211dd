"""All states of all histories: recorded, made, recovered from; and the same less an fsync."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from crash_matrix.histories import (
    ALONE,
    CLEAN,
    OUTPUT,
    History,
    Recorded,
    interrupted,
    killed_at_syncs,
    record,
)
from crash_matrix.operations import Sync
from crash_matrix.power_loss import Loss
from crash_matrix.recovery import Case, Recovery, cases, recover
from crash_matrix.scene import (
    MIXED_INPUT,
    NULLS,
    POISON,
    Attempt,
    Result,
    Scene,
    checked_result,
)

SEED = 20_260_131
LOST_TWICE = 5
"""So many states are run from again, and lose power again."""
MAX_CASES = 6000
CONTROLS = 60
"""So many states show whether it would be noticed that an fsync is missing."""

Shown = Callable[[Iterable[Recovery], str], Iterable[Recovery]]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What came of all power losses.

    Attributes:
        recoveries: By state.
        controls: By name of a file or folder that isn't synced: states tried, and wrong ones.
        histories: What was recorded, in words.
    """

    recoveries: tuple[Recovery, ...] = ()
    controls: tuple[tuple[str, int, int], ...] = ()
    histories: tuple[str, ...] = ()


def lose_power(scene: Scene, folder: Path, *, at_once: int, shown: Shown) -> Survey:
    """Record all histories, and try every state that a loss of power can leave."""
    results: dict[str, Result] = {}
    recorded: list[Recorded] = []

    def note(history: History) -> Recorded:
        own = folder / f"history-{len(recorded):03}"
        own.mkdir()
        found = record(scene, history, own)
        if history.source not in results:
            results[history.source] = result_of(scene, own, history.source)
        recorded.append(found)
        return found

    alone = note(ALONE)
    # The fsync of the folder that all of it lies in isn't in the record.
    syncs = alone.syncs + 1
    for history in (CLEAN, *interrupted(alone.steps), *killed_at_syncs(syncs)):
        note(history)
    for number, case in enumerate(lost_once(cases([alone], SEED)), start=1):
        note(History(f"after a power loss, {number}", (Attempt(),), case.tree))
    tried = fewer(cases(recorded, SEED), MAX_CASES)
    recoveries = shown(recover(scene, results, tried, at_once=at_once), "losing power")
    return Survey(
        tuple(recoveries),
        tuple(controls(scene, results, alone, at_once=at_once)),
        tuple(history.history.name for history in recorded),
    )


def result_of(scene: Scene, history: Path, source: str) -> Result:
    """Read what a history committed that nothing happened in."""
    aside = {*NULLS, POISON} if source == MIXED_INPUT else set[int]()
    return checked_result(scene, history / "disk" / OUTPUT, aside)


def lost_once(found: Sequence[Case]) -> list[Case]:
    """Choose states that a run goes on from, of those where most is amiss."""
    amiss = {Loss.ENTRIES, Loss.TORN, Loss.SECTORS, Loss.MIXED}
    some = [case for case in found if case.loss in amiss and case.rows and not case.done]
    return random.Random(SEED).sample(some, min(LOST_TWICE, len(some)))  # noqa: S311 - no secret


def fewer(found: Sequence[Case], most: int) -> list[Case]:
    """Leave some out if there are too many: of those that chance made."""
    by_chance = [case for case in found if case.loss in (Loss.MIXED, Loss.SECTORS, Loss.TORN)]
    excess = min(max(0, len(found) - most), len(by_chance))
    out = random.Random(SEED).sample(by_chance, excess)  # noqa: S311 - no secret
    left_out = {id(case) for case in out}
    return [case for case in found if id(case) not in left_out]


def controls(
    scene: Scene, results: dict[str, Result], recorded: Recorded, *, at_once: int
) -> Iterable[tuple[str, int, int]]:
    """Try states of a run that doesn't sync some file or folder: they have to be wrong."""
    names = [one.name for one in recorded.operations if isinstance(one, Sync)]
    for name in dict.fromkeys(names):
        tried = held_most(cases([recorded.without_sync(name)], SEED), CONTROLS)
        wrong = sum(bool(one.wrong) for one in recover(scene, results, tried, at_once=at_once))
        yield name, len(tried), wrong


def held_most(found: Iterable[Case], most: int) -> list[Case]:
    """Choose states in which the run had promised most: to be done, or rows to be safe."""
    found = sorted(found, key=lambda case: (case.done, case.rows), reverse=True)
    done = [case for case in found if case.done][: most // 2]
    return done + [case for case in found if not case.done][: most - len(done)]
