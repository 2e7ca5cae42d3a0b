"""People who visit the web chat with Debian's Chromium, and use the page as a screen reader does: by role and name."""

import asyncio
import os
import shutil
import threading

from playwright.async_api import async_playwright

CHROMIUM = os.environ.get("CHROMIUM_BIN") or shutil.which("chromium")


class Browser:
    """One headless browser whose visitors share nothing. Its methods may be called from any thread."""

    def __init__(self):
        assert CHROMIUM, "chromium is not installed; tests/run installs it"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._launch())

    async def _launch(self):
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    def run(self, coroutine, timeout=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def visit(self, url):
        """A new visitor, with an empty cookie jar, on the page."""
        return Visitor(self, self.run(self._open(url)))

    async def _open(self, url):
        context = await self._browser.new_context(locale="en-GB")
        page = await context.new_page()
        await page.goto(url)
        return page

    def stop(self):
        self.run(self._browser.close())
        self.run(self._playwright.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Visitor:
    """One person in front of one page."""

    def __init__(self, browser, page):
        self._browser, self._page = browser, page

    def say(self, text):
        self._browser.run(self._say(text))

    async def _say(self, text):
        await self._page.get_by_role("textbox", name="Message").fill(text)
        await self._page.get_by_role("button", name="Send").click()

    def sees(self, text, timeout=30):
        """Waits until the conversation shows `text`."""
        found = self._page.get_by_role("log").filter(has_text=text).first
        self._browser.run(found.wait_for(timeout=timeout * 1000), timeout + 10)

    def ask(self, text):
        """Says something to the echo model and waits for its answer."""
        self.say(text)
        self.sees(f"you said: {text}")
        return self.conversation()

    def conversation(self):
        return self._browser.run(self._page.get_by_role("log").inner_text())

    def reload(self):
        self._browser.run(self._page.reload())

    def leave(self):
        self._browser.run(self._page.context.close())
