"""The page of the example, in Chromium: drawn on, taught, and what it loads; in a worker too."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

pytest.importorskip("ziglang")
pytestmark = pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    site = tmp_path_factory.mktemp("site")
    runpy.run_path(str(browser.ROOT / "examples" / "web_page.py"))["main"](epochs=3, folder=site)
    with browser.served(Path(site)) as url, browser.browser() as session:
        session.open(f"{url}/index.html")
        yield session


def test_it_reads_what_is_drawn_and_is_taught(page: browser.Browser) -> None:
    assert page.text("#answer") == "–"
    page.draw("#paper", browser.OPEN_FOUR)
    read = int(page.text("#answer"))
    assert page.text("#time").endswith(" ms")
    bars = "return [...document.querySelectorAll('meter')].map((bar) => bar.value)"
    sure = page.script(bars)
    assert sum(sure) == pytest.approx(1, abs=1e-4) and max(sure) == sure[read]
    taught = (read + 1) % 10
    page.click(f"#bars tr:nth-child({taught + 1}) button")
    assert page.text("#answer") == str(taught)
    words = page.text("#learnt").split()
    assert words[:2] == ["1", "example(s),"] and float(words[-3]) > float(words[-1])
    page.click("#forget")
    assert page.text("#answer") == str(read) and page.text("#learnt") == ""
    assert page.script(bars) == pytest.approx(sure, abs=1e-6)
    page.click("#clear")
    assert page.text("#answer") == "–"


def test_it_trains_in_a_worker_while_it_arrives(page: browser.Browser) -> None:
    """The module is compiled while it is read; the worker's numbers are those of the page."""
    found = page.script(
        """
        const { load } = await import("./model/index.js"), remote = await import("./model/worker.js");
        const streaming = WebAssembly.compileStreaming;
        let streamed = 0;
        WebAssembly.compileStreaming = (source) => (streamed++, streaming(source));
        const x = Float32Array.from({ length: 64 }, (_, i) => (i % 7) / 7), y = Int32Array.of(3);
        const far = await remote.load(), trainers = [(await load()).trainer(), await far.trainer()];
        await trainers[1].restore(trainers[0].state());
        const losses = [[], []];
        for (let k = 0; k < 5; k++)
          for (const i of [0, 1]) losses[i].push((await trainers[i].train(1, [x, y])).loss);
        const [errors, answer] = [await trainers[1].selftest(), await trainers[1].predict(1, [x])];
        far.close();
        return { losses, streamed, errors, digit: answer[0].indexOf(Math.max(...answer[0])) };
        """
    )
    first, second = found["losses"]
    assert first == second and first[0] > first[-1]
    assert found["streamed"] == 1 and found["errors"] < 1e-3 and 0 <= found["digit"] < 10
