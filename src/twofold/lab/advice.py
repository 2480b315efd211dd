"""Advice: the decision, what it takes, what to doubt, and what would change it. Values only."""

from __future__ import annotations

import dataclasses
from typing import cast

from twofold.lab.costs import DayCost, Mode, is_published
from twofold.lab.decision import Decision, Option, decide, mode_for
from twofold.lab.findings import Findings
from twofold.lab.needs import DAY_S, Features, Needs, shown_age, shown_number
from twofold.lab.sensitivity import Change, changes_of
from twofold.lab.sizing import live_capacity, stored_capacity
from twofold.lab.typical import WHAT

FAR = 20.0
"""Times beyond what was measured, from which on a figure deserves a doubt."""
ASSUMED = (
    "Cores and machines like the one measured add up.",
    "A server is given 60 % of what it keeps up with, and kept running around the clock.",
    "Latencies were measured without a network: its time comes on top.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advice:
    """What is recommended, and all that goes with it.

    Attributes:
        mode: The recommended one.
        reasons: Why, the deciding one first.
        rejected: Why not the others.
        options: All three modes side by side.
        max_age_s: The oldest a prediction gets.
        answers_max_age_s: Up to which a stored one is to count as fresh; None if none is stored.
        changes: What would change the recommendation.
        warnings: What to doubt, or to see to.
        assumed: What all figures rest on.
        model: That was measured.
        is_measured: Whether it was; else the figures are of another.
    """

    mode: Mode
    reasons: tuple[str, ...]
    rejected: dict[Mode, str]
    options: dict[Mode, Option]
    max_age_s: float
    answers_max_age_s: float | None
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    assumed: tuple[str, ...]
    model: str
    is_measured: bool

    @property
    def cost(self) -> DayCost:
        """What the recommended mode takes."""
        # What is recommended is possible: a test holds `decide` to it.
        return cast("DayCost", self.options[self.mode].cost)


OF_ANOTHER = (
    f"The figures are those of {WHAT}: measure yours with `twofold lab compare MODEL INPUT "
    "--json`, and give what it wrote."
)


def advise(needs: Needs, findings: Findings, *, is_measured: bool = True) -> Advice:
    """Say which mode to use, why, with what, and what would change that.

    A pure function: the same needs and findings give the same advice.

    Args:
        needs: What is wanted.
        findings: What was measured.
        is_measured: Whether that was of the model that is meant, not of another.
    """
    decision = decide(needs, findings)
    max_age_s = decision.chosen.max_age_s or 0.0
    return Advice(
        mode=decision.mode,
        reasons=decision.reasons,
        rejected=decision.rejected,
        options=decision.options,
        max_age_s=max_age_s,
        answers_max_age_s=max_age_s if is_published(decision.mode, needs) else None,
        changes=tuple(changes_of(needs, lambda other: mode_for(other, findings))),
        warnings=tuple(_warnings(needs, findings, decision, is_measured=is_measured)),
        assumed=ASSUMED,
        model=findings.model,
        is_measured=is_measured,
    )


def _warnings(
    needs: Needs, findings: Findings, decision: Decision, *, is_measured: bool
) -> list[str]:
    found = _of_measurement(needs, findings) if is_measured else [OF_ANOTHER]
    if decision.mode is not Mode.BATCH:
        found += _of_server(needs, findings, decision)
    cost = decision.chosen.cost
    if cost is not None and cost.timetable is not None and cost.timetable.machines > 1:
        found.append(
            f"A run is spread over {cost.timetable.machines} machines, by Ray; that was computed, "
            f"not measured."
        )
    if needs.wants_all and decision.mode is Mode.REAL_TIME:
        found.append(
            "The whole table is wanted, but no run makes one that is fresh enough: keep the "
            "answers, or tolerate older ones."
        )
    if not needs.is_waited_for and needs.features is not Features.WITH_REQUEST:
        return found
    if needs.used_per_day == 0:
        found.append("Nothing is ever asked for: nothing needs to be predicted.")
    return found


def _of_measurement(needs: Needs, findings: Findings) -> list[str]:
    found: list[str] = []
    if findings.is_quick:
        found.append("The model was measured with --quick: compare again without, to be surer.")
    if needs.rows_per_day > FAR * findings.batch.rows:
        found.append(
            f"Runs were measured over {findings.batch.rows:,} rows, and {needs.rows_per_day:,} are "
            f"far more: compare over more of them for better figures of runs."
        )
    return found


def _of_server(needs: Needs, findings: Findings, decision: Decision) -> list[str]:
    found: list[str] = []
    option = decision.chosen
    if not option.meets_slo and needs.slo_s is not None and option.p99_s is not None:
        found.append(
            f"No rate was measured at which 99 of 100 answers came within "
            f"{shown_age(needs.slo_s)}: the latency asked for isn't kept."
        )
    live = live_capacity(findings.real_time, needs.slo_s)
    stored = stored_capacity(findings, needs.slo_s)
    used = stored if is_published(decision.mode, needs) else live
    if used.is_guess and option.meets_slo and needs.slo_s is not None:
        found.append(
            f"Only a lone client was measured to be answered within {shown_age(needs.slo_s)}: the "
            f"number of workers is a guess."
        )
    if needs.load_per_s > used.measured_per_s > 0.0:
        found.append(
            f"{shown_number(needs.load_per_s)} requests a second are beyond the "
            f"{shown_number(used.measured_per_s)} that were measured on one machine: try the "
            f"machines together before you rely on them."
        )
    if needs.peak_per_s < needs.asked_per_day / DAY_S:
        found.append(
            f"A peak of {shown_number(needs.peak_per_s)} requests a second is below the mean of "
            f"what is asked for, {shown_number(needs.asked_per_day / DAY_S)}: that mean was taken."
        )
    servers = option.cost.servers if option.cost else None
    if servers is not None and servers.memory_bytes > findings.machine.memory_bytes > 0:
        found.append(
            f"The workers of a machine need {shown_number(servers.memory_bytes / 1e9)} GB, more "
            f"than the measured machine has: take a larger one, or fewer workers on more machines."
        )
    return found
