"""
Plays a night with faults on the example pictures and photographs its report: the picture in the README.

    python docs/report_picture.py [FOLDER]

needs the extra `browser` and a Chromium (BATCHEDIT_CHROMIUM, or `chromium`), takes two minutes and writes
docs/report.jpg; with FOLDER it also leaves the report and pictures of the whole page at three widths there. The night's
clock runs fast, so that a minute of work looks like hours; all else is as it is: the pool, the ledger and the report,
over the emulator.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import anyio
from PIL import Image
from playwright.sync_api import sync_playwright

from batchedit import Ledger, load_manifest, make_plan, render_report, run_plan
from batchedit.effects import Effects
from batchedit.emulator import Emulator, Faults, Switches
from batchedit.emulator.serve import run_in_thread
from batchedit.ledger.records import Decision
from batchedit.ledger.writer import LedgerWriter
from batchedit.run_options import RunOptions

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ROOT / "examples" / "manifests" / "in"
CLIENTS, SEASONS = ("Northlight", "Field & Fern", "Atelier Sud"), ("AW26", "SS27")
FASTER = 300
WIDTHS = (390, 1280, 1920)
MOST_BYTES = 150_000
MANIFEST = """\
version: 1
name: autumn
provider: {{name: runflow, base_url: '{url}'}}
defaults:
  quality: medium
  size: 1024x1024
  format: jpeg
  labels: {{client: '{{{{ client }}}}', season: '{{{{ season }}}}'}}
edits:
  white: {{prompt: pure white background}}
  oak: {{prompt: on an oak table}}
  sepia: {{prompt: sepia}}
  warm: {{prompt: warmer light}}
  mirror: {{prompt: mirror it}}
  mono: {{prompt: grayscale}}
sources: [{{csv: rows.csv}}]
limits: {{timeout: 3, list_lag: 0, poll: 0.1, rpm: 90, concurrency: 6, attempts: 2}}
budget: {{run: 4.00}}
"""


def play(folder: Path) -> Path:
    """A night with faults, and what somebody says about its pictures in the morning; returns the output folder."""
    rows = ["id,image,client,season"]
    for number, source in enumerate(sorted(INPUTS.glob("*.jpg"))):
        with Image.open(source) as image:
            image.resize((512, 512)).save(folder / source.name, quality=90)
        rows.append(f"{source.stem},{source.name},{CLIENTS[number % 3]},{SEASONS[number % 2]}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    faults = Faults(failed_transient=0.03, failed_moderation=0.06, throttle=0.05, answer_lost=0.05, wrong_size=0.05)
    emulator = Emulator(switches=Switches(latency=(0.4, 2.5)), faults=faults, seed="5")
    clock = Effects().wall
    began = clock()
    effects = Effects(wall=lambda: began - 6 * 3600 + FASTER * (clock() - began), seed="5")
    with run_in_thread(emulator) as url:
        (folder / "autumn.yaml").write_text(MANIFEST.format(url=url))
        plan = make_plan(load_manifest(folder / "autumn.yaml"), out=folder / "out")
        key = {"RUNFLOW_API_KEY": "rf_live_for_the_emulator_only"}
        anyio.run(partial(run_plan, plan, RunOptions(learn_rate=False), effects=effects, environment=key))
    emulator.close()
    ledger = folder / "out" / ".batchedit" / "ledger.db"
    with Ledger(ledger) as reader:
        done = [(task.slot, task.key) for task in reader.reviewed()]
    writer = LedgerWriter(ledger, effects, world="real")
    words = ["rejected" if number % 9 == 4 else "approved" for number in range(len(done))]
    writer.decide(Decision(slot=slot, key=key, verdict=word) for (slot, key), word in zip(done, words, strict=True))
    writer.close()
    return folder / "out"


def photograph(report: Path, left_in: Path | None) -> bytes:
    """The top of the page as a PNG; the whole page at each width into a folder, if there is one."""
    path = os.environ.get("BATCHEDIT_CHROMIUM") or shutil.which("chromium")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(viewport={"width": 1120, "height": 1240}, device_scale_factor=1)
        page.goto(report.absolute().as_uri())
        box = page.locator("section").nth(3).bounding_box()
        assert box is not None
        top = page.screenshot(
            full_page=True, clip={"x": 0, "y": 0, "width": 1120, "height": box["y"] + box["height"] + 20}
        )
        for width in WIDTHS if left_in is not None else ():
            page.set_viewport_size({"width": width, "height": 1000})
            page.screenshot(path=f"{left_in}/report-{width}.png", full_page=True)
        browser.close()
    return top


def main(left_in: Path | None) -> None:
    """Play, report, photograph."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if left_in is None else left_in
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / "report.html"
        report.write_text(render_report(play(folder), form="html", beside=folder), "utf-8")
        with Image.open(io.BytesIO(photograph(report, left_in))) as image:
            for quality in range(88, 40, -6):
                file = io.BytesIO()
                image.convert("RGB").save(file, "JPEG", quality=quality, optimize=True)
                if file.tell() <= MOST_BYTES:
                    break
            (ROOT / "docs" / "report.jpg").write_bytes(file.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
