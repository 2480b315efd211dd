"""Which mode to use: batch, real-time or hybrid. Values only; `decide` is the table.

============== ================ =========== ========== ===========================================
somebody waits features         whole table a run can  use
                                is wanted   be so
                                            fresh
============== ================ =========== ========== ===========================================
no             any              any         no         real-time
no             any              yes         yes        batch
no             any              no          yes        batch; real-time, if a server that is kept
                                                       running costs less than the runs
yes            with the request no          any        real-time
yes            with the request yes         no         real-time
yes            with the request yes         yes        hybrid: each request live, the table by
                                                       batch; nothing stored is answered
yes            known, or partly any         no         real-time
yes            known, or partly yes         yes        hybrid
yes            known, or partly no          yes        hybrid; real-time, if only that keeps the
                                                       latency, or hybrid's work is too much
============== ================ =========== ========== ===========================================

First what is possible, then what is quick enough, then what it costs. Files can't be asked by key,
so batch alone is nothing for whoever waits; a stored answer is, if its features were known when it
was made. Hybrid's work is too much if it is more than `WORTH` times that of real time, and by more
than `NEGLIGIBLE_CORE_S` a day. Up to there it is worth it: a request needs no more than a key,
whose features nobody has to look up, and it is answered while the model is overloaded or away.
"""

from __future__ import annotations

import dataclasses

from twofold.lab.costs import (
    DayCost,
    Mode,
    cost_a_day,
    is_published,
    live_ratio,
    rows_of_run,
    run_time_of,
    unit_costs,
)
from twofold.lab.findings import Findings
from twofold.lab.needs import Features, Needs, shown_age, shown_number
from twofold.lab.sizing import Capacity, live_capacity, stored_capacity
from twofold.lab.timetable import youngest_age_s

WORTH = 2.0
NEGLIGIBLE_CORE_S = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """What a mode would be.

    Attributes:
        mode: Which.
        cost: What it takes; None if its runs can't be that fresh.
        p50_s: The median of an answer; None if it gives none.
        p99_s: The 99th percentile, of live ones where both are given.
        meets_slo: Whether that is quick enough, as far as it was measured.
        max_age_s: Of what predictions are made from, at most; None as of `cost`.
    """

    mode: Mode
    cost: DayCost | None
    p50_s: float | None
    p99_s: float | None
    meets_slo: bool
    max_age_s: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """What is recommended.

    Attributes:
        mode: The recommended one.
        reasons: Why, the deciding one first.
        rejected: Why not the others.
        options: All three.
    """

    mode: Mode
    reasons: tuple[str, ...]
    rejected: dict[Mode, str]
    options: dict[Mode, Option]

    @property
    def chosen(self) -> Option:
        """The recommended option."""
        return self.options[self.mode]


def decide(needs: Needs, findings: Findings) -> Decision:
    """Decide which mode to use: the table of this module."""
    options = _options(needs, findings)
    mode, reasons = _choose(needs, findings, options)
    rejected = {
        other: _why_not(other, options[mode], needs, findings, options[other])
        for other in Mode
        if other != mode
    }
    return Decision(mode=mode, reasons=tuple(reasons), rejected=rejected, options=options)


def mode_for(needs: Needs, findings: Findings) -> Mode:
    """The mode that `decide` recommends."""
    return _choose(needs, findings, _options(needs, findings))[0]


def _options(needs: Needs, findings: Findings) -> dict[Mode, Option]:
    return {mode: _option(mode, needs, findings) for mode in Mode}


def _choose(
    needs: Needs, findings: Findings, options: dict[Mode, Option]
) -> tuple[Mode, list[str]]:
    if not needs.is_waited_for:
        return _nobody_waits(needs, findings, options)
    if needs.features is Features.WITH_REQUEST:
        return _comes_with_request(needs, findings, options)
    return _known_before(needs, findings, options)


def _option(mode: Mode, needs: Needs, findings: Findings) -> Option:
    cost = cost_a_day(mode, needs, findings)
    max_age_s = 0.0 if mode is Mode.REAL_TIME else None
    if cost is not None and cost.timetable is not None:
        max_age_s = cost.timetable.max_age_s
    if mode is Mode.BATCH:
        # Nobody is answered: of use only where nobody waits.
        meets = not needs.is_waited_for
        return Option(
            mode=mode, cost=cost, p50_s=None, p99_s=None, meets_slo=meets, max_age_s=max_age_s
        )
    kinds = _capacities(mode, needs, findings)
    slowest = max(kinds, key=lambda one: one.p99_s)
    return Option(
        mode=mode,
        cost=cost,
        p50_s=slowest.p50_s,
        p99_s=slowest.p99_s,
        meets_slo=all(one.meets_slo for one in kinds),
        max_age_s=max_age_s,
    )


