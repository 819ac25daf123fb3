"""The open page lives: a monitor dies on it, a webhook's history fills, a restart is survived."""

from pathlib import Path

from chromium import Window, chromium, window
from playwright.async_api import expect
from telling import Story, telling

TIMEOUT = 2
SHOWN_WITHIN = 1.0
"""Seconds after the deadline by which the open page shows it."""
WATCH = """
    new MutationObserver(() => {
        if (document.querySelector(".monitors .status.s-dead")) window.redAt ??= Date.now();
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
"""
"""Notes in the page when a monitor turns red: a test that asks again and again would notice it late."""
OUTAGE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "WebSocket connection to")
"""What Chromium itself says of a server that is away, whatever a page does."""
REFUSED = "the server responded with a status of 422"
"""What it says of a form that comes back with its errors."""


async def made_in_the_form(opened: Window, name: str, timeout: int) -> str:
    """Makes a monitor as people do; returns its heartbeat URL, as the page shows it."""
    page = opened.page
    await opened.go("/ui")
    await page.click("text=New monitor >> nth=0")
    await page.fill("#f-name", name)
    await page.fill("#f-timeout", str(timeout))
    await page.click("button:has-text('Create')")
    recipe = await page.inner_text("#c-curl")
    return recipe.split()[-1]


async def test_a_monitor_turns_red_on_the_open_page(tmp_path: Path) -> None:
    """Made in the form, beaten, silenced: red within a second of its deadline, with a toast, without a reload."""
    async with telling(tmp_path) as story, chromium() as browser, window(browser, story.group) as opened:
        await story.channels()
        await opened.sign_in()
        url = await made_in_the_form(opened, "night watch", TIMEOUT)
        await opened.go("/ui")
        await opened.connected()
        row = opened.page.locator(".monitors li", has_text="night watch")
        await opened.page.evaluate(WATCH)
        await story.admin.post(url, json={"status": "ok", "message": "all is well <b>"})
        await expect(row.locator(".status")).to_have_text("alive")
        await expect(row.locator(".status")).to_have_text("dead", timeout=(TIMEOUT + 5) * 1000)
        shown: float = await opened.page.evaluate("window.redAt / 1000")  # gone if the page was loaded anew
        _, seen = await story.status("night watch")
        assert seen is not None
        assert shown - (seen + TIMEOUT) <= SHOWN_WITHIN
        await expect(opened.page.locator(".toast.s-dead")).to_contain_text("night watch")
        await expect(opened.page.locator('[data-count="dead"]')).to_have_text("1")
        await story.all_heard("has been silent", timeout=10)
        await the_timeline_tells_it(opened)
        assert opened.complaints == []


async def the_timeline_tells_it(opened: Window) -> None:
    """The monitor's page leads to the incident, whose timeline has the message, the transition and the telling."""
    page = opened.page
    await page.click(".monitors a:has-text('night watch')")
    await expect(page.locator("#beats")).to_contain_text("all is well <b>")
    await page.click("#incidents a")
    timeline = page.locator("#timeline")
    for words in ("all is well <b>", "Became dead", "telegram", "attempt 1"):
        await expect(timeline).to_contain_text(words)


async def test_a_webhook_shows_its_failure_and_its_retry(tmp_path: Path) -> None:
    """Made in the form, it delivers to a real receiver; the open history shows the 500 and then the retry."""
    async with telling(tmp_path) as story, chromium() as browser, window(browser, story.group) as opened:
        page = opened.page
        await opened.sign_in()
        await opened.go("/ui/webhooks/new")
        await page.fill("#f-name", "CRM")
        await page.fill("#f-event_type", "ticket.created")
        await page.fill("#f-url", "ftp://nowhere")
        await page.click("button:has-text('Create')")
        await expect(page.locator("#e-url")).to_contain_text("http")
        await page.fill("#f-url", f"{story.receiver.url}/crm")
        await page.fill("#f-secret", "s3cret")
        await page.click("button:has-text('Create')")
        await expect(page.locator("h1")).to_have_text("CRM")
        await opened.connected()
        story.receiver.answers.append((500, "try later", {}))
        await story.admin.post("/events", json={"type": "ticket.created", "payload": {"ticket": 7}})
        row = page.locator("#history tbody tr")
        await expect(row).to_contain_text("500")
        await expect(row.locator(".status")).to_have_text("delivered", timeout=25_000)
        await row.locator("summary").click()
        await expect(row).to_contain_text("attempt 2")
        await page.click("button:has-text('Redeliver')")
        await expect(page.locator("#history tbody tr")).to_have_count(2)
        await page.click("button:has-text('Send a test')")
        await expect(page.locator("#tested")).to_contain_text("200")
        assert [one for one in opened.complaints if REFUSED not in one] == []


async def test_a_restart_is_survived_and_nothing_is_missed(tmp_path: Path) -> None:
    """The whole group is killed and started again: the page reconnects and shows what happened meanwhile, once."""
    async with telling(tmp_path) as story, chromium() as browser, window(browser, story.group) as opened:
        await opened.sign_in()
        await opened.connected()
        await emit(story, "before.it")
        bell = opened.page.locator("#bell .count")
        await expect(bell).to_have_text("1")
        await opened.page.wait_for_timeout(1200)  # what was acknowledged is on disk (everysec)
        story.group.kill()
        await opened.page.wait_for_selector("#connection:not([data-state=connected])")
        story.group.start()
        await story.group.ready(story.admin)
        await emit(story, "during.it")
        await opened.connected()
        await expect(bell).to_have_text("2")
        await opened.page.click("#bell")
        kinds = opened.page.locator("#centre-list .kind")
        await expect(kinds.first).to_have_text("during.it")
        assert await kinds.all_inner_texts() == ["during.it", "before.it"]
        left = [one for one in opened.complaints if not any(words in one for words in OUTAGE)]
        assert left == []


async def emit(story: Story, kind: str) -> None:
    answer = await story.admin.post("/events", json={"type": kind, "payload": {"n": 1}})
    assert answer.status_code == 202, answer.text
