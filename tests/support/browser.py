"""A real Chromium for tests of the live page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
MISSING = "no chromium and chromedriver here (Debian: chromium chromium-driver)"


def require_chromium() -> None:
    """Skip without a browser; in CI that is a failure."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        if os.environ.get("GREEN_LLM_E2E_REQUIRED"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        driver.set_page_load_timeout(60)
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()


def look(driver: webdriver.Chrome, *, width: int, height: int = 900, dark: bool = False, mobile: bool = False) -> None:
    """The size and colour scheme that pages are shown with."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console says, but for styles inside Plotly that our policy refuses and that nothing we draw needs."""
    messages = [entry["message"] for entry in driver.get_log("browser")]
    return [text for text in messages if not ("/static/plotly.js" in text and "Applying inline style" in text)]


def requested(driver: webdriver.Chrome) -> set[str]:
    """Addresses that were asked for since the last look."""
    events: list[dict[str, Any]] = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}


def inaccessible(driver: webdriver.Chrome) -> list[tuple[str, Any]]:
    """What axe finds against WCAG and good practice: the rule, and where it is broken.

    Raises:
        AssertionError: axe found nothing to check.
    """
    found = find_spec("axe_core_python")
    assert found is not None
    assert found.submodule_search_locations
    driver.execute_script((Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    report = driver.execute_async_script("axe.run().then(arguments[0])")
    assert report["passes"]
    return [(v["id"], [(node["target"], node["failureSummary"]) for node in v["nodes"]]) for v in report["violations"]]