def _capacities(mode: Mode, needs: Needs, findings: Findings) -> list[Capacity]:
    """Of the kinds of answers that a mode gives."""
    live = 1.0 if mode is Mode.REAL_TIME else live_ratio(needs)
    found: list[Capacity] = []
    if live < 1.0:
        found.append(stored_capacity(findings, needs.slo_s))
    if live > 0.0:
        found.append(live_capacity(findings.real_time, needs.slo_s))
    return found


def _nobody_waits(
    needs: Needs, findings: Findings, options: dict[Mode, Option]
) -> tuple[Mode, list[str]]:
    batch, live = options[Mode.BATCH].cost, options[Mode.REAL_TIME].cost
    if batch is None or batch.timetable is None or live is None:
        return Mode.REAL_TIME, [_too_young(Mode.BATCH, needs, findings)]
    runs = (
        f"Nobody waits for an answer, and a run {batch.timetable.words} keeps predictions within "
        f"{shown_age(batch.timetable.max_age_s)}: it predicts {batch.timetable.rows_per_run:,.0f} "
        f"rows in {shown_age(batch.timetable.run_s)}."
    )
    if needs.wants_all:
        return Mode.BATCH, ["All predictions are wanted, as a table.", runs]
    kept = (
        f"Its runs take {_core(batch.kept_core_s)} a day; a server that is kept running takes "
        f"{_core(live.kept_core_s)}."
    )
    if batch.kept_core_s <= live.kept_core_s:
        return Mode.BATCH, [runs, kept]
    dear = (
        f"For predictions no older than {shown_age(needs.max_age_s)}, runs would take "
        f"{_core(batch.kept_core_s)} a day for {needs.rows_per_day:,} rows, of which "
        f"{_share(needs.asked_ratio)} are asked for; a server that is kept running takes "
        f"{_core(live.kept_core_s)}."
    )
    return Mode.REAL_TIME, [dear]


def _comes_with_request(
    needs: Needs, findings: Findings, options: dict[Mode, Option]
) -> tuple[Mode, list[str]]:
    live = options[Mode.REAL_TIME]
    first = (
        f"The features arrive with the request, and somebody waits {_slo(needs)} for the answer: "
        f"nothing can be predicted before."
    )
    reasons = [first, _live_speed(live, needs)]
    hybrid = options[Mode.HYBRID].cost
    if not needs.wants_all:
        return Mode.REAL_TIME, reasons
    if hybrid is None or hybrid.timetable is None:
        return Mode.REAL_TIME, [*reasons, _too_young(Mode.HYBRID, needs, findings)]
    table = (
        f"All predictions are wanted as a table, too: a run {hybrid.timetable.words} over what has "
        f"come since the last one makes it."
    )
    return Mode.HYBRID, [*reasons, table]


def _known_before(
    needs: Needs, findings: Findings, options: dict[Mode, Option]
) -> tuple[Mode, list[str]]:
    stored, live = options[Mode.HYBRID], options[Mode.REAL_TIME]
    if stored.cost is None or stored.cost.timetable is None or live.cost is None:
        return Mode.REAL_TIME, [_too_young(Mode.HYBRID, needs, findings), _live_speed(live, needs)]
    when = stored.cost.timetable
    runs = (
        f"Features are known before a row is asked for, and predictions may be "
        f"{shown_age(needs.max_age_s)} old: a run {when.words} predicts {when.rows_per_run:,.0f} "
        f"rows in {shown_age(when.run_s)}, and its predictions answer by key."
    )
    reasons = [runs]
    if needs.features is Features.PARTLY:
        reasons.append(
            "Some features change with the request: these answers are live, from the stored "
            "features and the changes."
        )
    work = (
        f"It takes {_core(stored.cost.work_core_s)} of work a day, with what is held for the peak; "
        f"predicting each request live, {_core(live.cost.work_core_s)}."
    )
    if needs.wants_all:
        return Mode.HYBRID, ["All predictions are wanted, and single ones at once.", *reasons, work]
    if live.meets_slo and not stored.meets_slo:
        slow = f"Only live answers were measured to keep {_slo(needs)}."
        return Mode.REAL_TIME, [slow, _live_speed(live, needs)]
    if is_worth_it(stored.cost.work_core_s, live.cost.work_core_s) or (
        stored.meets_slo and not live.meets_slo
    ):
        if stored.meets_slo and not live.meets_slo:
            reasons.insert(0, f"Only stored answers were measured to keep {_slo(needs)}.")
        return Mode.HYBRID, [*reasons, work]
    dear = (
        f"To keep stored predictions within {shown_age(needs.max_age_s)}, {needs.rows_per_day:,} "
        f"rows would be predicted {when.words} for {shown_number(needs.asked_per_day)} that are "
        f"asked for in a day: {_core(stored.cost.work_core_s)} of work a day; predicting each "
        f"request live takes {_core(live.cost.work_core_s)}."
    )
    return Mode.REAL_TIME, [dear, _live_speed(live, needs)]


