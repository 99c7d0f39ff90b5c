"""The review's page in a real browser: keys, filters, the slider, undo, two tabs, blind pairs, a folder that comes back."""

from __future__ import annotations

import hashlib
import json
import signal
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from batchedit.cli import run as run_cli
from batchedit.ledger.decisions import DecisionBook, Ruling
from batchedit.ledger.records import Decision
from batchedit.model import ReviewSettings
from batchedit.review.handout import report_id, secret_of, write_handout
from batchedit.review.serving import ReviewServer, ServeOptions, serve_in_thread
from batchedit.review.sheet import Sheet
from tests.browser.catalog import Row, make_ledger
from tests.browser.hostile import PAYLOADS
from tests.conftest import KEY, command, database

WIDTHS = (390, 1280, 1920)
CLIENTS = ("Northlight", "Field & Fern", "Atelier Sud")


def shop_row(number: int) -> Row:
    """A catalog of three clients, every tenth picture with a finding."""
    return Row(
        item=f"SKU-{number:05}",
        edit=("white", "scene")[number % 2],
        client=CLIENTS[number % 3],
        check="border" if number % 10 == 3 else "",
    )


def sheet_of(ledger: Path, **more: Any) -> Sheet:
    settings = ReviewSettings(checklist=("Is the label readable?",), blind=more.pop("blind", False))
    secret = secret_of(report_id(ledger))
    return Sheet(ledger=ledger, root=ledger.parent.parent, settings=settings, secret=secret, **more)


@dataclass
class Page:
    """A page, and what it did that it should not."""

    page: Any
    ledger: Path
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, condition: str) -> None:
        """Wait for something; the page's policy does not let Playwright's own way in, which evaluates a text there."""
        for _ in range(500):
            if self.run(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never: {condition}")

    def saved(self) -> None:
        """Wait until everything is in the ledger."""
        self.page.wait_for_selector("html[data-unsaved='0']")

    def current(self) -> str:
        return str(self.run("document.querySelector('.card[aria-selected=true] .name').textContent"))

    def counts(self) -> str:
        self.page.wait_for_timeout(120)
        return str(self.page.locator("#counts").inner_text())

    def latest(self) -> dict[str, tuple[str, str, str]]:
        """What the ledger says: item -> (verdict, reason, note)."""
        with database(self.ledger) as db:
            rows = db.execute("SELECT item_id, verdict, reason, note FROM v_decisions WHERE holds").fetchall()
        return {item: (verdict, reason, note) for item, verdict, reason, note in rows}


@dataclass
class Studio:
    """Serves ledgers and opens them in windows of their own."""

    browser: Any
    stack: ExitStack
    pages: list[Page] = field(default_factory=list)

    def serve(self, ledger: Path, *, who: str = "ada", read_only: bool = False, **more: Any) -> ReviewServer:
        options = ServeOptions(who=who, read_only=read_only)
        return self.stack.enter_context(serve_in_thread(sheet_of(ledger, **more), options))

    def open(self, url: str, ledger: Path, *, context: Any = None, width: int = 1280) -> Page:
        if context is None:
            context = self.browser.new_context(
                viewport={"width": width, "height": 900}, locale="en-GB", accept_downloads=True
            )
            self.stack.callback(context.close)
        found = Page(page=context.new_page(), ledger=ledger)
        self.pages.append(found)
        origin = url.split("?")[0].rstrip("/")

        def judge(route: Any) -> None:
            asked = route.request.url
            fine = asked.startswith((origin + "/", "blob:")) if origin.startswith("http") else asked.startswith("file:")
            if not fine:
                found.complaints.append(f"asked for {asked}")
                route.abort()
            else:
                route.continue_()

        context.route("**/*", judge)
        found.page.on("console", lambda message: found.complaints.append(f"console: {message.text}"))
        found.page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))

        def dismiss(dialog: Any) -> None:
            found.complaints.append("a dialog")
            dialog.dismiss()

        found.page.on("dialog", dismiss)
        found.page.goto(url)
        found.page.wait_for_selector("html[data-ready]")
        return found

    def review(self, ledger: Path, **more: Any) -> Page:
        width = more.pop("width", 1280)
        return self.open(self.serve(ledger, **more).url, ledger, width=width)


@pytest.fixture
def studio(chromium: Any) -> Iterator[Studio]:
    with ExitStack() as stack:
        made = Studio(chromium, stack)
        yield made
        assert [complaint for page in made.pages for complaint in page.complaints] == []


def test_sixty_decisions_by_keyboard(studio: Studio, tmp_path: Path) -> None:
    """Each key's decision is in the ledger, in the order of the grid; reloaded, the page says the same."""
    ledger = make_ledger(tmp_path / "out", 80, shop_row)
    page = studio.review(ledger)
    reasons = list(ReviewSettings().reasons)
    wanted: dict[str, tuple[str, str, str]] = {}
    for number in range(60):
        key = ("a", "p", "x", "r", "1", "5", "9")[number % 7]
        item = page.current()
        assert item not in wanted, "it went on to one that is decided"
        page.press(key)
        if key in "ap":
            wanted[item] = ("approved", "", "")
        else:
            wanted[item] = ("rejected", reasons[int(key) - 1] if key.isdigit() else "", "")
    page.saved()
    assert page.latest() == wanted
    approved = sum(verdict == "approved" for verdict, _, _ in wanted.values())
    assert page.counts().startswith(f"20 undecided · ✓ {approved} approved · ✗ {60 - approved} rejected")
    assert f"${80 * 0.034 / approved:.3f} for each approved" in page.counts()
    assert "left" in page.page.locator("#pace").inner_text()
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    shown = page.run(
        "Object.fromEntries([...document.querySelectorAll('.card')].map(c => [c.querySelector('.name').textContent, c.dataset.verdict]))"
    )
    assert {item: verdict for item, verdict in shown.items() if verdict != "undecided"} == {
        item: verdict for item, (verdict, _, _) in wanted.items()
    }


def test_warnings_come_first_then_clients_and_items(studio: Studio, tmp_path: Path) -> None:
    """All positions of an item stand together."""
    page = studio.review(make_ledger(tmp_path / "out", 40, shop_row))
    order = page.run(
        "[...document.querySelectorAll('.card')].map(c => [c.querySelector('.warn') ? 0 : 1,"
        " c.querySelector('.more').textContent.split('client ')[1].toLowerCase(), c.querySelector('.name').textContent])"
    )
    assert order == sorted(order)
    assert sum(not clean for clean, _, _ in order) == 4


