"""The report's page in a real browser: what it shows, that it asks nobody for anything, and that texts stay texts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from batchedit import render_report
from batchedit.effects import Effects
from batchedit.keys import make_request
from batchedit.ledger.records import Bill, Note, OutputRow, TaskRow
from batchedit.ledger.run_records import RunStart
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import Event
from batchedit.model import LocalImage, Params, Quote, Raw, SourceImage
from batchedit.money import MicroUSD
from tests.browser.hostile import PAYLOADS

TASKS = 1_000
REFUSED = range(7, TASKS, 30)
ODD = range(13, TASKS, 30)
OPEN = range(221, TASKS, 30)
SHOWN = TASKS - len(REFUSED) - len(OPEN)
WIDTHS = (390, 1280, 1920)
_QUOTE = Quote(low=MicroUSD(34_000), high=MicroUSD(60_000))


def picture(number: int) -> bytes:
    """Stripes that are the number's bits: no two are alike, small ones neither."""
    image = Image.new("RGB", (40, 40), (200, 190, 180))
    for bit in range(10):
        if number >> bit & 1:
            image.paste((40, 60, 90), (4 * bit, 0, 4 * bit + 4, 40))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def kept(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256(data).hexdigest()


class Night:
    """A ledger of many tasks, every text of which is hostile, with real pictures in their places."""

    def __init__(self, root: Path) -> None:
        self.out, self.state = root / "out", root / "out" / ".batchedit"
        self.state.mkdir(parents=True)
        self.inputs = root / "in <b>&'\" #?%"
        self.now = datetime(2026, 11, 24, 22, tzinfo=UTC).timestamp()
        self.writer = LedgerWriter(self.state / "ledger.db", Effects(seed="0", wall=lambda: self.now), world="real")
        start = RunStart(
            manifest=PAYLOADS[0], provider=PAYLOADS[1], model="m", program="test", price_list="1", budget=MicroUSD(20_000_000)
        )  # fmt: skip
        with self.writer.transaction():
            self.writer.start_run(start)
            for number in range(TASKS):
                self.add(number)
        self.writer.end_run(3, PAYLOADS[2])
        self.writer.close()

    def add(self, number: int) -> None:
        text = PAYLOADS[number % len(PAYLOADS)]
        source = self.inputs / f"{number}.png"
        identity = f"sha256:{kept(source, picture(number))}"
        slot = f"{number} {text}"
        wanted = make_request(
            model="m", prompt=f"{number} {text}", images=(SourceImage(identity=identity, ref=LocalImage(source)),), mask=None,
            params=Params(quality="medium"),
        )  # fmt: skip
        row = TaskRow(
            slot=slot, item_id=slot, edit=["white", text][number % 2], variant="", key=wanted.key,
            labels={"client": text if number % 3 else "acme"}, paths=(), place="jobs.csv:2",
        )  # fmt: skip
        self.writer.record_tasks([(row, wanted, _QUOTE)], provider="p")
        known = self.writer.request(wanted.key)
        attempt = self.writer.begin_attempt(
            known, scope="s", key_print="k", findable=True, generation=known.generation, body_sha256="0" * 64,
            reserved=_QUOTE.high,
        )  # fmt: skip
        self.now += 7 + number % 5
        if number in REFUSED:
            self.writer.fail(attempt, "refused", Note(message=text, code="MODERATION"), retryable=False)
            return
        if number in OPEN:
            return
        self.writer.accept(attempt, provider_run_id=f"r{number}", answer="{}")
        self.writer.reply(attempt)
        data = picture(number + 500)
        digest = sha256(data).hexdigest()
        raw = Raw(number=1, sha256=digest, format="png", width=40, height=40, size_bytes=len(data))
        kept(self.state / "raw" / raw.name, data)
        bill = Bill(cost=MicroUSD(34_000), basis="reported")
        if number in ODD:
            self.writer.set_aside(attempt, Event.ODD, [raw], bill, Note(message=f"odd {text}", code="ODD"))
            return
        name = f"{number} a:b #?%&'\"<b>.png"
        kept(self.out / name, data)
        output = OutputRow(slot=slot, number=1, planned=name, path=name, path_key=name, key=wanted.key, sha256=digest)
        self.writer.finish(attempt, [raw], [output], bill)


@dataclass
class Opened:
    """A page, and what it did that it should not."""

    page: Any
    file: Path
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the hostile night."""
    root = tmp_path_factory.mktemp("night")
    Night(root)
    file = root / "report.html"
    file.write_text(render_report(root / "out", form="html", pictures=TASKS, beside=root), "utf-8")
    return file


@pytest.fixture
def opened(chromium: Any, report: Path) -> Iterator[Opened]:
    """The page, opened as a file; whatever else it asks for, says to the console or opens is a complaint."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    found = Opened(page=context.new_page(), file=report)

    def judge(route: Any) -> None:
        if route.request.url != report.as_uri() and not route.request.url.startswith("data:"):
            found.complaints.append(f"asked for {route.request.url}")
            route.abort()
        else:
            route.continue_()

    def dismiss(dialog: Any) -> None:
        found.complaints.append("a dialog")
        dialog.dismiss()

    context.route("**/*", judge)
    found.page.on("console", lambda message: found.complaints.append(f"console: {message.text}"))
    found.page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
    found.page.on("dialog", dismiss)
    found.page.goto(report.as_uri(), wait_until="load")
    yield found
    context.close()
    assert not found.complaints


def test_it_opens_from_the_disk_and_asks_nobody_for_anything(opened: Opened) -> None:
    """All the pictures are decoded, all the charts have a size, each section has its heading."""
    opened.page.mouse.wheel(0, 100_000)
    broken = opened.run(
        "async () => { const all = [...document.images].filter(i => i.offsetParent);"
        ""
        " await Promise.all(all.map(i => i.decode())); return all.filter(i => !i.naturalWidth).length; }"
    )
    assert broken == 0
    assert opened.run("[...document.querySelectorAll('svg.chart')].every(s => s.getBoundingClientRect().height > 100)")
    headings = opened.run("[...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert {"Tasks", "Money", "Spent over time", "Not done, by reason", "Pictures", "Runs"} <= set(headings)


def test_hostile_texts_are_shown_as_texts(opened: Opened) -> None:
    """No element comes from them, no script runs, no title changes; each of the 200 can be read on the page."""
    assert len(set(PAYLOADS)) == 200
    allowed = (
        "html head meta title style body main header h1 h2 h3 p section div span ul li b table thead tbody tfoot tr th td"
        " svg rect line text polygon polyline article code nav button figure figcaption img a footer script"
    )
    names = opened.run("[...new Set([...document.querySelectorAll('*')].map(e => e.localName))]")
    assert set(names) <= set(allowed.split())
    assert opened.run("document.scripts.length") == 1
    assert opened.run("document.querySelectorAll('style').length") == 1
    handlers = (
        "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => /^on/i.test(a.name)).length"
    )
    assert opened.run(handlers) == 0
    assert opened.run("[...document.querySelectorAll('[style]')].length") == 0
    assert opened.run("window.pwned === undefined")
    text = opened.run("document.documentElement.textContent")
    shown = "\n".join([text, *opened.run("[...document.images].map(i => i.alt)")])
    missing = [payload for payload in PAYLOADS if as_shown(payload) not in shown]
    assert not missing
    assert opened.page.title() == f"{PAYLOADS[0]}: cost report"


def as_shown(text: str) -> str:
    """A NUL cannot stand in HTML; a parser puts something else there, or nothing."""
    return text.split("\x00")[0]


def test_the_sheet_is_leafed_through(opened: Opened) -> None:
    """So many at a time, back and forth, by keyboard too; ends are ends."""
    visible = "[...document.querySelectorAll('.sheet figure')].filter(f => !f.hidden).length"
    count = opened.run("document.querySelectorAll('.sheet figure').length")
    assert count == SHOWN
    earlier, later = opened.page.get_by_role("button", name="Earlier"), opened.page.get_by_role("button", name="Later")
    seen = [opened.run(visible)]
    assert earlier.is_disabled()
    while later.is_enabled():
        later.focus()
        opened.page.keyboard.press("Enter")
        seen.append(opened.run(visible))
    assert sum(seen) == count
    assert f"of {count}" in opened.page.locator(".pager").inner_text()
    earlier.click()
    assert opened.run(visible) == seen[-2]


def test_links_lead_to_the_full_pictures(opened: Opened) -> None:
    """Names with spaces, quotes, #, ? and % included."""
    links = opened.run("[...document.querySelectorAll('.sheet a')].map(a => a.href)")
    assert len(links) == SHOWN
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.query, parts.fragment) == ("file", "", "")
        with Image.open(unquote(parts.path)) as image:
            assert image.size == (40, 40)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(opened: Opened, width: int, scheme: str) -> None:
    """On a phone, a laptop and a wide screen: the page itself never scrolls sideways, and words stand out."""
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.set_viewport_size({"width": width, "height": 900})
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run("document.body.scrollWidth") <= width
    outside = opened.run(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .hidden') && e.offsetParent"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    light = opened.run(
        "(() => { const light = c => c.match(/[0-9]+/g).slice(0, 3).map(Number).map(v => (v /= 255) <= 0.04045"
        " ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);"
        " const of = (q, p) => light(getComputedStyle(document.querySelector(q))[p]);"
        " return [of('.note', 'color'), of('.tile', 'backgroundColor'), of('body', 'color'), of('body', 'backgroundColor')]; })()"
    )
    soft, paper, ink, ground = light
    assert (ink < ground) == (scheme == "light")
    for one, other in ((soft, paper), (ink, ground)):
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5


def test_it_prints(opened: Opened, tmp_path: Path) -> None:
    """Several pages with the charts and all the pictures, those that are leafed away included."""
    opened.page.emulate_media(media="print")
    assert opened.run(
        "[...document.querySelectorAll('.sheet figure')].every(f => f.getBoundingClientRect().height > 20)"
    )
    assert opened.run("getComputedStyle(document.querySelector('.pager')).display") == "none"
    pdf = tmp_path / "report.pdf"
    opened.page.pdf(path=str(pdf), format="A4", print_background=True)
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type /Page/") >= 3
    assert data.count(b"/Subtype /Image") >= SHOWN


def test_figures_on_the_page_are_those_of_the_json(opened: Opened) -> None:
    """What a person reads first is what a program reads."""
    data = json.loads(render_report(opened.file.parent / "out", form="json"))
    tiles = dict(
        opened.run(
            "[...document.querySelectorAll('.tile')].map(t => [...t.children].slice(0, 2).map(c => c.textContent))"
        )
    )
    assert tiles["Spent"] == f"${data['total']['spent']}"
    assert tiles["At risk"] == f"${data['total']['at_risk']}"
    assert tiles["Delivered"] == str(data["total"]["delivered"])


def test_it_can_be_read_without_script(chromium: Any, report: Path) -> None:
    """Everything is there, only not leafed through."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".sheet figure:visible").count() == SHOWN
    assert page.locator(".pager:visible").count() == 0
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_photographed(opened: Opened, width: int, tmp_path: Path) -> None:
    """For people to look at; kept by pytest. There is something to see from top to bottom."""
    opened.page.set_viewport_size({"width": width, "height": 1000})
    file = tmp_path / f"report-{width}.png"
    opened.page.screenshot(path=str(file), full_page=True)
    with Image.open(file) as image:
        assert image.width == width
        assert image.height > 1500
        assert len(image.resize((200, 400)).getcolors(100_000) or []) > 100