def is_worth_it(hybrid_core_s: float, live_core_s: float) -> bool:
    """Whether hybrid's work is not too much beside that of real time, both a day's."""
    return hybrid_core_s <= max(WORTH * live_core_s, live_core_s + NEGLIGIBLE_CORE_S)


def _why_not(mode: Mode, chosen: Option, needs: Needs, findings: Findings, option: Option) -> str:
    if mode is Mode.BATCH and needs.is_waited_for:
        return _why_not_files(needs)
    if mode is Mode.HYBRID and needs.features is Features.WITH_REQUEST and not needs.wants_all:
        return "What is stored can't answer for features that come with the request."
    if option.cost is None:
        return _too_young(mode, needs, findings)
    if mode is Mode.BATCH:
        return "Its runs take more than a server that is kept running."
    if chosen.meets_slo and not option.meets_slo:
        return f"Its answers weren't measured to keep {_slo(needs)}."
    is_stored = mode is Mode.HYBRID
    return _why_not_stored(needs) if is_stored else _why_not_live(needs, findings, option.cost)


def _why_not_files(needs: Needs) -> str:
    if needs.features is Features.WITH_REQUEST:
        return f"Somebody waits {_slo(needs)}, which is no time to wait for the next run."
    return f"Somebody waits {_slo(needs)}, and files can't be asked for one key."


def _why_not_stored(needs: Needs) -> str:
    if not needs.is_waited_for:
        return "Nobody waits for single answers: nothing has to be stored by key."
    return "Its runs predict too much that nobody asks for."


def _why_not_live(needs: Needs, findings: Findings, cost: DayCost) -> str:
    units = unit_costs(findings)
    if needs.wants_all:
        row, request = shown_age(units.row_core_s), shown_age(units.live_core_s)
        return (
            f"All predictions are wanted as a table: a row of a batch takes {row} of a core, a "
            f"request {request}."
        )
    if not needs.is_waited_for:
        return f"Nobody waits: {_core(cost.kept_core_s)} a day would be kept running for nothing."
    return (
        f"At {_core(cost.work_core_s)} of work a day, each caller would need all features, and "
        f"nobody is answered while the model is away."
    )


def _too_young(mode: Mode, needs: Needs, findings: Findings) -> str:
    time = run_time_of(mode, needs, unit_costs(findings))
    youngest_s = youngest_age_s(lambda period: rows_of_run(needs, period), time)
    wanted = "of the instant" if needs.max_age_s == 0 else f"of {shown_age(needs.max_age_s)}"
    kind = "published runs" if is_published(mode, needs) else "runs"
    if youngest_s is None:
        return f"{kind.capitalize()} over {needs.rows_per_day:,} rows don't end in time at any age."
    return (
        f"Predictions {wanted} are wanted; {kind} over {needs.rows_per_day:,} rows a day can keep "
        f"no less than {shown_age(youngest_s)}."
    )


def _live_speed(live: Option, needs: Needs) -> str:
    if live.p99_s is None or needs.slo_s is None:
        return "Each is predicted when it comes."
    kept = "within" if live.meets_slo else "which is not within"
    return (
        f"A live answer takes {shown_age(live.p99_s)} at p99, {kept} the {shown_age(needs.slo_s)} "
        f"that are allowed."
    )


def _slo(needs: Needs) -> str:
    return "at most " + shown_age(needs.slo_s or 0.0)


def _core(core_s: float) -> str:
    if core_s >= 3_600.0:  # noqa: PLR2004 - an hour
        return f"{shown_number(core_s / 3_600.0)} core-hours"
    return f"{shown_number(core_s)} core-seconds"


def _share(ratio: float) -> str:
    return f"{ratio * 100:.3g} %"
