"""A row names only files that lie where the head says: what lies elsewhere is not read, and nothing of it is sent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, Served, Shop, draw_picture
from tests.middle import Middle

Cli = Callable[..., Result]
Tampered = Callable[..., tuple[Served, Middle]]


@pytest.fixture
def home(shop: Shop) -> Path:
    """Another folder of the same user, with a private picture and a private key."""
    folder = shop.root.parent / f"{shop.root.name}-home"
    draw_picture(folder / "private.png", (9, 9, 9))
    (folder / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")  # pragma: allowlist secret
    return folder


def payloads(shop: Shop, home: Path) -> list[str]:
    """What a hostile row may write into the column of the picture; links of all kinds are made for it."""
    private = home / "private.png"
    inside = shop.root / "in"
    (inside / "link.png").symlink_to(private)
    (inside / "second.png").symlink_to("link.png")
    (inside / "folder").symlink_to(home)
    (inside / "key.png").symlink_to(home / "id_rsa")
    (inside / "relative.png").symlink_to(os.path.relpath(private, inside))
    (inside / "dangling.png").symlink_to(home / "nothing.png")
    (inside / "loop.png").symlink_to("loop.png")
    (inside / "root").symlink_to("/")
    (inside / "deep").mkdir()
    (inside / "deep" / "up").symlink_to("..")
    (inside / "proc.png").symlink_to("/proc/self/environ")
    climb = os.path.relpath(private, shop.root)
    return [
        str(private), climb, f"./{climb}", f"in/../{climb}", f"in/../../{home.name}/private.png",
        f"in/./.././../{home.name}/./private.png", f"/..{private}", f"//{private}", f"{home}/../{home.name}/private.png",
        "in/link.png", "in/second.png", "in/folder/private.png", "in/relative.png", "in/dangling.png", "in/loop.png",
        f"in/root{private}", "in/root/etc/passwd", f"in/deep/up/folder/../{home.name}/private.png", "in/key.png",
        "/etc/passwd", "/etc/hostname", str(home / "id_rsa"), f"~/{private.name}", "$HOME/.ssh/id_rsa",
        "/proc/self/environ", "/proc/self/mem", "/dev/zero", "/dev/stdin", "in/proc.png", f"file://{private}",
        f"FILE:{private}", f"in\\..\\..\\{home.name}\\private.png", f"{private}?", "in/deep/up/link.png",
    ]  # fmt: skip


def test_thirty_payloads_send_nothing(cli: Cli, shop: Shop, home: Path, tampered: Tampered) -> None:
    """Each is exit code 2 with its line, whatever is bought beside it; the provider's side sees not one call."""
    served, proxy = tampered()
    found = payloads(shop, home)
    assert len(found) >= 30
    outside = 0
    for payload in found:
        shop.table("rows.csv", [{"id": "fine", "image": "in/mug.png"}, {"id": "x", "image": payload}])
        served.manifest(shop, rows="sources:\n  - csv: rows.csv\n")
        result = cli("run", "night.yaml", "--out", "out", "--yes")
        assert result.code == 2, payload
        assert "rows.csv:3: " in result.err, payload
        outside += "lies outside of the folders that rows may name files in" in result.err
    assert outside >= 15, "the others are no files, or none that there are"
    assert proxy.seen == []
    assert served.audit()["billed_runs_total"] == 0


def _rows(shop: Shop, kind: str, image: str) -> str:
    """The rows of a manifest, one of which names a file, in each of the ways that rows come in."""
    row = {"id": "x", "image": image}
    match kind:
        case "csv":
            shop.table("rows.csv", [row])
        case "jsonl":
            shop.write("rows.jsonl", json.dumps(row))
        case "parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.table({name: [text] for name, text in row.items()}), shop.root / "rows.parquet")
        case "imagefolder":
            shop.table("in/metadata.csv", [{"file_name": image if os.path.isabs(image) else f"../{image}"}])
            return "sources:\n  - imagefolder: in\n"
        case "items":
            return f"items:\n  - {{id: x, image: '{image}'}}\n"
        case "references":
            shop.table("rows.csv", [{"id": "x", "image": "in/mug.png", "references": f"in/shoe.png|{image}"}])
            kind = "csv"
        case "mask":
            shop.table("rows.csv", [{"id": "x", "image": "in/mug.png", "mask": image}])
            kind = "csv"
        case "template":
            shop.table("rows.csv", [{"id": "x", "path": image}])
            return "sources:\n  - {csv: rows.csv, image: '{{ path }}'}\n"
        case "template with a default":
            shop.table("rows.csv", [{"id": "x", "path": image}])
            return "sources:\n  - {csv: rows.csv, image: '{{ path|default(\"in/mug.png\") }}'}\n"
        case "template below the root":
            shop.table("rows.csv", [{"id": "x", "path": image.lstrip("/")}])
            return "sources:\n  - {csv: rows.csv, image: '/{{ path }}'}\n"
        case _:
            raise ValueError(kind)
    return f"sources:\n  - {kind}: rows.{kind}\n"


