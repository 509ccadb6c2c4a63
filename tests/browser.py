"""A browser without a window: the page of examples/web_page.py in Chromium, as a person uses it.

`Browser` speaks the WebDriver protocol (w3.org/TR/webdriver2) with `chromedriver`; Debian has both as the
packages chromium and chromium-driver. Run: python tests/browser.py docs
It makes the page, draws a digit, teaches another one, prints how long a prediction takes in the page, and
writes pictures into that folder: web_page_misread.png, web_page_taught.png.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=780,720",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's number, as the protocol has it
# Points of strokes on the paper of 256 by 256
TWO = [[(80, 80), (100, 50), (150, 45), (180, 75), (165, 120), (120, 165), (80, 205), (130, 205), (190, 205)]]
OPEN_FOUR = [[(85, 50), (80, 130), (180, 130)], [(170, 50), (165, 210)]]


def missing() -> str | None:
    """What a browser needs and this machine has not; None where there is all."""
    for names, package in (
        (("chromedriver",), "chromium-driver"),
        (("chromium", "google-chrome"), "chromium"),
    ):
        if not any(map(shutil.which, names)):
            return f"needs {names[0]} (Debian: {package})"
    return None


class Browser:
    """A session of a browser. url: of chromedriver, with the number of the session."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """What the driver answers. Raises AssertionError with its message for an error."""
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode(errors="replace")[:500]) from error

    def open(self, url: str) -> None:
        """Load a page, and wait until it says that it is ready."""
        self.ask("POST", "/url", url=url)
        for _ in range(300):
            if self.script("return document.body?.dataset.ready === 'yes'"):
                return
            time.sleep(0.1)
        raise AssertionError(f"{url}: {self.script('return document.body.innerText')}")

    def script(self, text: str) -> Any:
        """What JavaScript in the page gives."""
        return self.ask("POST", "/execute/sync", script=text, args=[])

    def element(self, css: str) -> str:
        return str(self.ask("POST", "/element", using="css selector", value=css)[_ELEMENT])

    def click(self, css: str) -> None:
        self.ask("POST", f"/element/{self.element(css)}/click")

    def text(self, css: str) -> str:
        return str(self.ask("GET", f"/element/{self.element(css)}/text"))

    def draw(self, css: str, strokes: Sequence[Sequence[tuple[int, int]]]) -> None:
        """Press, move and let go on an element of 256 by 256."""
        paper, actions = {_ELEMENT: self.element(css)}, []
        for stroke in strokes:
            for i, (x, y) in enumerate(stroke):
                move = {"type": "pointerMove", "duration": 20, "origin": paper, "x": x - 128, "y": y - 128}
                actions += [move, *([{"type": "pointerDown", "button": 0}] if i == 0 else [])]
            actions.append({"type": "pointerUp", "button": 0})
        self.ask("POST", "/actions", actions=[{"type": "pointer", "id": "pen", "actions": actions}])

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, both gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromedriver", "--port=0"]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert driver.stdout is not None
            said = next(line for line in driver.stdout if "started successfully on port" in line)
            url = f"http://127.0.0.1:{said.split()[-1].rstrip('.')}"
            chrome = {"args": [*OPTIONS, f"--user-data-dir={profile}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome}}}
            session = Browser(url).ask("POST", "/session", **wanted)["sessionId"]
            made = Browser(f"{url}/session/{session}")
            try:
                yield made
            finally:
                made.ask("DELETE", "")
        finally:
            driver.terminate()
            driver.wait(30)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are, on this machine alone."""
    handler = functools.partial(_Quiet, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


TIMES = """
const { load } = await import("./model/index.js");
const model = await load(), x = new Float32Array(64).fill(0.5), times = [];
for (let i = 0; i < 2000; i++) {
  const start = performance.now();
  for (let k = 0; k < 10; k++) model.predict(1, [x]);
  times.push((performance.now() - start) / 10);
}
return times.sort((a, b) => a - b)[1000];
"""


def main(folder: str) -> None:
    """See the module."""
    why = missing()
    if why is not None:
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as site:
        runpy.run_path(str(ROOT / "examples" / "web_page.py"))["main"](folder=site)
        with served(Path(site)) as url, browser() as page:
            page.open(f"{url}/index.html")
            page.draw("#paper", TWO)
            print("read as", page.text("#answer"))
            page.click("#clear")
            page.draw("#paper", OPEN_FOUR)
            print("read as", page.text("#answer"))
            page.picture(Path(folder) / "web_page_misread.png")
            page.click("#bars tr:nth-child(5) button")
            print(page.text("#learnt"), "- read as", page.text("#answer"))
            page.picture(Path(folder) / "web_page_taught.png")
            print(f"a prediction in the page: {page.script(TIMES):.4f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
