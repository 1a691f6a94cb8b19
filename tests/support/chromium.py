"""Debian's chromium without a window, driven by selenium, for the tests of the pages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_OPTIONS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "window-size=1200,900",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with a profile of its own, closed at the end."""
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for option in (*_OPTIONS, f"user-data-dir={profile}"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """A page in the browser, opened anew from its file."""

    def __init__(self, driver: Chrome, path: Path, place: str = "", *, width: int = 1200) -> None:
        self.driver = driver
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get("about:blank")
        driver.get_log("browser")  # what an earlier page said
        driver.get(path.resolve().as_uri() + place)

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script's `return`."""
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        """The first element that a selector finds."""
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """What elements show, as it is read; nothing for those that are not shown."""
        script = (
            "const shown = (one) => one.getClientRects().length > 0;"
            "return [...document.querySelectorAll(arguments[0])].filter(shown).map((one) => one.innerText);"
        )
        return self.run(script, selector)

    def headed(self, heading: str) -> bool:
        """Whether the page comes to show this one heading: an address that changes is noticed a moment later."""
        for _ in range(100):
            if self.texts("h1") == [heading]:
                return True
            time.sleep(0.02)
        return False

    def choose(self, selector: str, value: str) -> None:
        """Type into a field or choose an option, as a user does."""
        script = (
            "const [field, value] = arguments; field.value = value;"
            "field.dispatchEvent(new Event('input', { bubbles: true }));"
        )
        self.run(script, self.one(selector), value)

    def go(self, place: str) -> None:
        """Follow a link within the page; returns when the page has taken notice."""
        script = (
            "const [place, done] = arguments; addEventListener('hashchange', () => setTimeout(done), { once: true });"
            "location.hash = place;"
        )
        self.driver.execute_async_script(script, place)

    def problems(self) -> list[str]:
        """What the browser had to say so far: errors of scripts, blocked styles or requests."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