KINDS = [
    "csv",
    "jsonl",
    "parquet",
    "imagefolder",
    "items",
    "references",
    "mask",
    "template",
    "template with a default",
    "template below the root",
]


@pytest.mark.parametrize("kind", KINDS)
def test_all_rows_are_held_to_it(cli: Cli, shop: Shop, home: Path, tampered: Tampered, kind: str) -> None:
    """The message names what to write; with that it is allowed."""
    served, proxy = tampered()
    rows = _rows(shop, kind, str(home / "private.png"))
    served.manifest(shop, rows=rows)
    refused = cli("check", "night.yaml")
    assert refused.code == 2
    assert f"{home / 'private.png'} lies outside of the folders that rows may name files in" in refused.err
    assert f"write into the head of the manifest: input_roots: [{home}]" in refused.err
    assert proxy.seen == []
    for roots in (f"[{home}]", f"../{home.name}"):
        served.manifest(shop, rows=rows, input_roots=roots)
        allowed = cli("check", "night.yaml")
        assert "lies outside" not in allowed.err
        assert allowed.code == 0 or "save it as PNG with an alpha channel" in allowed.err


def test_what_the_head_names_is_allowed(cli: Cli, shop: Shop, home: Path) -> None:
    """A glob, a table's folder, a fixed file, and the fixed part of a template; but not what climbs out of that."""
    head = "version: 1\ndefaults: {prompt: grayscale"
    glob = f"sources: [{{glob: '{home}/*.png'}}]\n"
    (home / "rows.csv").write_text("id,image\nx,private.png\n")
    shop.table("rows.csv", [{"id": "x", "name": "private"}])
    shop.table("up.csv", [{"id": "x", "name": f"../{shop.root.name}/../{home.name}-2/private"}])
    draw_picture(home.parent / f"{home.name}-2" / "private.png", (1, 1, 1))
    allowed = {
        "glob": f"{head}}}\n{glob}",
        "table": f"{head}}}\nsources: [{{csv: '{home}/rows.csv'}}]\n",
        "file": f"{head}, references: '{home}/private.png'}}\nsources: [{{glob: in/mug.png}}]\n",
        "template": f"{head}}}\nsources: [{{csv: rows.csv, image: '{home}/{{{{ name }}}}.png'}}]\n",
    }
    for name, text in allowed.items():
        shop.write("m.yaml", text)
        assert cli("check", "m.yaml").code == 0, name
    shop.write("m.yaml", f"{head}}}\nsources: [{{csv: up.csv, image: '{home}/{{{{ name }}}}.png'}}]\n")
    assert "lies outside" in cli("check", "m.yaml").err
    # A folder that was handed over may have links in it.
    shop.write("m.yaml", f"{head}}}\nsources: [{{glob: in/*.png}}]\n")
    (shop.root / "in" / "link.png").symlink_to(home / "private.png")
    assert f"which leads to {home / 'private.png'}, lies outside" in cli("check", "m.yaml").err
    assert "lies outside" in cli("check", "in/*.png", "--prompt", "grayscale").err
    shop.write("m.yaml", f"{head}}}\ninput_roots: ['{home}']\nsources: [{{glob: in/*.png}}]\n")
    assert cli("check", "m.yaml").code == 0


def test_a_table_alone_has_its_roots_beside_it(cli: Cli, shop: Shop, home: Path) -> None:
    """In the defaults, which are a head."""
    shop.table("t.csv", [{"id": "x", "image": str(home / "private.png"), "prompt": "grayscale"}])
    assert cli("check", "t.csv").code == 2
    shop.write("t.defaults.yaml", f"input_roots: ['{home}']\n")
    assert cli("check", "t.csv").code == 0
    shop.write("t.defaults.yaml", "input_roots: ['https://a.example/b', '', [c]]\n")
    said = cli("check", "t.csv").err
    assert 't.defaults.yaml:1:15: "input_roots": must be a folder such as ../photos (2 ' in said
    assert "must be text, not a list" in said