def test_decisions_outlive_a_killed_server(studio: Studio, tmp_path: Path) -> None:
    """What the page calls saved is there after kill -9; what was not is told, and not lost while the page is open."""
    ledger = make_ledger(tmp_path / "out", 10, shop_row)
    process = command("review", "out", "--no-open", "--who", "ada", cwd=tmp_path)
    assert process.stdout is not None
    url = next(line.strip() for line in process.stdout if "http://" in line)
    page = studio.open(url, ledger)
    page.press("a", "a", "3")
    page.saved()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sorted(verdict for verdict, _, _ in page.latest().values()) == ["approved", "approved", "rejected"]
    fourth = page.current()
    page.press("a")
    page.page.wait_for_selector("#banner:not([hidden])")
    told = page.page.locator("#banner").inner_text()
    assert f"Not saved yet: 1 ({fourth})" in told
    assert "start it again with `batchedit review`, and decide these there" in told
    page.complaints.clear()  # the browser's own words about the connection
    port = url.split(":")[2].split("/")[0]
    again = command("review", "out", "--no-open", "--port", port, "--who", "ada", cwd=tmp_path)
    assert again.stdout is not None
    other = studio.open(next(line.strip() for line in again.stdout if "http://" in line), ledger)
    assert other.counts().startswith("7 undecided")
    again.send_signal(signal.SIGINT)
    again.communicate()
    page.complaints.clear()
    other.complaints.clear()


def test_undo_and_taking_back(studio: Studio, tmp_path: Path) -> None:
    """Ctrl+Z goes back step by step, U takes back; both are rows, nothing is removed."""
    page = studio.review(make_ledger(tmp_path / "out", 6, shop_row))
    first = page.current()
    page.press("a", "1")
    second = [item for item in page.latest() if item != first]
    page.press("Control+z")
    page.press("Control+z")
    page.saved()
    assert {verdict for verdict, _, _ in page.latest().values()} == {"undecided"}
    assert page.current() == first
    assert page.counts().startswith("6 undecided")
    page.press("a", "Home", "u")
    page.saved()
    assert page.latest()[first] == ("undecided", "", "")
    page.press("Control+z")
    page.saved()
    assert page.latest()[first][0] == "approved"
    with database(page.ledger) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone() == (7,)
    assert len(second) <= 1


def test_two_tabs_see_each_other(studio: Studio, tmp_path: Path) -> None:
    """One decides, the other shows it, and its undo does not undo what it has not done."""
    ledger = make_ledger(tmp_path / "out", 6, shop_row)
    server = studio.serve(ledger)
    one = studio.open(server.url, ledger)
    two = studio.open(server.url.split("?")[0], ledger, context=one.page.context)
    item = one.current()
    one.press("a")
    one.saved()
    two.page.wait_for_selector(".card[data-verdict=approved]", timeout=10_000)
    two.press("Home", "2")
    two.saved()
    one.press("Control+z")
    one.saved()
    one.page.wait_for_selector(".card[data-verdict=rejected]", timeout=10_000)
    assert "somebody else has decided" in one.page.locator("#banner").inner_text()
    assert one.latest() == {item: ("rejected", "colour", "")}


def say_elsewhere(ledger: Path, item: str, verdict: str) -> None:
    """Another reviewer's decision about what the task has now, straight into the ledger."""
    with database(ledger) as db:
        slot, key = db.execute("SELECT slot, request_key FROM tasks WHERE item_id = ?", (item,)).fetchone()
    with DecisionBook(ledger) as book:
        ruling = Ruling(decision=Decision(slot=slot, key=key, verdict=verdict, who="bob"))
        assert book.decide([ruling]) != [None]


def replace_picture(ledger: Path, item: str) -> str:
    """Give a task the request of another one, as a re-edit does; its key."""
    with database(ledger) as db:
        key = str(db.execute("SELECT request_key FROM tasks WHERE item_id <> ? LIMIT 1", (item,)).fetchone()[0])
        slot = db.execute("SELECT slot FROM tasks WHERE item_id = ?", (item,)).fetchone()[0]
        db.execute("UPDATE tasks SET request_key = ? WHERE slot = ?", (key, slot))
        db.execute("UPDATE outputs SET request_key = ? WHERE slot = ?", (key, slot))
    return key


def test_undo_says_nothing_of_another_picture(studio: Studio, tmp_path: Path) -> None:
    """Steps about a picture that has been replaced are gone; those about others can still be undone."""
    page = studio.review(make_ledger(tmp_path / "out", 6, shop_row))
    other = page.current()
    page.press("a")
    item = page.current()
    page.press("a", "Home", "ArrowRight", "x", "Home", "ArrowRight")
    page.saved()
    assert page.current() == item
    key = replace_picture(page.ledger, item)
    page.press("x")
    page.saved()
    assert "has another picture by now" in page.page.locator("#banner").inner_text()
    for _ in range(4):
        page.press("Control+z")
    page.saved()
    with database(page.ledger) as db:
        said = db.execute("SELECT verdict FROM v_decisions WHERE item_id = ? AND holds", (item,)).fetchall()
        about = db.execute(
            "SELECT count(*) FROM decisions JOIN tasks USING (slot, request_key) WHERE item_id = ? AND request_key = ?",
            (item, key),
        ).fetchone()
    assert (said, about) == ([], (0,))
    assert page.latest()[other][0] == "undecided"


def test_undo_takes_back_only_its_own_decision(studio: Studio, tmp_path: Path) -> None:
    """Also when the page has shown what somebody else has said since; own steps go back one by one."""
    page = studio.review(make_ledger(tmp_path / "out", 4, shop_row))
    item = page.current()
    page.press("a")
    page.saved()
    say_elsewhere(page.ledger, item, "rejected")
    page.page.wait_for_selector(".card[data-verdict=rejected]", timeout=10_000)
    page.press("Control+z")
    page.saved()
    assert "somebody else has decided" in page.page.locator("#banner").inner_text()
    assert page.latest() == {item: ("rejected", "", "")}
    page.page.wait_for_selector(".card[data-verdict=rejected]")
    page.press("Control+z", "Home", "a", "Home", "1", "Control+z")
    page.saved()
    assert page.latest()[item][0] == "approved"
    page.press("Control+z", "Control+z")
    page.saved()
    assert page.latest() == {item: ("rejected", "", "")}
    assert page.run("document.querySelector('.card[aria-selected=true]').dataset.verdict") == "rejected"


def test_what_is_not_taken_is_not_shown_and_not_undone(studio: Studio, tmp_path: Path) -> None:
    """A note that is refused leaves the card as it was, and the step before it is the last one."""
    page = studio.review(make_ledger(tmp_path / "out", 4, shop_row))
    item = page.current()
    page.press("a", "Home", "n")
    page.page.locator("#ask-note textarea").fill(f"key {KEY}")
    page.page.locator("#ask-yes").click()
    page.saved()
    page.page.wait_for_selector("#banner:not([hidden])")
    assert "Not taken" in page.page.locator("#banner").inner_text()
    assert page.page.locator(".card [title^=key]").count() == 0
    assert page.latest() == {item: ("approved", "", "")}
    page.complaints.clear()  # the browser's own words about the refusal


