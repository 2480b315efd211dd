"""A `twofold.toml` for what was advised, as text; to be filled in where it says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from twofold.lab.advice import Advice
from twofold.lab.costs import Mode, is_published
from twofold.lab.needs import DAY_S, Features, Needs, shown_age, shown_number
from twofold.lab.sizing import Servers
from twofold.lab.timetable import Timetable

MAX_WORKERS = 256
"""As `serve.workers` allows."""
INPUT = "PUT-THE-INPUT-HERE.parquet"
KEY = "PUT_THE_KEY_COLUMN_HERE"
STORE = "redis://PUT-THE-HOST-HERE"
MIN_TIMEOUT_S = 60.0


def settings_text(advice: Advice, needs: Needs, model: str) -> str:
    """Write the settings of the recommended mode, with comments.

    Args:
        advice: What was recommended.
        needs: What for.
        model: The model's name.
    """
    cost = advice.cost
    published = is_published(advice.mode, needs)
    lines = [f"# twofold.toml, as `twofold lab advise` wrote it for {model}: {advice.mode}."]
    lines += [f"# {line}" for line in _commands(advice.mode, model)]
    if published and cost.servers is not None and cost.servers.machines > 1:
        lines += ["", "# A folder serves one machine; for several, put your Redis or PostgreSQL."]
        lines += [f'store = "{STORE}"']
    if cost.servers is not None:
        lines += ["", *_serve(cost.servers, needs)]
    if published and advice.answers_max_age_s is not None:
        lines += ["", *_answers(advice.answers_max_age_s, needs)]
    if cost.timetable is not None:
        if cost.timetable.machines > 1:
            lines += ["", *_batch(cost.timetable)]
        lines += ["", *_schedule(cost.timetable, needs, model, is_published=published)]
    return "\n".join(lines) + "\n"


def _commands(mode: Mode, model: str) -> Sequence[str]:
    serve = f"twofold serve {model}"
    run = "twofold schedule run"
    if mode is Mode.BATCH:
        return [f"Start `{run}`, and let something keep it up."]
    if mode is Mode.REAL_TIME:
        return [f"Start `{serve}`."]
    return [f"Start `{run}` once and `{serve}` on each machine, and let something keep them up."]


def _serve(servers: Servers, needs: Needs) -> list[str]:
    machines = "one machine" if servers.machines == 1 else f"each of {servers.machines} machines"
    peak = f"a peak of {shown_number(needs.load_per_s)} requests a second"
    lines = ["[serve]", f"workers = {min(servers.workers_per_machine, MAX_WORKERS)}"]
    lines[1] += f"  # of {machines}, for {peak}"
    if needs.slo_s is not None:
        why = "what can't be in time is refused at once"
        lines.append(f"deadline_s = {_number(max(needs.slo_s, 0.001))}  # the latency; {why}")
    return lines


def _answers(max_age_s: float, needs: Needs) -> list[str]:
    why = "a period, a late start and a run"
    lines = ["[answers]", f"max_age_s = {_number(max_age_s)}  # {why}: {shown_age(max_age_s)}"]
    if needs.features is Features.PARTLY:
        # With their features published, they can be predicted anew.
        lines.append('on_other_version = "live"  # a new version counts at once')
    return lines


def _batch(timetable: Timetable) -> list[str]:
    return [
        "[batch]",
        f'engine = "ray"  # a run needs {timetable.machines} machines to end in time',
        '# ray_address = "..."  # of the cluster; without it, Ray is started on one machine',
    ]


def _schedule(timetable: Timetable, needs: Needs, model: str, *, is_published: bool) -> list[str]:
    daily = timetable.period_s >= DAY_S
    dated = "; `{date}` in it is the day a run is about" if daily else ""
    lines = [
        "[[schedule]]",
        f'name = "{_name(model, timetable)}"',
        f'model = "{model}"',
        f'input = "{INPUT}"  # replace it{dated}',
        'output = "predictions"',
    ]
    if is_published:
        lines += [f'key = "{KEY}"  # replace it']
    lines += [f'cron = "{timetable.cron}"  # {timetable.words}, in UTC']
    if needs.features is Features.WITH_REQUEST:
        lines += ["# Each run is to read what has come since the last one."]
    if is_published:
        lines += ["publish = true  # readable by key once it is committed"]
    if is_published and needs.features is Features.PARTLY:
        why = "a request sends only what it changes"
        lines += [f"with_features = true  # {why}"]
    timeout_s = max(MIN_TIMEOUT_S, math.ceil(timetable.period_s / 2))
    return [*lines, f"timeout_s = {timeout_s:.0f}  # a run takes {shown_age(timetable.run_s)}"]


def _name(model: str, timetable: Timetable) -> str:
    """Short enough for the names of runs."""
    return f"{model[:20]}-{timetable.words.replace(' ', '-')}"


def _number(value: float) -> str:
    """As TOML has it, in full: Python writes finite numbers the same way."""
    return f"{value:.0f}" if float(value).is_integer() else repr(value)
