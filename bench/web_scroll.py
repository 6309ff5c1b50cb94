"""Measure the page of `moodex serve` in Chromium while it is scrolled: long tasks, memory and elements.

Used by bench/web.py. Thumbnails are answered within the browser, because synthetic images have no files.
"""

from __future__ import annotations

import re
import shutil
import statistics
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

PIXEL = bytes.fromhex("474946383961010001008000000000000000000021f90401000000002c00000000010001000002024401003b")
"""A GIF of one pixel."""

WHEEL_PIXELS = 1200
SAMPLES = 5
"""Times at which memory is measured, evenly distributed over the way."""

_OBSERVE = """() => {
  window.longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((one) => one.duration))).observe({type: "longtask"});
}"""
_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_LAST = "() => Math.max(...[...document.querySelectorAll('#grid .tile')].map((tile) => Number(tile.id.slice('tile-'.length))))"


def scroll(address: str, images: int) -> dict[str, Any]:
    """Scroll the grid at an address through some images; return long tasks in ms, heaps in MB, and elements of the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.route(re.compile("/thumbnail"), lambda route: route.fulfill(content_type="image/gif", body=PIXEL))
        page.goto(address)
        page.wait_for_selector("#tile-0.loaded")
        page.evaluate(_OBSERVE)
        page.mouse.move(600, 500)
        heaps: list[float] = []
        nodes = last = 0
        while last < images:
            if last >= images * len(heaps) / SAMPLES:
                heaps.append(heap_mb(page))
            page.mouse.wheel(0, WHEEL_PIXELS)
            page.evaluate(_FRAME)
            last, before = page.evaluate(_LAST), last
            if last < before:
                raise SystemExit(f"The grid went back from image {before:,} to {last:,}.")
            nodes = max(nodes, page.evaluate("() => document.querySelectorAll('*').length"))
        heaps.append(heap_mb(page))
        tasks = sorted(page.evaluate("() => window.longTasks"))
        browser.close()
    return {
        "images": last,
        "long_tasks": len(tasks),
        "long_task_ms": {"p50": round(statistics.median(tasks)), "max": round(tasks[-1])} if tasks else None,
        "heap_mb": heaps,
        "elements": nodes,
    }


def heap_mb(page: Any) -> float:
    """Return the size of what the page's scripts keep in memory, after unused objects were collected."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return round(metrics["JSHeapUsedSize"] / 1e6, 1)


def sentence(found: dict[str, Any]) -> str:
    """Return the results as a paragraph."""
    tasks = found["long_task_ms"]
    slow = "no task over 50 ms"
    if tasks:
        slow = f"{found['long_tasks']} tasks over 50 ms (median {tasks['p50']} ms, longest {tasks['max']} ms)"
    heaps = ", ".join(f"{heap:.1f}" for heap in found["heap_mb"])
    return (
        f"Scrolled through {found['images']:,} images in Chromium: {slow}; heap of the page in MB on the way: {heaps}; at most "
        f"{found['elements']:,} elements.\n"
    )