def test_all_pictures_of_a_task_are_seen(studio: Studio, tmp_path: Path) -> None:
    """Keys and buttons go through them, the card says how many there are, and a folder has them too."""
    ledger = make_ledger(tmp_path / "out", 3, shop_row)
    with database(ledger) as db:
        slot = str(db.execute("SELECT slot FROM tasks ORDER BY rowid LIMIT 1").fetchone()[0])
        for number in (2, 3):  # as if bought with n: 3; the other two are other tasks' pictures
            name, digest = db.execute(
                "SELECT path, sha256 FROM outputs WHERE path = ?", (f"{number - 1:06}.png",)
            ).fetchone()
            copy = f"more-{number}.png"
            (tmp_path / "out" / copy).write_bytes((tmp_path / "out" / name).read_bytes())
            db.execute(
                "INSERT INTO outputs (slot, number, planned, path, path_key, request_key, sha256, placed_at)"
                " SELECT slot, ?, ?, ?, ?, request_key, ?, placed_at FROM outputs WHERE slot = ? AND number = 1",
                (number, copy, copy, copy, digest, slot),
            )
    item = slot.split("/")[0]
    page = studio.review(ledger)
    assert page.page.locator(".several-files").all_inner_texts() == ["3 pictures"]
    page.run(
        "(item) => [...document.querySelectorAll('.card')].find(c => c.querySelector('.name').textContent === item).click()",
        item,
    )
    page.press("Enter")
    source = "document.querySelector('#after img').getAttribute('src')"
    seen_at = []
    for press in ("", "]", "]", "]", "["):
        if press:
            page.press(press)
        page.until(
            "document.querySelector('#after img').complete && document.querySelector('#after img').naturalWidth > 0"
        )
        seen_at.append((page.page.locator("#which").inner_text()[:14], page.run(source).split("/")[2]))
    assert seen_at == [(f"picture {number} of 3", str(number)) for number in (1, 2, 3, 3, 2)]
    page.page.locator("#files [data-file='1']").click()
    assert page.run(source).split("/")[2] == "3"
    page.press("Escape", "Home")
    folder = tmp_path / "static"
    report = report_id(ledger)
    sheet = sheet_of(ledger)
    sheet.secret = secret_of(report)
    write_handout(sheet, folder, report=report)
    name = sheet.id_of(slot)
    assert {path.name for path in (folder / "pictures").glob(f"{name}-[0-9]-screen.webp")} == {
        f"{name}-{number}-screen.webp" for number in (1, 2, 3)
    }
    assert len([*sheet.ahead()]) == 3 + 3 + 2


def test_filters_have_counts_and_approve_all_asks(studio: Studio, tmp_path: Path) -> None:
    """Counts are of what would be shown; search finds items, prompts and notes; Shift+A names the number first."""
    page = studio.review(make_ledger(tmp_path / "out", 60, shop_row))

    def count(title: str, value: str) -> int:
        return int(page.run(
            "([t, v]) => [...document.querySelectorAll('fieldset')].find(f => f.querySelector('legend').textContent === t)"
            ".querySelectorAll('label').values().find(l => l.querySelector('span').textContent === v).querySelector('.n').textContent",
            [title, value],
        ))  # fmt: skip

    def tick(title: str, value: str) -> None:
        box = page.page.locator("fieldset", has=page.page.locator(f"legend:text-is('{title}')"))
        box.locator("label", has=page.page.locator(f"span:text-is('{value}')")).locator("input").click()

    assert (count("Edit", "white"), count("client", "Northlight"), count("Checks", "warned")) == (30, 20, 6)
    tick("client", "Northlight")
    assert (count("Edit", "white"), count("client", "Field & Fern"), count("Checks", "warned")) == (10, 20, 2)
    tick("Edit", "white")
    assert page.page.locator(".card").count() == 10
    assert page.page.locator("#found").inner_text() == "10 of 60 pictures"
    page.page.locator("#grid").focus()
    page.press("Shift+A")
    assert page.page.locator("#ask-title").inner_text() == "Approve 10 pictures?"
    page.page.locator("#ask-no").click()
    assert page.latest() == {}
    page.press("a", "Shift+A")
    assert page.page.locator("#ask-title").inner_text() == "Approve 9 pictures?"
    page.press("Enter")
    page.saved()
    assert len(page.latest()) == 10
    assert page.counts().startswith("50 undecided · ✓ 10 approved")
    page.press("Control+z")
    page.saved()
    assert page.counts().startswith("59 undecided")
    page.page.locator("#clear").click()
    page.page.locator("#grid").focus()
    page.press("/")
    page.page.keyboard.type("sku-00042")
    page.until("document.querySelectorAll('.card').length === 1")
    page.press("Escape")
    assert page.current() == "SKU-00042"
    tick("Verdict", "○ undecided")
    page.page.locator("#grid").focus()
    page.press("a")
    page.page.wait_for_selector("#again:not([hidden])")
    page.page.locator("#again").click()
    assert page.page.locator("#empty").is_visible()


def test_one_picture_side_by_side_and_with_a_slider(studio: Studio, tmp_path: Path) -> None:
    """The slider cuts the picture after, to the percent; B shows the one before while it is held."""
    page = studio.review(make_ledger(tmp_path / "out", 4, shop_row))
    page.press("Enter")
    page.until("[...document.querySelectorAll('#stage img')].every(i => i.complete && i.naturalWidth === 640)")
    assert page.run("document.querySelector('#before').getBoundingClientRect().right") <= page.run(
        "document.querySelector('#after').getBoundingClientRect().left"
    )
    page.press("s")
    page.page.locator("#slider").focus()
    for key, percent in (("Home", 0), ("End", 100)):
        page.press(key)
        assert page.run("getComputedStyle(document.querySelector('#after')).clipPath") == (
            "inset(0px 0px 0px 0%)" if percent == 0 else "inset(0px 0px 0px 100%)"
        )
    page.run(
        "() => { const s = document.querySelector('#slider'); s.value = 50; s.dispatchEvent(new Event('input')); }"
    )
    assert page.run("getComputedStyle(document.querySelector('#after')).clipPath") == "inset(0px 0px 0px 50%)"
    left, right = seen(page, 0.47), seen(page, 0.53)
    assert left != right
    page.page.locator("#loupe").focus()
    page.page.keyboard.down("b")
    assert seen(page, 0.53) == left
    page.page.keyboard.up("b")
    assert seen(page, 0.53) == right
    page.press("s")
    assert seen(page, 0.47) == right
    page.press("Escape")
    assert page.page.locator("#loupe").is_hidden()


def seen(page: Page, share: float) -> tuple[int, ...]:
    """The colour on the screen near the lower edge of the picture, at this share of its width."""
    import io

    box = page.page.locator("#after").bounding_box()
    side = min(box["width"], box["height"])
    x = box["x"] + box["width"] / 2 + (share - 0.5) * side
    y = box["y"] + box["height"] / 2 + 0.36 * side
    data = page.page.screenshot(clip={"x": x, "y": y, "width": 2, "height": 2})
    with Image.open(io.BytesIO(data)) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def test_both_sides_are_enlarged_in_step(studio: Studio, tmp_path: Path) -> None:
    """At 100 % a pixel is a pixel, and the point that the pointer was at is in the middle of both."""
    page = studio.review(make_ledger(tmp_path / "out", 2, shop_row, side=1600))
    page.press("Enter")
    page.until("[...document.querySelectorAll('#stage img')].every(i => i.complete && i.naturalWidth)")
    box = page.page.locator("#after").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5)
    page.press("z")
    page.until("[...document.querySelectorAll('#stage img')].every(i => i.naturalWidth === 1600)")
    page.page.wait_for_timeout(50)
    sizes, offsets = page.run(
        "[[...document.querySelectorAll('#stage img')].map(i => Math.round(i.getBoundingClientRect().width)),"
        " [...document.querySelectorAll('#stage img')].map(i => Math.round(i.getBoundingClientRect().left"
        " - i.parentElement.getBoundingClientRect().left))]"
    )
    assert sizes == [1600, 1600]
    assert offsets[0] == offsets[1]
    assert abs(offsets[0] - (box["width"] / 2 - 0.7 * 1600)) < 12
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.7 + 50, box["y"] + box["height"] * 0.5)
    page.page.mouse.up()
    moved = page.run(
        "[...document.querySelectorAll('#stage img')].map(i => Math.round(i.getBoundingClientRect().left"
        " - i.parentElement.getBoundingClientRect().left))"
    )
    assert moved == [offsets[0] + 50, offsets[1] + 50]
    page.press("z")
    assert page.run("document.querySelector('#after img').style.transform") == ""


