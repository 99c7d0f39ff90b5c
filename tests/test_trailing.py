"""Something behind the end of a sold picture: kept, since it was sold, and reported."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit.emulator import Faults
from tests.conftest import Result, Served, Shop, database

Cli = Callable[..., Result]
TAIL = b"<!DOCTYPE html><script>alert(1)</script>"


def checks(out: Path) -> list[sqlite3.Row]:
    with database(out / ".batchedit/ledger.db") as db:
        db.row_factory = sqlite3.Row
        return db.execute("SELECT * FROM v_checks ORDER BY slot").fetchall()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_what_stands_behind_a_picture_is_reported(
    cli: Cli, shop: Shop, serve: Callable[..., Served], kind: str
) -> None:
    """The file is what was sold; whoever looks for it finds it in every place, and `post` leaves it out."""
    served = serve(Faults(output_trailing=1.0))
    manifest = served.manifest(shop, defaults=f"{{prompt: grayscale, quality: low, format: {kind}}}")
    assert cli("run", manifest, "--yes").code == 0
    files = [path for path in (shop.root / "out").iterdir() if path.is_file()]
    assert len(files) == 3
    assert all(path.read_bytes().endswith(TAIL) for path in files)
    found = checks(shop.root / "out")
    assert [(row["name"], row["verdict"], row["measured"]) for row in found] == [
        ("trailing", "warned", f"{len(TAIL)} bytes behind the picture's end")
    ] * 3
    assert len(cli("ls", "out", "--select", "check:trailing", "--json", "slot").json()) == 3
    assert "trailing" in cli("report", "out").out
    assert "behind the picture's end" in cli("show", found[0]["slot"], "out").out
    assert cli("run", manifest, "--yes").code == 0  # nothing is lost of it when it is asked for again
    assert len(checks(shop.root / "out")) == 3

    defaults = f"{{prompt: grayscale, quality: low, format: {kind}, post: {{snap_white: 250}}}}"
    manifest = served.manifest(shop, defaults=defaults)
    assert cli("render", manifest).code == 0
    files = [path for path in (shop.root / "out").iterdir() if path.is_file()]
    assert len(files) == 3
    assert not any(TAIL in path.read_bytes() for path in files)
    assert checks(shop.root / "out") == []
    assert served.audit()["billed_runs_total"] == 3


def test_another_task_of_the_same_purchase_has_it_too(cli: Cli, shop: Shop, serve: Callable[..., Served]) -> None:
    """Its picture comes from the ledger, not from the provider; and one that says nothing has no check at all."""
    served = serve(Faults(output_trailing=1.0))
    assert cli("run", served.manifest(shop), "--yes").code == 0
    rows = "items:\n  - {id: again, image: in/mug.png}\n"
    assert cli("run", served.manifest(shop, rows=rows), "--yes").code == 0
    assert {row["slot"] for row in checks(shop.root / "out")} >= {"again/edit"}
    served = serve()
    assert cli("run", served.manifest(shop, name="other.yaml"), "--yes", "--out", "plain").code == 0
    assert checks(shop.root / "plain") == []
