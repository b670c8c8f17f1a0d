"""A headless Chromium that a test can ask questions: the DevTools protocol over a local socket."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Tab:
    """One page. Every method waits for the browser's answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop = loop
        self._socket = socket
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.console: list[str] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._send(method, parameters), 60))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **session})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        if event.get("method") in ("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown"):
            self.console.append(str(event["params"]))

    def open(self, page: Path, *, width: int, height: int = 900, media: str = "screen", dark: bool = False) -> None:
        """Show a page at a width in CSS pixels, on a screen or on paper."""
        scheme = "dark" if dark else "light"
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        # Not the first entry of this tab's history: then paint times would be an older page's.
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=page.absolute().as_uri())
        while self.evaluate("document.readyState") != "complete" or self.evaluate("location.protocol") != "file:":
            pass

    def evaluate(self, expression: str) -> Any:
        """A JavaScript expression's value; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def first_paint(self) -> float:
        """Milliseconds from the start of the navigation to the first contentful paint."""
        return self.evaluate(
            "new Promise(done => new PerformanceObserver(list => done(list.getEntriesByName("
            "'first-contentful-paint')[0].startTime)).observe({type: 'paint', buffered: true}))"
        )

    def picture(self, *, height: int | None = None) -> bytes:
        """The page as PNG, from its top: all of it, or `height` CSS pixels."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        shown = min(size["height"], height or size["height"])
        clip = {"x": 0, "y": 0, "width": size["width"], "height": shown, "scale": 1}
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(found["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A tab of a browser of its own, with a profile in `folder` and no network."""
    process = subprocess.Popen(
        [
            str(CHROMIUM),
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder / 'profile'}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    loop = asyncio.new_event_loop()
    try:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"ws://\S+", line)))
        session = loop.run_until_complete(_session())
        socket = loop.run_until_complete(session.ws_connect(address, max_msg_size=0))
        tab = Tab(loop, socket)
        target = tab.send("Target.createTarget", url="about:blank")["targetId"]
        tab._session = tab.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.send(f"{domain}.enable")
        yield tab
        loop.run_until_complete(session.close())
    finally:
        process.terminate()
        process.wait(20)
        loop.close()


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()