def test_notes_and_wishes(studio: Studio, tmp_path: Path) -> None:
    """N keeps the verdict and adds a note; E notes a prompt, which nobody buys here."""
    page = studio.review(make_ledger(tmp_path / "out", 3, shop_row))
    item = page.current()
    page.press("n")
    page.page.keyboard.type("the left edge; x and a and 1 are letters here")
    page.press("Control+Enter")
    page.saved()
    assert page.latest()[item] == ("undecided", "", "the left edge; x and a and 1 are letters here")
    page.press("x")
    page.saved()
    assert page.latest()[item][0] == "rejected"
    assert page.latest()[item][2].startswith("the left edge")
    page.press("Home", "e")
    assert page.page.locator("#ask-prompt textarea").input_value().startswith("pure white background")
    page.press("Control+a")
    page.page.keyboard.type("on an oak table")
    page.page.locator("#ask-yes").click()
    page.saved()
    with database(page.ledger) as db:
        assert db.execute("SELECT prompt, note, who FROM wishes").fetchall() == [("on an oak table", "", "ada")]
    assert "✎ re-edit" in page.page.locator(".card[aria-selected=true]").inner_text()
    page.press("Control+z")
    page.saved()
    assert "✎ re-edit" not in page.page.locator(".card[aria-selected=true]").inner_text()


def test_moving_about(studio: Studio, tmp_path: Path) -> None:
    """Arrows, J and K, Home and End, rows; focus stays visible; help tells all keys."""
    page = studio.review(make_ledger(tmp_path / "out", 30, shop_row))
    order = page.run("[...document.querySelectorAll('.card .name')].map(n => n.textContent)")
    columns = page.run("getComputedStyle(document.querySelector('#grid')).gridTemplateColumns.split(' ').length")
    at = 0
    for key, step in (
        ("j", 1),
        ("ArrowRight", 1),
        ("k", -1),
        ("ArrowDown", columns),
        ("ArrowUp", -columns),
        ("End", 99),
        ("Home", -99),
    ):
        page.press(key)
        at = min(max(at + step, 0), len(order) - 1)
        assert page.current() == order[at], key
        assert page.run(
            "document.querySelector('#grid').getAttribute('aria-activedescendant') === document.querySelector('[aria-selected=true]').id"
        )
        box, grid = page.page.locator("[aria-selected=true]").bounding_box(), page.page.locator("#grid").bounding_box()
        assert grid["y"] <= box["y"] + 20
        assert box["y"] + box["height"] <= grid["y"] + grid["height"] + 20
    page.press("?")
    assert "approve" in page.page.locator("#keys").inner_text()
    page.press("Escape")
    page.press("Shift+Tab")
    outlined = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outlined == "solid"


def test_everything_has_a_name_and_colour_is_never_the_only_sign(studio: Studio, tmp_path: Path) -> None:
    """Roles, names, alternative texts, labels; verdicts are words and signs."""
    page = studio.review(make_ledger(tmp_path / "out", 12, shop_row))
    page.press("a", "1")
    assert page.run("[...document.images].filter(i => !i.hasAttribute('alt')).length") == 0
    assert (
        page.run(
            "[...document.querySelectorAll('button')].filter(b => !(b.textContent.trim() || b.getAttribute('aria-label'))).length"
        )
        == 0
    )
    assert (
        page.run(
            "[...document.querySelectorAll('input, textarea')].filter(i => !(i.labels.length || i.getAttribute('aria-label'))).length"
        )
        == 0
    )
    assert page.run("document.querySelector('#grid').getAttribute('role')") == "listbox"
    signs = page.run("[...document.querySelectorAll('.card .signs span:first-child')].map(s => s.textContent)")
    assert {sign.split()[0] for sign in signs} == {"✓", "✗", "○"}
    labels = page.run("[...document.querySelectorAll('.card')].map(c => c.getAttribute('aria-label'))")
    assert any("rejected because of label" in label for label in labels)
    page.page.emulate_media(reduced_motion="reduce")
    assert page.run("getComputedStyle(document.querySelector('.card')).transitionDuration") == "0s"


def test_hostile_texts_are_shown_as_texts(studio: Studio, tmp_path: Path) -> None:
    """In items, edits, variants, labels, prompts, notes and findings: no element, no script, no request comes of them."""

    def row(number: int) -> Row:
        text = PAYLOADS[number].replace("\x00", "")
        return Row(item=f"{number} {text}", edit=text[:60], variant=text, prompt=text, client=text, check=text)

    ledger = make_ledger(tmp_path / "out", len(PAYLOADS), row)
    with database(ledger) as db:
        db.execute(
            "INSERT INTO decisions (slot, request_key, decided_at, verdict, reason, note, who)"
            " SELECT slot, request_key, '2026-11-26T06:00:00.000Z', 'rejected', variant, variant, variant FROM tasks"
        )
    page = studio.review(ledger)
    text = page.run("document.querySelector('#grid').textContent")
    assert all(PAYLOADS[number].replace("\x00", "") in text for number in range(len(PAYLOADS)))
    page.press("Home", "Enter")
    page.page.locator("#prompt summary").click()
    page.page.locator("#history summary").click()
    page.until("document.querySelector('#history li') !== null")
    for _ in range(12):
        page.press("j")
    page.press("c")
    page.page.wait_for_selector("#compared figure")
    allowed = (
        "html head meta title link script body header h1 h2 h3 p div span b nav label input button aside main section figure"
        " img canvas figcaption ol ul li details summary dialog form textarea table tbody tr td kbd fieldset legend br"
    )
    assert set(page.run("[...new Set([...document.querySelectorAll('*')].map(e => e.localName))]")) <= set(
        allowed.split()
    )
    assert page.run("document.scripts.length") == 1
    assert page.run("window.pwned === undefined")
    assert (
        page.run(
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => /^on/i.test(a.name)).length"
        )
        == 0
    )
    folder = tmp_path / "handout"
    report = report_id(ledger)
    write_handout(
        Sheet(ledger=ledger, root=tmp_path / "out", settings=ReviewSettings(), secret=secret_of(report)),
        folder,
        report=report,
    )
    opened = studio.open((folder / "index.html").as_uri(), ledger)
    assert opened.run("window.pwned === undefined")
    assert opened.run("document.querySelectorAll('.card').length") == len(PAYLOADS)


