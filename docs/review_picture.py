"""
Edits the example pictures in rehearsal and photographs their review: the picture in the README.

    python docs/review_picture.py [FOLDER]

needs the extra `browser` and a Chromium (BATCHEDIT_CHROMIUM, or `chromium`), and writes docs/review.jpg; with FOLDER it
also leaves pictures of the page at three widths there: the grid, one picture in each of its views, a blind comparison.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from batchedit import Ledger, load_manifest, make_plan, run_plan_sync
from batchedit.ledger.decisions import DecisionBook, Ruling
from batchedit.ledger.records import Decision
from batchedit.model import ReviewSettings
from batchedit.review.serving import ReviewServer, ServeOptions, serve_in_thread
from batchedit.review.sheet import Sheet

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ROOT / "examples" / "manifests" / "in"
CLIENTS = ("Northlight", "Field & Fern", "Atelier Sud")
WIDTHS = (390, 1280, 1920)
MOST_BYTES = 160_000
CHECKLIST = ("Is the label still readable?", "Same colour as before?", "Nothing added, nothing missing?")
FINDINGS = (
    ("white border", "warned", "3.1 % of the border is not white"),
    ("fill", "failed", "the product fills 41 %"),
)
MANIFEST = """\
version: 1
name: autumn
provider: rehearsal
defaults:
  quality: medium
  size: 1024x1024
  format: jpeg
  labels: {client: '{{ client }}'}
edits:
  white: {prompt: pure white background}
  scene:
    variants:
      oak: {prompt: on an oak table}
      warm: {prompt: warmer light}
sources: [{csv: rows.csv}]
"""


def play(folder: Path) -> Path:
    """A rehearsed night, of which somebody has looked at a part; returns the ledger."""
    rows = ["id,image,client"]
    for number, source in enumerate(sorted(INPUTS.glob("*.jpg"))):
        with Image.open(source) as image:
            image.resize((768, 768)).save(folder / source.name, quality=92)
        rows.append(f"{source.stem},{source.name},{CLIENTS[number % 3]}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    (folder / "autumn.yaml").write_text(MANIFEST)
    run_plan_sync(make_plan(load_manifest(folder / "autumn.yaml"), out=folder / "out"))
    ledger = folder / "out" / ".batchedit" / "ledger.db"
    with Ledger(ledger) as reader:
        tasks = list(reader.shown())
    words = ("approved", "approved", "rejected", "approved", "undecided", "undecided")
    with DecisionBook(ledger) as book:
        book.decide(
            Ruling(
                decision=Decision(
                    slot=task.slot, key=task.key, verdict=words[number % 6], who="ada",
                    reason="halo" if words[number % 6] == "rejected" else "",
                )
            )
            for number, task in enumerate(tasks) if words[number % 6] != "undecided"
        )  # fmt: skip
    import sqlite3

    with closing(sqlite3.connect(ledger)) as database, database:
        for task, (name, verdict, measured) in zip(tasks[4::7], FINDINGS * 3, strict=False):
            database.execute(
                "INSERT INTO checks VALUES (?, 1, ?, ?, ?, ?, '', '2026-11-26T06:00:00Z')",
                (task.slot, name, task.files[0][1], verdict, measured),
            )
    return ledger


def sheet_of(ledger: Path, *, blind: bool = False) -> Sheet:
    """The review of it."""
    settings = ReviewSettings(checklist=CHECKLIST, blind=blind)
    return Sheet(ledger=ledger, root=ledger.parent.parent, settings=settings, secret=b"a picture")


def opened(browser: Any, server: ReviewServer) -> Any:
    """The page. Its key is good for one browser: whoever wants another size changes that of this one."""
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_selector("html[data-ready]")
    return page


def sized(page: Any, width: int, height: int, scheme: str = "light") -> None:
    """The page at another size, from its beginning."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    settle(page)


def settle(page: Any) -> None:
    """Wait for the pictures that are to be seen."""
    page.wait_for_timeout(400)
    page.evaluate(
        "Promise.all([...document.images].filter(i => i.offsetParent && i.src"
        " && i.getBoundingClientRect().top < innerHeight).map(i => i.decode().catch(() => {})))"
    )


def photograph(browser: Any, ledger: Path, left_in: Path) -> None:
    """The grid and one picture, at each width."""
    with serve_in_thread(sheet_of(ledger), ServeOptions(who="ada")) as server:
        page = opened(browser, server)
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                sized(page, width, 844 if width == WIDTHS[0] else 1000, scheme)
                page.screenshot(path=f"{left_in}/grid-{width}-{scheme}.png")
                for name, key in (("side", "Enter"), ("slider", "s"), ("zoom", "z")):
                    page.keyboard.press(key)
                    settle(page)
                    page.screenshot(path=f"{left_in}/{name}-{width}-{scheme}.png")
        sized(page, 1280, 1000)
        page.keyboard.press("c")
        settle(page)
        page.screenshot(path=f"{left_in}/compare-1280.png")
        page.keyboard.press("Escape")
        page.keyboard.press("e")
        page.screenshot(path=f"{left_in}/wish-1280.png")
        page.close()
    with serve_in_thread(sheet_of(ledger, blind=True), ServeOptions(who="ada")) as server:
        page = opened(browser, server)
        for width in WIDTHS:
            sized(page, width, 900)
            page.screenshot(path=f"{left_in}/blind-{width}.png")
        for number in range(30):
            page.keyboard.press("012"[number % 3])
        page.wait_for_selector("#blind table")
        page.screenshot(path=f"{left_in}/blind-result.png")
        page.close()


def main(left_in: Path | None) -> None:
    """Play, serve, photograph."""
    path = os.environ.get("BATCHEDIT_CHROMIUM") or shutil.which("chromium")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with ExitStack() as stack:
        folder = left_in or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        ledger = play(folder)  # before the browser, whose driver has an event loop of its own here
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        with serve_in_thread(sheet_of(ledger), ServeOptions(who="ada", read_only=True)) as server:
            page = opened(browser, server)
            sized(page, 1280, 860)
            page.keyboard.press("Enter")
            page.keyboard.press("s")
            settle(page)
            shot = page.screenshot()
            page.close()
        if left_in is not None:
            photograph(browser, ledger, left_in)
        browser.close()
    with Image.open(io.BytesIO(shot)) as image:
        for quality in range(88, 40, -6):
            file = io.BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=quality, optimize=True)
            if file.tell() <= MOST_BYTES:
                break
        (ROOT / "docs" / "review.jpg").write_bytes(file.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
