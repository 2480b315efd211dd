from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twofold.app import lab_load as app
from twofold.cli.root import main
from twofold.lab.arrivals import Arrivals, Profile
from twofold.lab.endpoint import Endpoint, Wanted
from twofold.lab.findings import Latency, Level
from twofold.lab.generator import Target
from twofold.lab.loaded import Loaded
from twofold.lab.requests import Protocol

URL = "http://127.0.0.1:9"


class Lab:
    """Remembers what it was asked to do, and gives what it is told to."""

    def __init__(self) -> None:
        self.wanted: Wanted | None = None
        self.profile: Profile | None = None
        self.limits: app.Limits | None = None
        self.closed: tuple[int, float] | None = None
        self.reasons: list[str] = []

    def endpoint_of(self, wanted: Wanted) -> Endpoint:
        self.wanted = wanted
        return Endpoint(Target(("127.0.0.1", 9), [b"x"]), Protocol.TWOFOLD, "/p", 1)

    def load_open(self, endpoint: Endpoint, profile: Profile, limits: app.Limits) -> Loaded:
        self.profile, self.limits = profile, limits
        return self.loaded()

    def load_closed(
        self, endpoint: Endpoint, connections: int, seconds: float, limits: app.Limits
    ) -> Loaded:
        self.closed, self.limits = (connections, seconds), limits
        return self.loaded()

    def loaded(self) -> Loaded:
        latency = Latency(count=2000, mean_s=0.01, max_s=1.0, percentiles_s={"50": 0.0123})
        level = Level(
            offered_per_s=100, answered_per_s=99, in_time_per_s=99, shed_per_s=1, failed_per_s=0,
            latency=latency, lateness_p99_s=0.0001, is_valid=not self.reasons,
        )  # fmt: skip
        return Loaded(
            level=level, latency=latency, lateness=latency, count=1000,
            outcomes={"in_time": 990, "shed": 10}, statuses={"200": 990, "503": 10}, resent=0,
            elapsed_s=10, busy_ratio=0.1, is_valid=not self.reasons, reasons=self.reasons,
            stretches=[level, level],
        )  # fmt: skip


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab()
    for name in ("endpoint_of", "load_open", "load_closed"):
        monkeypatch.setattr(app, name, getattr(lab, name))
    return lab


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["lab", "load", URL, *words], prog_name="twofold")


def test_a_rate_is_offered_as_the_flags_say(lab: Lab) -> None:
    done = run("--rate=50", "--seconds=4", "--arrivals=constant", "--slo-ms=80", "--seed=3")
    assert done.exit_code == 0, done.output
    assert lab.profile is not None
    assert lab.limits is not None
    assert (lab.profile.seconds, lab.profile.arrivals, lab.profile.seed) == (
        4,
        Arrivals.CONSTANT,
        3,
    )
    assert (lab.limits.slo_s, lab.limits.deadline_s) == (0.08, 0.08)
    assert lab.wanted is not None
    assert lab.wanted.deadline_s == 0.08


def test_the_table_has_outcomes_sample_counts_and_lateness(lab: Lab) -> None:
    done = run("--rate=50")
    for text in ("in time", "990", "99.00%", "shed", "p50 12.3 ms", "of 2,000 answers",
                 "late by 0.1 ms at p99", "valid"):  # fmt: skip
        assert text in done.stdout


def test_an_invalid_load_ends_with_1_and_says_why(lab: Lab) -> None:
    lab.reasons = ["the generator was late"]
    done = run("--rate=50", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["loaded"]["is_valid"] is False
    assert "invalid: the generator was late" in done.stderr


def test_json_says_what_was_asked(lab: Lab) -> None:
    found = json.loads(run("--rate=50", "--json").stdout)
    assert (found["url"], found["protocol"], found["path"]) == (URL, "twofold", "/p")
    assert found["loaded"]["outcomes"] == {"in_time": 990, "shed": 10}


def test_a_closed_loop_has_as_many_connections_as_it_is_given(lab: Lab) -> None:
    run("--closed=7", "--seconds=2")
    assert lab.closed == (7, 2.0)
    assert lab.limits is not None
    assert lab.limits.connections == 7


@pytest.mark.parametrize(
    ("words", "rates"),
    [(["--steps=10,20.5"], [(10, 10), (20.5, 20.5)]), (["--ramp=0:100"], [(0, 10), (90, 100)])],
)
def test_steps_and_ramps_are_profiles(
    lab: Lab, words: list[str], rates: list[tuple[float, float]]
) -> None:
    run(*words)
    assert lab.profile is not None
    found = [(item.from_per_s, item.to_per_s) for item in lab.profile.stretches]
    assert [found[0], found[-1]] == rates


def test_headers_and_keys_reach_the_requests(lab: Lab) -> None:
    run("--rate=1", "--header=X-A: b:c", "--api-key=k", "--keys=a:b.csv:id", "--model=m")
    assert lab.wanted is not None
    assert list(lab.wanted.headers) == [("X-A", "b:c"), ("X-Api-Key", "k")]
    assert lab.wanted.keys == (Path("a:b.csv"), "id")
    assert lab.wanted.model == "m"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate=1", "--closed=1"], "at most one of"),
        (["--rate=1", "--find-capacity"], "at most one of"),
        (["--ramp=5"], "FROM:TO"),
        (["--steps=a,b"], "--steps"),
        (["--steps=1,nan"], "--steps"),
        (["--rate=0"], "--rate"),
        (["--rate=1", "--header=nope"], "'NAME: VALUE'"),
        (["--rate=1", "--header=A: b\r\nC: d"], "'NAME: VALUE'"),
        (["--rate=1", "--keys=file"], "FILE:COLUMN"),
        (["--rate=1", "--timeout-s=0.05"], "at least the deadline"),
        (["--rate=1", "--html=/nowhere/at/all.html"], "is no folder"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    lab: Lab, words: list[str], said: str
) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.output
    assert lab.profile is None


def test_without_a_mode_the_capacity_is_found_and_a_curve_measured(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    level = lab.loaded().level
    search = app.Search(100.0, [level], "no higher rate than 100/s is tried")
    asked: list[Any] = []

    def searched(*given: Any, **_: Any) -> app.Search:
        asked.append(given)
        return search

    monkeypatch.setattr(app, "search_capacity", searched)
    monkeypatch.setattr(
        app, "goodput_curve", lambda *_: app.curve_of([level], _limits(), was_stopped=False)
    )
    done = run("--html", str(tmp_path / "page.html"))
    assert done.exit_code == 0, done.output
    assert "capacity: none found" in done.stdout
    assert (tmp_path / "page.html").exists()
    done = run("--find-capacity", "--json")
    found = json.loads(done.stdout)["curve"]
    assert (found["capacity_per_s"], found["levels"]) == (100, [])
    assert "may be higher" in done.stderr
    assert len(asked) == 2


def _limits() -> app.Limits:
    return app.Limits(
        deadline_s=0.1, slo_s=0.1, timeout_s=1, warm_up_s=0, connections=1, processes=1
    )


@pytest.mark.parametrize("url", ["nonsense", "https://127.0.0.1:1", "http://:80", "http://h:x"])
def test_a_url_that_is_none_is_wrong_usage(url: str) -> None:
    done = CliRunner().invoke(main, ["lab", "load", url, "--rate=50"], prog_name="twofold")
    assert done.exit_code == 2
    assert "URL: expected" in done.stderr