def test_blind_pairs_tell_nothing(studio: Studio, tmp_path: Path) -> None:
    """Neither in the page nor in any address; after the last one the result has names, wins and an interval."""

    def row(number: int) -> Row:
        name = ("goldfinch", "kingfisher")[number % 2]
        return Row(item=f"SKU-{number // 2:03}", edit="scene", variant=name, prompt=f"{name} light")

    ledger = make_ledger(tmp_path / "out", 24, row)
    server = studio.serve(ledger, blind=True)
    asked: list[str] = []
    context = studio.browser.new_context(viewport={"width": 1280, "height": 900})
    studio.stack.callback(context.close)
    context.on("request", lambda request: asked.append(request.url + str(request.post_data)))
    page = studio.open(server.url, ledger, context=context)
    for number in range(12):
        html = page.run("document.documentElement.outerHTML")
        assert "goldfinch" not in html
        assert "kingfisher" not in html
        page.press("120"[number % 3])
        if number == 5:
            page.press("u", "2")
    page.page.wait_for_selector("#blind table")
    assert not any("goldfinch" in url or "kingfisher" in url for url in asked)
    table = page.page.locator("#blind table").inner_text()
    assert "goldfinch" in table
    assert "kingfisher" in table
    assert "Wilson" in page.page.locator("#blind").inner_text()
    with database(ledger) as db:
        assert db.execute("SELECT count(*) FROM comparisons").fetchone() == (14,)
    assert "kingfisher" not in page.run("JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))")


def several(ledger: Path, slot: str, count: int) -> None:
    """Give a task more pictures, each another one of those that there are."""
    with database(ledger) as db:
        key, sha, size = db.execute(
            "SELECT request_key, outputs.sha256, size_bytes FROM outputs JOIN raws USING (request_key) WHERE slot = ?",
            (slot,),
        ).fetchone()
        others = db.execute("SELECT DISTINCT sha256 FROM outputs WHERE sha256 <> ? ORDER BY sha256", (sha,)).fetchall()
        name = slot.replace("/", "_")
        for number in range(2, count + 1):
            other = others[number][0]
            raw = ledger.parent / "raw" / other[:2] / f"{other}.png"
            (ledger.parent.parent / f"{name}_{number}.png").hardlink_to(raw)
            path = f"{name}_{number}.png"
            db.execute("INSERT INTO raws VALUES (?, ?, 1, ?, 'png', 640, 640, ?, 0)", (key, number, other, size))
            db.execute(
                "INSERT INTO outputs (slot, number, planned, path, path_key, request_key, sha256, placed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, '2026-11-25T22:00:00.000Z')",
                (slot, number, path, path, path, key, other),
            )


SOURCES = "[...document.querySelectorAll('{} img')].map(i => i.getAttribute('src'))"
LOADED = "[...document.querySelectorAll('{} img')].every(i => i.complete && i.naturalWidth)"


def test_compared_are_all_pictures_of_each_task(studio: Studio, tmp_path: Path) -> None:
    """Of variants, of blind sides, and in a folder for somebody else."""

    def row(number: int) -> Row:
        return Row(item=f"SKU-{number // 2:03}", edit="scene", variant=("one", "two")[number % 2])

    ledger = make_ledger(tmp_path / "out", 12, row)
    several(ledger, "SKU-000/scene/two", 3)
    page = studio.review(ledger)
    page.press("c")
    page.page.wait_for_selector("#compared:not([hidden])")
    assert len(page.run(SOURCES.format("#compared .several"))) == 1 + 1 + 3
    page.until(LOADED.format("#compared"))
    assert len({*page.run(SOURCES.format("#compared .several"))}) == 5
    blind = studio.review(ledger, blind=True)
    blind.page.wait_for_selector("#blind .sides")
    assert len({*blind.run(SOURCES.format("#blind"))}) == 5
    blind.until(LOADED.format("#blind"))
    sheet = sheet_of(ledger, blind=True)
    write_handout(sheet, tmp_path / "handout", report=report_id(ledger))
    handout = studio.open((tmp_path / "handout/index.html").as_uri(), ledger)
    assert len({*handout.run(SOURCES.format("#blind"))}) == 5
    handout.until(LOADED.format("#blind"))


def test_the_difference_is_shown_where_it_is(studio: Studio, tmp_path: Path) -> None:
    """On D: drawn from the pictures that are there; equal parts stay grey, others become orange; without any request."""
    ledger = make_ledger(tmp_path / "out", 6, shop_row)
    server = studio.serve(ledger)
    asked: list[str] = []
    context = studio.browser.new_context(viewport={"width": 1280, "height": 900})
    studio.stack.callback(context.close)
    page = studio.open(server.url, ledger, context=context)
    page.press("Enter")
    page.until(LOADED.format("#stage"))
    page.page.wait_for_timeout(300)
    context.on("request", lambda request: asked.append(request.url))
    page.press("d")
    page.until("document.querySelector('#difference').dataset.of")
    box = page.page.locator("#difference").bounding_box()
    assert box["width"] > 500
    found = page.run(
        "(() => { const c = document.querySelector('#difference'), copy = document.createElement('canvas');"
        " copy.width = c.width; copy.height = c.height;"
        " const d = copy.getContext('2d', { willReadFrequently: true }); d.drawImage(c, 0, 0);"
        " const at = (x, y) => [...d.getImageData(x * c.width, y * c.height, 1, 1).data].slice(0, 3);"
        " return [at(0.5, 0.5), at(0.05, 0.95)]; })()"
    )
    middle, corner = found
    assert max(middle) - min(middle) < 30, "the ball is the same before and after"
    assert corner[0] > corner[2] + 100, "the ground is not"
    assert corner[0] > middle[0] + 100
    assert not [url for url in asked if "/news" not in url]
    assert page.page.locator("#differ").get_attribute("aria-pressed") == "true"
    page.press("j")
    page.until(
        "document.querySelector('#difference').dataset.of?.startsWith(document.querySelector('#loupe').dataset.id)"
    )
    page.press("z")
    assert page.page.locator("#difference").is_hidden()
    page.press("z", "d", "d")
    assert page.page.locator("#mode").inner_text() == "Side by side"
    folder = tmp_path / "handout"
    write_handout(sheet_of(ledger), folder, report=report_id(ledger))
    handout = studio.open((folder / "index.html").as_uri(), ledger)
    handout.press("d")
    handout.until("document.querySelector('#difference').dataset.of")


