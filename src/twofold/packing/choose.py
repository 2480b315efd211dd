"""Choosing the runtime of each mode among those that passed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from twofold.errors import DeclarationError, problem
from twofold.model.record import Modes, RuntimeName
from twofold.packing.trial import Trial
from twofold.predictor.parity import same_bits


@dataclasses.dataclass(frozen=True)
class Choice:
    """The runtimes chosen, and how many rows each call of theirs has (0: any number)."""

    modes: Modes
    rows_per_call: int


def choose(trials: Sequence[Trial], *, only: RuntimeName | None = None) -> Choice:
    """Choose the fastest pair of runtimes that gives equal bits at both speeds.

    Fastest is the smallest product of the batch's time per row and the time of one row alone:
    a runtime that is twice as fast in one mode may be up to twice as slow in the other.

    Args:
        trials: The runtimes tried, with their predictions of the same rows.
        only: The runtime to use for both modes, whatever the others would give.

    Raises:
        DeclarationError: None passed, or not the one asked for.
    """
    wanted = [trial for trial in trials if only in (None, trial.candidate.runtime)]
    passed = [trial for trial in wanted if trial.candidate.passed]
    if only is not None and not passed:
        reasons = "; ".join(trial.candidate.reason for trial in wanted) or "this model has none"
        raise DeclarationError(
            problem(f"--runtime {only}", "a runtime that passes", reasons, "Choose another.")
        )
    pairs = [
        (batch, one)
        for batch in passed
        for one in passed
        if batch is one or _interchangeable(batch, one)
    ]
    if not pairs:
        reasons = "; ".join(
            f"{trial.candidate.runtime}: {trial.candidate.reason}" for trial in trials
        )
        raise DeclarationError(
            f"pack: expected a runtime with equal bits at both speeds, got none ({reasons}). "
            "Make the model's predictions depend on the row alone: no random numbers, no state."
        )
    batch, one = min(pairs, key=lambda pair: _cost(*pair))
    modes = Modes(batch=batch.candidate.runtime, real_time=one.candidate.runtime)
    return Choice(modes, batch.candidate.rows_per_call)


def _interchangeable(batch: Trial, one: Trial) -> bool:
    if batch.candidate.rows_per_call != one.candidate.rows_per_call:
        return False
    pairs = zip(batch.predictions or [], one.predictions or [], strict=True)
    return all(same_bits(first, second) for first, second in pairs)


def _cost(batch: Trial, one: Trial) -> float:
    rows_per_s = batch.candidate.batch_rows_per_s or 0.0
    one_row_s = one.candidate.one_row_s or math.inf
    return one_row_s / rows_per_s if rows_per_s else math.inf
