"""A real browser without a window, driven as its user would: by labels, keys and what is seen."""

from __future__ import annotations

import os
import sys
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from exchange import answer
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

CHROME, CHROMEDRIVER, PROFILE = sys.argv[1:]
LIMIT_S = 60.0
QUIET = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    # Nothing but loopback is found, whatever a page or the browser itself asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    f"--user-data-dir={PROFILE}",
)

options = webdriver.ChromeOptions()
options.binary_location = CHROME
for flag in QUIET:
    options.add_argument(flag)
if os.geteuid() == 0:
    options.add_argument("--no-sandbox")  # Chromium's sandbox refuses root, as in containers.
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))


def labelled(label: str) -> WebElement:
    """The field that a label belongs to."""
    [found] = driver.find_elements(By.XPATH, f"//label[normalize-space()='{label}']")
    return driver.find_element(By.ID, str(found.get_attribute("for")))


def resize(width: int, height: int) -> None:
    # The size of the page; windows have a least width, and borders.
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def type_into(label: str, text: str, *, enter: bool = False) -> None:
    field = labelled(label)
    field.clear()
    field.send_keys(text, Keys.ENTER if enter else "")


def choose(label: str, text: str) -> None:
    Select(labelled(label)).select_by_visible_text(text)


def press(keys: list[str]) -> str:
    """Press keys where the focus is; give the label of where it is then."""
    driver.switch_to.active_element.send_keys(*(getattr(Keys, key, key) for key in keys))
    return focused()


def focused() -> str:
    script = """
        const found = document.activeElement;
        return (found.labels?.[0] ?? found).textContent.trim();
    """
    return driver.execute_script(script)


def seen(where: str) -> str:
    """The text that is seen in an element; empty if it isn't seen."""
    return driver.find_element(By.CSS_SELECTOR, where).text


def wait(where: str, words: str) -> str:
    """Wait until words are seen in an element; give all that is seen there."""

    def look(_: Any) -> str | None:
        text = seen(where)
        return text if words in text else None

    ignored = (StaleElementReferenceException,)
    waiting = WebDriverWait(driver, LIMIT_S, poll_frequency=0.02, ignored_exceptions=ignored)
    return waiting.until(look, f"waited in vain for {words!r} in {where}")


def attribute(where: str, name: str) -> str | None:
    return driver.find_element(By.CSS_SELECTOR, where).get_attribute(name)


def wait_attribute(where: str, name: str, value: str) -> None:
    """Wait until an attribute of an element has a value."""
    waiting = WebDriverWait(driver, LIMIT_S, poll_frequency=0.02)
    said = f"waited in vain for {name}={value} of {where}"
    waiting.until(lambda _: attribute(where, name) == value, said)


def script(text: str) -> Any:
    return driver.execute_script(text)


def violations() -> list[str]:
    """What keeps people from reading the page, as far as axe-core finds it by itself."""
    driver.execute_script(AXE_SCRIPT)
    run = """
        const done = arguments[arguments.length - 1];
        axe.run().then((found) => done(found.violations.map(
            (one) => `${one.impact} ${one.id}: ${one.nodes.map((it) => it.html).join(" ")}`)));
    """
    return driver.execute_async_script(run)


def picture(path: str) -> bool:
    return driver.save_screenshot(path)


def complaints() -> list[str]:
    """What the browser has to say against the page, since this was last asked."""
    return [entry["message"] for entry in driver.get_log("browser")]


try:
    answer(
        {
            "open": driver.get,
            "resize": resize,
            "type": type_into,
            "choose": choose,
            "press": press,
            "focused": focused,
            "seen": seen,
            "wait": wait,
            "attribute": attribute,
            "wait_attribute": wait_attribute,
            "script": script,
            "violations": violations,
            "picture": picture,
            "complaints": complaints,
        }
    )
finally:
    driver.quit()