def test_pictures_of_a_run_appear_by_themselves(studio: Studio, tmp_path: Path) -> None:
    """At the end, without a reload: the selected one, the place in the grid and an open picture stay; they can be decided."""
    ledger = make_ledger(tmp_path / "out", 60, shop_row)
    with database(ledger) as db:  # two of them come later
        db.execute("CREATE TABLE later AS SELECT * FROM outputs WHERE slot IN ('SKU-00007/scene', 'SKU-00011/scene')")
        db.execute("DELETE FROM outputs WHERE slot IN (SELECT slot FROM later)")
    page = studio.review(ledger)
    assert page.page.locator("#found").inner_text() == "58 pictures"
    page.press(*["j"] * 40)
    before = page.current(), page.run("document.querySelector('#grid').scrollTop")
    assert before[1] > 0
    page.press("Enter")
    with database(ledger) as db:
        db.execute("UPDATE later SET placed_at = '2026-11-26T01:00:00.000Z'")
        db.execute("INSERT INTO outputs SELECT * FROM later")
        db.execute("DROP TABLE later")
    page.until("document.querySelector('#found').textContent === '60 pictures, 2 new at the end'")
    assert page.page.locator("#loupe").is_visible()
    page.press("Escape")
    assert (page.current(), page.run("document.querySelector('#grid').scrollTop")) == before
    assert page.page.locator(".card").count() == 60
    assert page.counts().startswith("60 undecided")
    page.press("End", "a")
    page.saved()
    assert page.latest() == {"SKU-00011": ("approved", "", "")}
    page.page.wait_for_timeout(3_500)  # told once, not again
    assert page.page.locator(".card").count() == 60


def test_a_file_made_anew_is_shown_as_such(studio: Studio, tmp_path: Path) -> None:
    """Filtered, told, and cleared by another verdict; a decision about the file before is not taken."""
    ledger = make_ledger(tmp_path / "out", 6, shop_row)
    page = studio.review(ledger)
    page.press("a", "a")
    page.saved()
    page.press("Home")
    with database(ledger) as db:
        slot, sha = db.execute(
            "SELECT outputs.slot, sha256 FROM outputs JOIN decisions USING (slot) ORDER BY slot"
        ).fetchone()
        other = db.execute("SELECT sha256, path FROM outputs WHERE sha256 <> ?", (sha,)).fetchone()
        db.execute(
            "UPDATE outputs SET sha256 = ?, placed_at = '2026-11-26T01:00:00.000Z' WHERE slot = ?", (other[0], slot)
        )
    page.until("document.querySelector('.signs .stale')")
    assert page.page.locator(".signs .stale").inner_text() == "↻ made anew"
    page.page.locator("#facets label", has_text="made anew since").click()
    assert page.page.locator(".card").count() == 1
    page.page.locator("#grid").focus()
    page.press("a")
    page.saved()
    assert page.page.locator(".signs .stale").count() == 0
    with database(ledger) as db:
        assert db.execute("SELECT count(*) FROM decisions WHERE slot = ?", (slot,)).fetchone() == (2,)


def test_a_held_key_decides_once(studio: Studio, tmp_path: Path) -> None:
    """What comes under a finger that stays down was seen by nobody; arrows go on."""
    page = studio.review(make_ledger(tmp_path / "out", 12, shop_row))
    for key in ("a", "x", "1"):
        for _ in range(5):
            page.page.keyboard.down(key)
        page.page.keyboard.up(key)
    page.saved()
    assert sorted(page.latest().values()) == [("approved", "", ""), ("rejected", "", ""), ("rejected", "label", "")]
    page.press("Home")
    first = page.current()
    for _ in range(3):
        page.page.keyboard.down("j")
    page.page.keyboard.up("j")
    assert page.run("[...document.querySelectorAll('.card .name')].map(n => n.textContent)")[3] == page.current()
    assert first != page.current()


def test_a_picture_on_its_way_does_not_leave_the_one_before(studio: Studio, tmp_path: Path) -> None:
    """A name never stands beside another product's picture, which a browser goes on showing until the next is there."""
    page = studio.review(make_ledger(tmp_path / "out", 3, shop_row))
    names = page.run("[...document.querySelectorAll('.card')].map(c => c.id.slice(2))")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route) if names[1] in route.request.url else route.continue_()

    page.page.route("**/screen*", hold)
    page.press("Enter")
    page.until(LOADED.format("#stage"))
    opacity = "[...document.querySelectorAll('#stage img')].map(i => getComputedStyle(i).opacity)"
    assert page.run(opacity) == ["1", "1"]
    page.press("j")
    assert page.run("document.querySelector('#loupe').dataset.id") == names[1]
    assert page.run(opacity) == ["0", "0"]
    while held:
        held.pop().continue_()
    page.until(f"{opacity}.join() === '1,1'")
    page.until(LOADED.format("#stage"))


def replace_and_tell(ledger: Path, item: str) -> None:
    """As `replace_picture`, with another file, so that open pages are told."""
    key = replace_picture(ledger, item)
    with database(ledger) as db:
        path, was = db.execute(
            "SELECT path, sha256 FROM outputs JOIN tasks USING (slot) WHERE item_id = ?", (item,)
        ).fetchone()
        sha = db.execute("SELECT sha256 FROM outputs WHERE request_key = ? AND sha256 <> ?", (key, was)).fetchone()[0]
        out = ledger.parent.parent
        (out / path).unlink()
        (out / path).hardlink_to(out / ".batchedit" / "raw" / sha[:2] / f"{sha}.png")
        db.execute("UPDATE outputs SET sha256 = ?, placed_at = '2026-11-26T01:00:00.000Z' WHERE path = ?", (sha, path))


@pytest.mark.parametrize("key", ["n", "e"])
def test_what_is_typed_is_about_the_picture_that_was_there(studio: Studio, tmp_path: Path, key: str) -> None:
    """A note or a wish that was begun before a run has brought another picture is not put upon that one."""
    page = studio.review(make_ledger(tmp_path / "out", 4, shop_row))
    page.until(LOADED.format("#grid"))
    item = page.current()
    page.press(key)
    page.page.locator("#ask-note textarea").fill("the shadow is too hard")
    source = page.run("document.querySelector('.card img:last-of-type').src")
    replace_and_tell(page.ledger, item)
    page.until(f"document.querySelector('.card img:last-of-type').src !== {json.dumps(source)}")
    page.page.locator("#ask-yes").click()
    page.saved()
    assert "another picture by now" in page.page.locator("#banner").inner_text()
    with database(page.ledger) as db:
        said = db.execute("SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM wishes)").fetchone()
    assert said == (0, 0)


def test_approving_all_leaves_what_has_changed_since_the_question(studio: Studio, tmp_path: Path) -> None:
    """Somebody else's rejection stays, and a picture that came meanwhile is looked at first."""
    page = studio.review(make_ledger(tmp_path / "out", 5, shop_row))
    page.until(LOADED.format("#grid"))
    items = page.run("[...document.querySelectorAll('.card .name')].map(n => n.textContent)")
    page.press("Shift+A")
    say_elsewhere(page.ledger, items[0], "rejected")
    replace_and_tell(page.ledger, items[1])
    source = page.run("document.querySelectorAll('.card')[1].querySelector('img:last-of-type').src")
    page.until("document.querySelector('.card[data-verdict=rejected]')")
    page.until(f"document.querySelectorAll('.card')[1].querySelector('img:last-of-type').src !== {json.dumps(source)}")
    page.page.locator("#ask-yes").click()
    page.saved()
    assert "2 of them were left out" in page.page.locator("#banner").inner_text()
    assert {item: word for item, (word, *_) in page.latest().items()} == {
        items[0]: "rejected", **dict.fromkeys(items[2:], "approved")
    }  # fmt: skip


