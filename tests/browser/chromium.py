"""A real Chromium that looks at the pages and keeps account of everything it should not have to report."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from telling import ADMIN, Group

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
REPORT = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error("CSP: " + event.violatedDirective + " " + event.blockedURI + " " + event.sample));
    window.alert = (text) => console.error("ran: alert " + text);
"""
AXE = "axe-core@4"
PATIENCE_MS = 20_000
"""For whatever has no deadline of its own: these machines are busy."""


def executable() -> str:
    """A Chromium of this machine; without one the test is skipped."""
    named = os.environ.get("PULSE_TEST_CHROMIUM", "")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), "")
    if not found:
        pytest.skip(
            "no Chromium here: install one (apt-get install chromium), or name it in PULSE_TEST_CHROMIUM"
        )
    return found


@cache
def axe() -> str:
    """The script of axe-core from the npm registry; the test is skipped when that cannot be reached."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core comes from the npm registry, and there is no npm here")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", folder, AXE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        if done.returncode:
            pytest.skip(
                f"axe-core comes from the npm registry, which cannot be reached: {done.stderr[-200:]}"
            )
        return (Path(folder) / "node_modules/axe-core/axe.min.js").read_text()


@dataclass
class Window:
    """A browser window on one origin; `complaints` is everything that should never be."""

    context: BrowserContext
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        """Opens a page of ours; anything but a 200 fails."""
        answer = await self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"

    async def sign_in(self, token: str = ADMIN) -> None:
        """Signs in by the form."""
        await self.go("/ui/sign-in")
        await self.page.fill("#token", token)
        await self.page.click("button.primary")
        await self.page.wait_for_url("**/ui")

    async def connected(self) -> None:
        """Waits until the page is live."""
        await self.page.wait_for_selector("#connection[data-state=connected]")

    async def violations(self) -> list[str]:
        """What axe-core finds serious or critical on the open page."""
        found: list[dict[str, Any]] = await self.page.evaluate(
            f"""async () => {{ const module = {{}}; {axe()}; return (await axe.run()).violations }}"""
        )
        return [
            f"{one['id']}: {json.dumps([node['html'][:160] for node in one['nodes'][:3]])}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wide: int = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return max(0, wide)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(browser: Browser, group: Group, **wishes: Any) -> AsyncIterator[Window]:
    """A window of its own, with its own cookies."""
    context = await browser.new_context(**{"locale": "en-GB", **wishes})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    await context.add_init_script(REPORT)
    page = await context.new_page()
    opened = Window(context, page, group.url)
    ours = urlsplit(group.url).netloc

    def told(message: Any) -> None:
        if message.type in ("error", "warning"):
            opened.complaints.append(f"{message.type}: {message.text}")

    def asked(request: Any) -> None:
        if urlsplit(request.url).netloc != ours and not request.url.startswith(("data:", "blob:")):
            opened.complaints.append(f"external request: {request.url}")

    page.on("console", told)
    page.on("pageerror", lambda error: opened.complaints.append(f"script: {error}"))
    context.on("request", asked)
    try:
        yield opened
    finally:
        await context.close()
