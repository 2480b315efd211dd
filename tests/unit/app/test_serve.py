"""What a server does before it serves, and which versions it serves: references, files, changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twofold.app import serve as serving
from twofold.app.worker import Job
from twofold.errors import ConfigError, InvalidInput, UnknownModel
from twofold.hybrid.settings import AnswerSettings
from twofold.model.registry import Registry
from twofold.serving.metrics import RELOADS, RESTARTS, ROWS, Metrics, layout_for
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray

REGISTRY = Path("registry")
LOCAL = "127.0.0.1"
WORKERS = 2


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server((LOCAL, 0)) as taken:
        yield taken.getsockname()[1]


def test_store_of_no_kind_is_said_before_anything_is_started(folder: Path) -> None:
    with taken_port() as port, pytest.raises(ConfigError, match="--store: expected"):
        serving.serve(
            ["offer"],
            registry=REGISTRY,
            settings=ServeSettings(port=port),
            store="nosql://somewhere",
        )


def test_job_of_the_workers_names_the_store_and_when_it_is_an_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    monkeypatch.setattr(serving, "supervise", lambda work, **_: jobs.append(work.args[0]))
    policy = AnswerSettings(max_age_s=60.0)
    limits = ServeSettings(port=0)
    serving.serve(["offer"], registry=REGISTRY, settings=limits, store="here", policy=policy)
    serving.serve(["offer"], registry=REGISTRY, settings=limits)
    assert [(job.store, job.policy) for job in jobs] == [
        ("here", policy),
        ("store", AnswerSettings()),
    ]


def test_references_are_resolved_once_in_the_order_given(folder: Path) -> None:
    Registry(REGISTRY).set_alias("offer", "night", "1")
    found = serving._resolve(["drifting", "offer", "offer:night"], REGISTRY)
    assert found == (("drifting", "1"), ("offer", "2"), ("offer", "1"))


def test_a_version_asked_for_twice_is_served_once_where_it_stood_first(folder: Path) -> None:
    found = serving._resolve(["offer@1", "offer", "drifting", "offer@2", "offer@1"], REGISTRY)
    assert found == (("offer", "1"), ("offer", "2"), ("drifting", "1"))


@pytest.mark.parametrize(
    ("references", "kind", "words"),
    [
        (["offer", "nope"], UnknownModel, "expected a model among: drifting, offer, got 'nope'"),
        (["offer@7"], UnknownModel, "offer: expected a version among: 1, 2, got '7'"),
        (["offer:day"], UnknownModel, "offer: expected an alias among: none, got 'day'"),
        (["../offer"], InvalidInput, "model name: expected 1 to 64 letters"),
    ],
)
def test_a_model_that_is_not_there_ends_the_start_before_the_port_is_taken(
    folder: Path, references: list[str], kind: type[Exception], words: str
) -> None:
    with taken_port() as port, pytest.raises(kind) as caught:
        serving.serve(references, registry=REGISTRY, settings=ServeSettings(port=port))
    assert words in str(caught.value)


def test_more_models_than_there_is_room_for_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_VERSIONS", 4)
    assert len(serving._resolve(["offer@1", "offer@2"], REGISTRY)) == 2
    with pytest.raises(ConfigError, match="serve: expected at most 2 models, got 3"):
        serving._resolve(["offer@1", "offer@2", "drifting"], REGISTRY)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"tls_cert": "none.pem"}, "serve.tls_cert: expected a certificate and its key"),
        ({"tls_key": "some.pem"}, "serve.tls_cert: expected a file with tls_key, got none"),
        ({"api_keys": "none.toml"}, "none.toml: expected a file of keys"),
        ({"host": "0.0.0.0"}, "serve.host: expected API keys or TLS on a public address"),  # noqa: S104
    ],
)
def test_what_is_wrong_with_the_settings_is_said_before_anything_is_started(
    folder: Path, setting: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(serving, "supervise", started)
    with pytest.raises(ConfigError) as caught:
        serving.serve(["offer"], registry=REGISTRY, settings=ServeSettings(port=0, **setting))  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_the_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert serving._cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert serving._cores() == len(before)


def announced(code: str) -> str:
    """What a server in the background that runs this code is taken to say."""
    command = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        return serving.announced(process)


def test_a_server_in_the_background_is_ready_when_it_says_its_url() -> None:
    code = """print('{"url":"http://127.0.0.1:1","models":["m"]}'); print("more")"""
    assert announced(code) == "http://127.0.0.1:1"


def test_an_error_of_a_server_in_the_background_is_raised_in_its_own_words() -> None:
    code = """print('{"error":"serve.port: expected a free port","code":"ConfigError"}')"""
    with pytest.raises(ConfigError, match=r"^serve\.port: expected a free port$"):
        announced(code)


def test_a_server_in_the_background_that_ends_without_a_word_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^server: it ended before it was ready\. See stderr\.$"):
        announced("raise SystemExit(1)")


class Bench:
    """What is served of a registry, and what is counted of it."""

    def __init__(self, references: list[str], listener: socket.socket) -> None:
        models = serving._resolve(references, REGISTRY)
        size_bytes = layout_for(models, sorted(serving.REASONS)).size_bytes(2 * WORKERS + 1)
        shared, quotas = SharedArray.of_size(size_bytes), SharedArray.of_size(8)
        self.job = Job(
            models, models, str(REGISTRY), ServeSettings(), WORKERS, listener, shared, quotas
        )
        self.versions = serving._Versions(references, REGISTRY, self.job)

    def look(self) -> Job | None:
        """What the next generation of workers is to do, if there is to be one."""
        work: Any = self.versions.look()
        if work is None:
            return None
        assert work.func is serving.work
        [job] = work.args
        return job

    def total(self, job: Job, family: str, *labels: str) -> float:
        metrics = Metrics(job.layout, job.shared.view, region=0)
        return next(v[0] for f, at, v in metrics.totals() if (f.name, *at) == (family, *labels))


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    with socket.socket() as listener:
        yield Bench(["offer", "drifting"], listener)


def set_champion(version: str) -> None:
    Registry(REGISTRY).set_alias("offer", "champion", version)


def add_version(version: str) -> None:
    """A version that can be named, whatever is in it."""
    shutil.copytree(REGISTRY / "offer" / "2", REGISTRY / "offer" / version)


def test_nothing_changes_while_the_references_mean_the_same(bench: Bench) -> None:
    assert bench.look() is None
    set_champion("2")
    assert bench.look() is None


def test_what_the_references_mean_by_now_is_served_next(bench: Bench) -> None:
    set_champion("1")
    job = bench.look()
    assert job is not None
    assert job.models == (("offer", "1"), ("drifting", "1"))
    # Its metrics go on showing what was served before.
    assert job.counted == (("offer", "2"), ("drifting", "1"), ("offer", "1"))
    assert (job.shared, job.listener) == (bench.job.shared, bench.job.listener)
    bench.versions.switched()
    assert bench.look() is None
    assert bench.total(job, RELOADS, "switched") == 1
    set_champion("2")
    job = bench.look()
    assert job is not None
    assert job.models == bench.job.models
    assert job.counted == (("offer", "2"), ("drifting", "1"), ("offer", "1"))


def test_new_version_is_served_next_by_a_reference_to_the_newest(bench: Bench) -> None:
    add_version("3")
    job = bench.look()
    assert job is not None
    assert job.models == (("offer", "3"), ("drifting", "1"))


def test_what_was_refused_is_not_tried_again_until_something_changes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    set_champion("1")
    assert bench.look() is not None
    bench.versions.refused("offer@1: expected its file, got none.")
    assert caplog.messages[-1] == (
        "serving offer@2, drifting@1 on; refused offer@1, drifting@1: "
        "offer@1: expected its file, got none."
    )
    assert bench.look() is None
    assert bench.total(bench.job, RELOADS, "refused") == 1
    add_version("3")
    set_champion("3")
    job = bench.look()
    assert job is not None
    assert job.models[0] == ("offer", "3")
    bench.versions.switched()
    # By now it might be in order.
    set_champion("1")
    assert bench.look() is not None


def test_registry_that_can_t_be_read_changes_nothing_and_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    aliases = REGISTRY / "offer" / "aliases.json"
    aliases.write_bytes(b"\xff{")
    assert [bench.look() for _ in range(3)] == [None] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the registry can't be read; serving on as before" in caplog.text
    aliases.unlink()
    set_champion("1")
    assert bench.look() is not None


def test_model_that_is_gone_is_served_on(bench: Bench) -> None:
    shutil.rmtree(REGISTRY / "offer")
    assert bench.look() is None


def test_oldest_retired_version_gives_its_metrics_up_when_there_is_no_more_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_VERSIONS", 4)
    layout = bench.job.layout
    worker = Metrics(layout, bench.job.shared.view, region=1)
    worker.add(layout.slot(ROWS, "offer", "2"), 7)
    worker.add(layout.slot(ROWS, "drifting", "1"), 5)
    for version in ("3", "4", "5"):
        add_version(version)
        job = bench.look()
        assert job is not None
        bench.versions.switched()
    assert job.models == (("offer", "5"), ("drifting", "1"))
    assert job.counted == (("offer", "5"), ("drifting", "1"), ("offer", "3"), ("offer", "4"))
    assert bench.total(job, ROWS, "offer", "5") == 0
    assert bench.total(job, ROWS, "drifting", "1") == 5


def test_what_is_served_and_what_is_next_always_have_their_own_metrics(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_VERSIONS", 4)
    for version in map(str, range(3, 20)):
        before = bench.versions._job.models
        add_version(version)
        job = bench.look()
        assert job is not None
        assert set(job.counted) >= {*before, *job.models}
        assert len(job.counted) <= 4
        # The two generations agree on where those that both know are counted.
        both = set(job.counted) & set(bench.versions._job.counted)
        for item in both:
            assert job.layout.slot(ROWS, *item) == bench.versions._job.layout.slot(ROWS, *item)
        bench.versions.switched()


def test_supervisor_counts_in_a_region_of_its_own(bench: Bench) -> None:
    bench.versions.count(RESTARTS)
    bench.versions.count(RESTARTS)
    assert bench.total(bench.job, RESTARTS) == 2
    size = bench.job.layout.region_slots
    numbers = bench.job.shared.view.cast("d")
    assert sum(numbers[: 2 * WORKERS * size]) == 0