def test_a_file_that_was_made_anew_is_seen_anew(studio: Studio, tmp_path: Path) -> None:
    """Its address is another one, so that no picture comes from what the browser has kept; in blind pairs too."""

    def row(number: int) -> Row:
        return Row(item=f"SKU-{number // 2:03}", edit="scene", variant=("one", "two")[number % 2])

    ledger = make_ledger(tmp_path / "out", 4, row)
    colour = (
        "(i => { const c = document.createElement('canvas'); c.width = c.height = 8; const b = c.getContext('2d');"
        " b.drawImage(i, 0, 0, 8, 8); return [...b.getImageData(4, 4, 1, 1).data].join(); })"
        "(document.querySelector('{}'))"
    )
    urls = [studio.serve(ledger).url, studio.serve(ledger, blind=True).url]
    page, blind = (studio.open(url, ledger) for url in urls)
    looked = ((page, ".card img:last-of-type"), (blind, "#blind .sides figure:last-child img"))
    before = []
    for each, image in looked:
        each.until(LOADED.format(image.rpartition(" ")[0]))
        before.append(each.run(colour.replace("{}", image)))
        each.page.goto("about:blank")
    with database(ledger) as db:
        for (path,) in db.execute("SELECT path FROM outputs").fetchall():
            Image.new("RGB", (64, 64), (1, 2, 3)).save(ledger.parent.parent / path)
            sha = hashlib.sha256((ledger.parent.parent / path).read_bytes()).hexdigest()
            db.execute(
                "UPDATE outputs SET sha256 = ?, placed_at = '2026-11-26T01:00:00.000Z' WHERE path = ?", (sha, path)
            )
    for (each, image), url, was in zip(looked, urls, before, strict=True):
        each.page.goto(url.split("?")[0])
        each.page.wait_for_selector("html[data-ready]")
        each.until(LOADED.format(image.rpartition(" ")[0]))
        assert each.run(colour.replace("{}", image)) != was


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_folder_for_a_client(studio: Studio, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Opened from the disk it asks nobody for anything, remembers, and saves a file that the ledger takes: what a
    spreadsheet would take for a formula has an apostrophe there, and comes back without.
    """
    ledger = make_ledger(tmp_path / "out", 8, shop_row)
    monkeypatch.chdir(tmp_path)
    assert run_cli(["review", "out", "--static", "handout"]) == 0
    page = studio.open((tmp_path / "handout/index.html").as_uri(), ledger)
    page.page.locator("#who").fill("=Client & Co")
    page.page.locator("#grid").focus()
    first = page.current()
    page.press("a", "3", "e")
    page.page.locator("#ask-prompt textarea").fill("on an oak table")
    page.page.locator("#ask-yes").click()
    page.page.reload()
    page.page.wait_for_selector("html[data-ready]")
    assert page.counts().startswith("6 undecided · ✓ 1 approved · ✗ 1 rejected")
    assert page.page.locator("#who").input_value() == "=Client & Co"
    page.press("Home", "Enter")
    page.until("[...document.querySelectorAll('#stage img')].every(i => i.complete && i.naturalWidth)")
    page.press("Escape")
    with page.page.expect_download() as download:
        page.page.locator(f"#save-{form}").click()
    file = tmp_path / f"back.{form}"
    download.value.save_as(file)
    assert form == "json" or "'=Client & Co" in file.read_text("utf-8")
    assert run_cli(["verdicts", "import", str(file), "out"]) == 0
    found = page.latest()
    assert found[first] == ("approved", "", "")
    assert sorted(found.values()) == [("approved", "", ""), ("rejected", "halo", "")]
    with database(ledger) as db:
        assert db.execute("SELECT DISTINCT who FROM decisions").fetchall() == [("=Client & Co",)]
        assert db.execute("SELECT prompt, who FROM wishes").fetchall() == [("on an oak table", "=Client & Co")]


_CLOCK = """
async (times) => {
  const wait = (done) => new Promise((resolve) => { const look = () => (done() ? resolve() : requestAnimationFrame(look)); look(); });
  const taken = [];
  for (let n = 0; n < times; n += 1) {
    const loupe = document.querySelector('#loupe'), image = document.querySelector('#after img'), before = loupe.dataset.id;
    const began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
    await wait(() => loupe.dataset.id !== before && image.complete && image.naturalWidth);
    await image.decode();
    taken.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  return taken;
}
"""


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_a_large_review(
    studio: Studio, tmp_path: Path, count: int, record_property: Callable[[str, object], None]
) -> None:
    """Paged by 500, few pictures asked for; how long from a decision to the next picture is told, by the page's clock."""
    ledger = make_ledger(tmp_path / "out", count, shop_row, side=400)
    asked: list[str] = []
    server = studio.serve(ledger)
    context = studio.browser.new_context(viewport={"width": 1280, "height": 900})
    studio.stack.callback(context.close)
    context.on("request", lambda request: asked.append(request.url))
    page = studio.open(server.url, ledger, context=context)
    page.page.wait_for_timeout(500)
    assert page.page.locator(".card").count() == 500
    assert sum("/picture/" in url for url in asked) < 400
    assert page.page.locator("#found").inner_text() == f"{count:,} pictures"
    page.press("End")
    assert page.page.locator("#pager span").inner_text() == f"{count - 499:,} to {count:,}"
    page.press("Home", "Enter")
    page.until("document.querySelector('#after img').naturalWidth > 0")
    taken = page.run(_CLOCK, 30)
    page.saved()
    median = statistics.median(taken)
    record_property("median_ms", median)
    print(
        f"\n{count:,} items: from a decision to the next picture {median:.0f} ms (median), {max(taken):.0f} ms at most"
    )
    assert len(page.latest()) == 30
    assert page.counts().startswith(f"{count - 30:,} undecided")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(studio: Studio, tmp_path: Path, width: int, scheme: str) -> None:
    """On a phone, a laptop and a wide screen, grid and single picture; words stand out from their ground."""
    page = studio.review(make_ledger(tmp_path / "out", 30, shop_row), width=width)
    page.page.emulate_media(color_scheme=scheme)
    page.press("a", "1")
    for view in ("grid", "loupe"):
        assert page.run("document.documentElement.scrollWidth") <= width
        wide = page.run(
            "[...document.querySelectorAll('body *')].filter(e => e.offsetParent && !e.closest('.hidden, #stage') &&"
            " (e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)).map(e => e.outerHTML.slice(0, 90))"
        )
        assert wide == [], view
        page.page.screenshot(path=str(tmp_path / f"{view}-{width}-{scheme}.png"))
        page.press("Home", "Enter")
        page.until("document.querySelector('#after img').naturalWidth > 0")
    contrast = page.run(
        "(() => { const light = c => c.match(/[0-9.]+/g).slice(0, 3).map(Number).map(v => (v /= 255) <= 0.04045 ? v / 12.92"
        " : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);"
        " const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;"
        " if (!/, 0\\)|transparent/.test(c)) return c; } return 'rgb(255,255,255)'; };"
        " return [...document.querySelectorAll('#counts, #counts .approved, #counts .rejected, .more, .signs span, #what, #verdict,"
        " #reasons button, #approve, #reject, .tag, #place')].filter(e => e.textContent).map(e => { const a = light(getComputedStyle(e).color),"
        " b = light(ground(e)); return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 60)]; })"
        ".filter(pair => pair[0] < 4.5); })()"
    )
    assert contrast == []


def test_fingers_do_without_keys(studio: Studio, tmp_path: Path) -> None:
    """On a phone everything that a key does has a button."""
    page = studio.review(make_ledger(tmp_path / "out", 5, shop_row), width=390)
    page.page.locator(".card").first.dblclick()
    page.page.locator("#approve").click()
    page.page.locator("#reasons button").nth(2).click()
    page.page.locator("[data-move='1']").click()
    page.page.locator("#mode").click()
    page.page.locator("#back").click()
    page.saved()
    assert sorted(page.latest().values()) == [("approved", "", ""), ("rejected", "halo", "")]
    page.page.locator("#undo").click()
    page.saved()
    assert sorted(page.latest().values()) == [("approved", "", ""), ("undecided", "", "")]
    page.page.locator("#open-rail").click()
    assert page.page.locator("#facets").is_visible()


def test_only_to_look_at(studio: Studio, tmp_path: Path) -> None:
    """With --read-only keys decide nothing, and nothing is sent."""
    page = studio.review(make_ledger(tmp_path / "out", 3, shop_row), read_only=True)
    page.press("a", "1", "n", "e")
    assert page.latest() == {}
    assert not page.run("document.querySelector('#ask').open")
    assert page.page.locator("#saving").inner_text() == "only to look at"


def test_other_pages_get_nothing(studio: Studio, tmp_path: Path) -> None:
    """A page of another origin in the same browser: forms, scripts, frames and pictures are all refused."""
    ledger = make_ledger(tmp_path / "out", 3, shop_row)
    page = studio.review(ledger)
    base = page.page.url.rstrip("/")
    card = page.run("document.querySelector('.card').id.slice(2)")
    evil = page.page.context.new_page()
    evil.route("http://evil.example/**", lambda route: route.fulfill(body="<h1>hello</h1>", content_type="text/html"))
    page.page.context.unroute("**/*")
    evil.goto("http://evil.example/")
    body = json.dumps({"decisions": [{"id": card, "key": "0" * 12, "verdict": "approved"}]})
    found = evil.evaluate(
        """async ([base, body, card]) => {
          const tries = {};
          const attempt = async (name, work) => { try { tries[name] = await work(); } catch (error) { tries[name] = 'refused'; } };
          const status = async (response) => (response.type === 'opaque' ? 'opaque' : response.status);
          await attempt('read', async () => status(await fetch(base + '/cards', { credentials: 'include' })));
          await attempt('decide', async () => status(await fetch(base + '/decide', { method: 'POST', credentials: 'include', body, headers: { 'content-type': 'application/json', 'x-batchedit': 'review' } })));
          await attempt('simple', async () => status(await fetch(base + '/decide', { method: 'POST', mode: 'no-cors', credentials: 'include', body })));
          await attempt('beacon', async () => String(navigator.sendBeacon(base + '/decide', body)));
          await attempt('picture', () => new Promise((resolve) => { const image = new Image(); image.onload = () => resolve('seen'); image.onerror = () => resolve('refused'); image.src = base + '/picture/' + card + '/1/small'; }));
          await attempt('script', () => new Promise((resolve) => { const script = document.createElement('script'); script.onload = () => resolve('run'); script.onerror = () => resolve('refused'); script.src = base + '/review.js'; document.head.append(script); }));
          await attempt('frame', () => new Promise((resolve) => { const frame = document.createElement('iframe'); frame.onload = () => { try { resolve(frame.contentDocument ? frame.contentDocument.body.textContent.slice(0, 9) : 'closed'); } catch { resolve('closed'); } }; frame.src = base + '/'; document.body.append(frame); setTimeout(() => resolve('refused'), 3000); }));
          await attempt('style', () => new Promise((resolve) => { const link = document.createElement('link'); link.rel = 'stylesheet'; link.onload = () => resolve('seen'); link.onerror = () => resolve('refused'); link.href = base + '/review.css'; document.head.append(link); }));
          await attempt('socket', () => new Promise((resolve) => { const socket = new WebSocket(base.replace('http', 'ws') + '/news'); socket.onopen = () => resolve('open'); socket.onerror = () => resolve('refused'); }));
          await attempt('events', () => new Promise((resolve) => { const source = new EventSource(base + '/news?after=0', { withCredentials: true }); source.onopen = () => resolve('open'); source.onerror = () => { source.close(); resolve('refused'); }; }));
          const form = document.createElement('form'); form.method = 'POST'; form.action = base + '/decide'; form.target = 'sink'; form.enctype = 'text/plain';
          const input = document.createElement('input'); input.name = body; form.append(input); document.body.append(form);
          const sink = document.createElement('iframe'); sink.name = 'sink'; document.body.append(sink); form.submit();
          await new Promise((resolve) => setTimeout(resolve, 500));
          const popup = window.open(base + '/');
          await new Promise((resolve) => setTimeout(resolve, 500));
          try { tries.popup = popup ? String(popup.document.body.textContent.slice(0, 9)) : 'refused'; } catch { tries.popup = 'closed'; }
          return tries;
        }""",
        [base, body, card],
    )  # fmt: skip
    assert found["read"] == found["decide"] == "refused"
    assert found["simple"] in ("opaque", "refused")
    assert found["picture"] == found["script"] == found["style"] == "refused"
    assert found["socket"] == found["events"] == "refused"
    assert len(found) + 1 >= 10, "and a form"
    assert found["frame"] in ("refused", "closed", "")
    assert found["popup"] in ("refused", "closed", "")
    assert page.latest() == {}
    page.complaints.clear()


class _Neighbour(BaseHTTPRequestHandler):
    """Somebody else's server on another port of this machine."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("cookie", "")))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>hello</h1>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_on_another_port_gets_no_cookie(studio: Studio, tmp_path: Path) -> None:
    """To a browser it is the same site, whatever the cookie says of that; the path keeps it back."""
    page = studio.review(make_ledger(tmp_path / "out", 3, shop_row))
    page.page.context.unroute("**/*")
    assert [cookie["name"][:16] for cookie in page.page.context.cookies()] == ["batchedit_review"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Neighbour)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        other = page.page.context.new_page()
        for path in ("", "cards", "review.js", "picture/1/1/small"):
            other.goto(f"http://127.0.0.1:{server.server_port}/{path}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(_Neighbour.seen) >= 4
    assert not any(cookie for _, cookie in _Neighbour.seen)
    page.complaints.clear()


def test_the_real_command_opens(studio: Studio, tmp_path: Path) -> None:
    """`batchedit review` prints an address that a browser opens once."""
    ledger = make_ledger(tmp_path / "out", 3, shop_row)
    process: subprocess.Popen[str] = command("review", "out", "--no-open", cwd=tmp_path)
    assert process.stdout is not None
    url = next(line.strip() for line in process.stdout if "http://" in line)
    page = studio.open(url, ledger)
    assert "key=" not in page.page.url
    assert page.counts().startswith("3 undecided")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0
    page.complaints.clear()
