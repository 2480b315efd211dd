"""The example of a support desk, as its agents see it: real servers, and a real browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from server_process import LIMIT_S, address_of, exchange

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from foreign import Client, running_browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"
MADE = ("customers", "predictions", "registry", "schedules", "store", "__pycache__")
PREPARE_S = 600
KEY = "5"
CHANGED = "#live [data-is=changed]"
PHONE, DESK = (390, 844), (1280, 900)


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PREPARE_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str, says: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a script of the folder; give it, and what it says as soon as that matches."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if re.search(says, said):
                    break
            assert re.search(says, said), said
            yield process, said
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LIMIT_S)
            process.kill()


@contextlib.contextmanager
def twofold_server(folder: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = ["-m", "twofold", "serve", "churn", "--json", "--deadline-s=30", f"--port={port}"]
    with started(folder, *command, says="url") as (process, said):
        yield process, json.loads(said)["url"]


@dataclass
class Place:
    """Where an agent works."""

    folder: Path
    url: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        with contextlib.closing(
            http.client.HTTPConnection(*address_of(self.url), timeout=LIMIT_S)
        ) as client:
            status, answer = exchange(client, method, path, body, headers)
            return status, json.loads(answer)

    def publish(self, as_of: datetime) -> str:
        """Predict and publish the customers of a day again, as of another instant."""
        run(
            self.folder, "-m", "twofold", "batch", "run", "churn", *self.customers(),
            "--output", "predictions/again", "--key", "customer_id",
            "--as-of", as_of.isoformat(), "--publish", "--with-features",
        )  # fmt: skip
        return as_of.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def customers(self) -> list[str]:
        return [str(path) for path in (self.folder / "customers").glob("*.parquet")]

    def roll_back(self) -> None:
        run(self.folder, "-m", "twofold", "snapshot", "rollback", "--model", "churn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("support") / "desk"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*MADE))
    run(folder, "prepare.py")
    return folder


@pytest.fixture
def place(folder: Path) -> Iterator[Place]:
    with (
        twofold_server(folder) as (_, twofold_url),
        started(folder, "desk.py", "--port=0", f"--twofold={twofold_url}", says=r"desk +http") as (
            _,
            said,
        ),
    ):
        [url] = re.findall(r"http://\S+", said)
        yield Place(folder, url)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def chance(text: str) -> float:
    [found] = re.findall(r"([\d.]+)\s%", text)
    return float(found)


def look(browser: Client, url: str, key: str = KEY, size: tuple[int, int] = DESK) -> None:
    browser("resize", width=size[0], height=size[1])
    browser("open", url=url)
    browser("type", label="Customer id", text=key, enter=True)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_an_agent_sees_the_stored_and_the_live_prediction_and_what_a_change_does(
    browser: Client, place: Place, size: tuple[int, int]
) -> None:
    look(browser, place.url, size=size)
    live = browser("wait", where="#live", words="the same")
    stored = browser("wait", where="#stored", words="fresh")
    answer = place.ask("GET", f"/v1/models/churn/answers/{KEY}")[1]
    assert chance(stored) == chance(live) == round(100 * answer["prediction"], 1)
    assert browser("seen", where="#whose") == f"Customer {KEY}"
    assert answer["run_id"] in stored
    assert browser("attribute", where="#stored time", name="datetime") == answer["as_of"]
    assert "Make an offer" in browser("seen", where="#verdict")

    browser("choose", label="Contract", text="Two year")
    live = browser("wait", where="#live", words="points")
    changed = {"key": KEY, "changes": {"contract": "Two year"}}
    expected = place.ask("POST", "/v1/models/churn/answers", changed)[1]
    assert expected["source"] == "live"
    assert chance(live) == round(100 * expected["prediction"], 1) < chance(stored)
    assert browser("seen", where="#stored") == stored
    saved = round(780 * (answer["prediction"] - expected["prediction"]))
    assert f"It would save about {saved} a year." in browser("seen", where="#verdict")

    browser("type", label="Monthly charges", text="20")
    browser("wait", where=CHANGED, words="contract, monthly charges")
    browser("type", label="Offer above (%)", text="1")
    browser("wait", where="#verdict", words="Not enough yet")

    overflow = "return document.documentElement.scrollWidth - innerWidth"
    assert browser("script", text=overflow) <= 0
    assert browser("complaints") == []


def test_the_page_is_worked_by_keyboard_and_every_field_has_its_label(
    browser: Client, place: Place
) -> None:
    browser("open", url=place.url)
    browser("wait_attribute", where="#field-contract", name="tagName", value="SELECT")
    assert browser("focused") == "Customer id"
    browser("press", keys=[KEY, "ENTER"])
    browser("wait", where="#live", words="the same")
    reached = [browser("press", keys=["TAB"]) for _ in range(3)]
    assert reached == ["Fresh up to (hours)", "Look", "Contract"]
    browser("press", keys=["ARROW_DOWN", "ARROW_DOWN", "ARROW_DOWN"])
    browser("wait", where=CHANGED, words="contract")
    reached = [browser("press", keys=["TAB"]) for _ in range(7)]
    assert reached[-2:] == ["More fields", "As last night again"]
    browser("press", keys=["ENTER"])
    browser("wait", where=CHANGED, words="nothing")
    script = """
        const inputs = [...document.querySelectorAll("input, select")];
        return inputs.filter((it) => !it.labels.length || !it.labels[0].textContent).length;
    """
    assert browser("script", text=script) == 0
    # The form is the signature's: a field for each of its inputs, with the values it has.
    inputs = place.ask("GET", "/v1/models/churn")[1]["inputs"]
    script = """
        const inputs = [...document.querySelectorAll("#changes :is(input, select)")];
        const values = (it) => [...(it.options ?? [])].slice(1).map((option) => option.value);
        return inputs.map((it) => [it.id.replace("field-", ""), values(it)]);
    """
    shown = dict(browser("script", text=script))
    assert shown == {item["name"]: item.get("categories", []) for item in inputs}


def test_what_is_wrong_is_said_where_it_is(browser: Client, place: Place) -> None:
    look(browser, place.url)
    browser("wait", where="#live", words="the same")
    browser("script", text="document.querySelector('details').open = true")
    browser("type", label="Tenure", text="1.5")
    browser("wait", where="#field-tenure-problem", words="Send a whole number.")
    assert browser("attribute", where="#field-tenure", name="aria-invalid") == "true"
    assert "Mend Tenure." in browser("seen", where="#verdict")
    browser("type", label="Tenure", text="e")
    browser("wait", where="#field-tenure-problem", words="Type a number")
    assert "%" not in browser("seen", where="#live")

    browser("type", label="Customer id", text="99999", enter=True)
    browser("wait", where="#key-problem", words="No customer 99999 in last night's batch.")
    assert browser("seen", where="#answers") == ""
    browser("type", label="Customer id", text=" ", enter=True)
    browser("wait", where="#key-problem", words="Type the id of a customer.")
    browser("type", label="Customer id", text="7", enter=True)
    browser("wait", where="#whose", words="Customer 7")
    browser("wait", where=CHANGED, words="nothing")

    browser("type", label="Fresh up to (hours)", text="0")
    browser("wait", where="#stored", words="stale")
    browser("wait", where="#verdict", words="Stale: what is known of the customer is")


def test_a_run_that_is_published_or_rolled_back_is_shown_at_the_next_look(
    browser: Client, place: Place
) -> None:
    look(browser, place.url)
    browser("wait", where="#live", words="the same")
    before = browser("attribute", where="#stored time", name="datetime")
    now = datetime.now(UTC).replace(microsecond=0)
    as_of = place.publish(now)
    assert browser("attribute", where="#stored time", name="datetime") == before != as_of
    browser("press", keys=["ENTER"])
    browser("wait_attribute", where="#stored time", name="datetime", value=as_of)
    assert "fresh" in browser("seen", where="#stored")
    place.roll_back()
    browser("press", keys=["ENTER"])
    browser("wait_attribute", where="#stored time", name="datetime", value=before)


def test_the_page_says_that_a_server_is_away_and_goes_on_when_it_is_back(
    browser: Client, folder: Path
) -> None:
    with contextlib.ExitStack() as stack:
        process, twofold_url = stack.enter_context(twofold_server(folder))
        command = ["desk.py", "--port=0", f"--twofold={twofold_url}"]
        desk, said = stack.enter_context(started(folder, *command, says=r"desk +http"))
        [url] = re.findall(r"http://\S+", said)
        look(browser, url)
        browser("wait", where="#live", words="the same")
        process.terminate()
        assert process.wait(LIMIT_S) == 0
        browser("choose", label="Contract", text="Two year")
        browser("wait", where="#problem", words="The twofold server is away")
        assert "as last seen" in browser("seen", where="#stored")
        assert "%" not in browser("seen", where="#live")
        # Nothing of one customer is shown for another.
        browser("type", label="Customer id", text="7", enter=True)
        browser("wait", where="#problem", words="away")
        assert browser("seen", where="#answers") == ""

        port = address_of(twofold_url)[1]
        stack.enter_context(twofold_server(folder, port))
        browser("wait", where="#whose", words="Customer 7")
        browser("wait", where="#stored", words="fresh")
        assert browser("seen", where="#problem") == ""

        desk.send_signal(signal.SIGINT)
        assert desk.wait(LIMIT_S) == 0
        browser("choose", label="Contract", text="One year")
        browser("wait", where="#problem", words="The desk itself is away")


def test_the_gateway_passes_on_as_it_came_and_refuses_in_the_form_of_twofold(
    place: Place,
) -> None:
    path = "/v1/models/churn/answers/a%2Fb%3F?max_age_s=1"
    status, answer = place.ask("GET", path)
    assert (status, answer["code"]) == (404, "unknown_key")
    assert "'a/b?'" in answer["error"]
    status, answer = place.ask("POST", "/v1/models/churn/answers", {"key": KEY, "nothing": 1})
    assert (status, answer["code"]) == (422, "invalid_input")
    refused = [
        (place.ask("POST", "/v1/models/churn/answers", "x" * 70_000), 413, "body_too_large"),
        (place.ask("GET", "/../desk.py"), 404, "unknown_path"),
        (place.ask("GET", "/desk.py"), 404, "unknown_path"),
        (place.ask("GET", "/metrics"), 404, "unknown_path"),
        (place.ask("POST", "/", {}), 405, "method_not_allowed"),
        (place.ask("DELETE", "/v1/models"), 501, "bad_request"),
        (place.ask("GET", "/v1/models", Host="elsewhere.example"), 421, "bad_request"),
    ]
    for (status, answer), expected, code in refused:
        assert (status, answer["code"]) == (expected, code)
        assert re.fullmatch(r"[\w/]+: expected .+, got .+\. .+\.|request: .+", answer["error"])


def test_one_command_sets_all_up_and_stops_all(folder: Path) -> None:
    says = r"desk +http"
    with started(folder, "run.py", "--port=0", "--twofold-port=0", says=says) as (process, said):
        url, twofold_url = (
            re.findall(rf"{name} +(http://\S+)", said)[0] for name in ("desk", "twofold")
        )
        # It was prepared already: nothing is packed or predicted a second time.
        assert "training" not in said
        desk = Place(folder, url)
        assert desk.ask("GET", f"/v1/models/churn/answers/{KEY}")[1]["fresh"] is True
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    for address in (url, twofold_url):
        with pytest.raises(OSError, match="refused"):
            http.client.HTTPConnection(*address_of(address), timeout=LIMIT_S).connect()


def test_the_night_predicts_the_day_that_was_prepared(folder: Path) -> None:
    listed = json.loads(run(folder, "-m", "twofold", "schedule", "list", "--json"))
    [nightly] = listed["schedules"]
    due = datetime.fromisoformat(nightly["next_due"]).astimezone(ZoneInfo(nightly["time_zone"]))
    [day] = [path.stem for path in (folder / "customers").glob("*.parquet")]
    assert day == f"{due - timedelta(days=1):%Y-%m-%d}"
