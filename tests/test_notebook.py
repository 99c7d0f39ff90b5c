"""What a notebook shows of plans and reports: figures that are right, and hostile text as text."""

from __future__ import annotations

import json
import pickle
from html.parser import HTMLParser
from pathlib import Path

from batchedit import load_manifest, make_plan, render_report, run_plan_sync
from tests.conftest import KEY, Shop

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"' \u202e & {}"


class Elements(HTMLParser):
    """The tags of a text, with their attributes, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def hostile(shop: Shop) -> None:
    rows = [{"id": "a", "image": "in/mug.png"}, {"id": "b", "image": "in/shoe.png"}, {"id": "c", "image": ""}]
    shop.table("rows.csv", rows)
    name = json.dumps(HOSTILE.replace("\u202e", ""))
    shop.write("night.yaml", f"version: 1\nname: {name}\nbudget: {{run: 2.50}}\n"
               f"defaults: {{prompt: grayscale, quality: low, labels: {{client: {json.dumps(HOSTILE)}}}}}\n"
               "sources: [{csv: rows.csv}]\n")  # fmt: skip


def test_a_plan(shop: Shop) -> None:
    """Its figures, and the manifest's name as text; the second one says what is done."""
    hostile(shop)
    plan = make_plan(load_manifest("night.yaml"), out="out")
    shown = Elements(plan._repr_html_())
    assert {tag for tag, _ in shown.tags} == {"div", "b", "table", "tr", "td", "th"}
    assert HOSTILE.replace("\u202e", "") in shown.words
    assert "\u202e" not in shown.words
    assert "2to buy" in shown.words
    assert "$2.50" in shown.words
    assert "rows.csv:4" in shown.words
    run_plan_sync(plan)
    shown = Elements(make_plan(load_manifest("night.yaml"), out="out")._repr_html_())
    assert "nothing is left to do" in shown.words or "2done already" in shown.words


def test_a_report(shop: Shop) -> None:
    """A page in a frame that runs nothing; the other forms as text; a report stays a text."""
    hostile(shop)
    run_plan_sync(make_plan(load_manifest("night.yaml"), out="out"))
    page = render_report("out", form="html", pictures=0)
    ((tag, attributes),) = Elements(page._repr_html_()).tags
    assert tag == "iframe"
    assert attributes["sandbox"] is None, "no script, no form, no origin of its own"
    assert attributes["srcdoc"] == page
    assert "Content-Security-Policy" in page
    text = render_report("out")
    shown = Elements(text._repr_html_())
    assert [tag for tag, _ in shown.tags] == ["pre"]
    assert "<script>" in shown.words
    assert json.loads(render_report("out", form="json"))["total"]["spent"]
    assert pickle.loads(pickle.dumps(text)) == text
    assert Path("report.txt").write_text(text)


def test_a_key_is_not_shown(shop: Shop) -> None:
    """Wherever it comes from: here a folder's name."""
    hostile(shop)
    plan = make_plan(load_manifest("night.yaml"), out=KEY)
    assert KEY not in plan._repr_html_()
