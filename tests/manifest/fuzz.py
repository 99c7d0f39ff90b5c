"""
Manifests with their bytes stirred: whatever comes of it, the reader answers in its own words, and soon.

    python -m tests.manifest.fuzz --minutes 10 [--seed 1]

Each round takes a manifest that is right (or two, spliced), damages it, and reads it to the end: only ManifestError and
UsageError may come out. What breaks this is printed with its seed and its bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

from batchedit.errors import ManifestError, UsageError
from batchedit.manifest import Findings, Overrides, load_manifest

TASKS = 2_000
"""No more tasks of one manifest are looked at."""
SLOWEST_SECONDS = 20.0

_YAML = (
    b"""version: 1
name: autumn
provider: {name: runflow, api: runs, base_url: 'https://api.example.com'}
prompts: {white: "Put the {{ title }} on white", scene: {file: p.txt}}
defaults: {quality: low, labels: {client: acme}, output: "{{ edit }}/{{ id }}.{{ ext }}"}
edits:
  white: {prompt: white, variants: {a: {}, b: {quality: medium, size: 1024x1536}}}
  scene: {prompt: scene, mask: "{{ stem }}.png?", references: [in/b.png, 'https://x.test/r.png?sig=1']}
items:
  - id: 0123
    image: in/a.png
    vars: {title: "Boot {% if a %}", n: 1_000}
  - {id: b, image: in/b.png, edit: white, n: 2, prompt: "a {{ title|default('x') }} {% for i in 'ab' %}{{ i }}{% endfor %}"}
limits: {rpm: auto, concurrency: 4, timeout: 1.5}
budget: {run: 25.00}
""",
    b"version: 1\nsources:\n  - csv: t.csv\n    requires: [image]\n    limit: 5\n    id: '{{ id }}_{{ line }}'\n    prompt: pp\n"
    b"  - glob: in/*.png\n    prompt: |\n      Two\n      lines {{ row['Image Src'] }}\n",
    b"""version: 1
name: &l autumn
defaults: {labels: {season: *l, client: acme}, tags: [hero, "x|y"], prompt: pp, n: 1}
selectors: {nightly: "client:acme,edit:white", both: ["id:a*", "tag:hero"]}
budget: {run: 5, per_request: 0.3, per: {client: {acme: 2.00}, edit: {white: 1}}, warn_at: [50, 80]}
limits: {jobs: 500, verify: structure}
edits:
  white: {matrix: {colour: [red, blue], angle: [front, "4/5"]}, exclude: [{colour: red, angle: front}], prompt: "{{ colour }}"}
  scene: {from: white/blue-front, when: approved, prompt: "a scene", output: "{{ stem }}_{{ variant }}.{{ ext }}"}
sources:
  - csv: shop.csv
    preset: shopify
    map: {title: Title}
    where: "type != 'Gift card' and position|int < 5"
    columns: open
    encoding: utf-8
  - {glob: "in/*.png", pattern: "{sku}", id: "{{ sku }}_g"}
  - urls: ["https://x.test/a.png", "https://x.test/b.png?sig=1"]
    pattern: "{sku}"
  - {jsonl: rows.jsonl, limit: 3, requires: image}
  - {imagefolder: data, prompt: "{{ text }}"}
""",
)
_TABLES = (
    b'id,image,prompt,quality,Image Src,label.client\na,in/a.png,"on ""white"", please",low,x,acme\nb,in/b.png,"two\nlines",,,\n',
    "\ufeffid;image;prompt;größe\r\n0123;in/a.png;weiß;4/5\r\n".encode(),
    "id\timage\tprompt\na\tin/a.png\tpp\n".encode("utf-16"),
    b"sep=|\nid|image|prompt\na|in/a.png|pp\n",
)
_LINES = (
    b'{"id": "a", "image": "in/a.png", "prompt": "pp", "labels": {"c": "d"}, "references": ["in/b.png"], "n": 1}\n'
    b'{"id": 7, "image": "in/b.png", "prompt": "p\\u00e9", "vars": {"x": 1.5}, "enabled": false}\n',
)
_KINDS = {"m.yaml": _YAML, "m.csv": _TABLES, "m.tsv": _TABLES, "m.jsonl": _LINES}
_TOKENS = (
    b"{{", b"}}", b"{%", b"%}", b"{{ x * 99999 }}", b"{{ row.__class__ }}", b"&a ", b"*a", b"<<: ", b"!!python/object ", b"? ",
    b"- ", b": ", b"\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"|", b">", b"[" * 60, b"{" * 60, b"[[", b"\t",
    b"../", b"CON", b"1e999", b"NaN", b"-1", b"\xed\xa0\x80", "\u202e\u0000\ufeff".encode(), b"https://u:p@h/", b"file:///etc/passwd",
    b"rf_live_abcdefgh12345678", b"9" * 400, b"a" * 5000, b"---\n", b"...\n", b"%YAML 9.9\n", b"#", b",", b";", b"sep=;\n", b"version",
    b"tags", b"&l", b"*l", b"budget", b"per", b"warn_at", b"selectors", b"encoding", b"columns", b"imagefolder", b"items", b"sources", b"edits", b"from", b"when", b"matrix", b"exclude", b"map", b"where", b"pattern", b"preset", b"urls",
)  # fmt: skip

_KEY = re.compile(r"(?<![A-Za-z0-9])rf_live_abcdefgh12345678")


def stir(random: Random, data: bytes) -> bytes:
    """Damage some bytes."""
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 8, 30))):
        at = random.randrange(len(damaged) + 1)
        end = min(len(damaged), at + random.choice((1, 1, 2, 5, 20, 100)))
        match random.randrange(6):
            case 0:
                damaged[at:at] = random.choice(_TOKENS)
            case 1:
                damaged[at:end] = b""
            case 2:
                damaged[at:end] = random.choice(_TOKENS)
            case 3:
                damaged[at:at] = damaged[at:end] * random.choice((1, 2, 50))
            case 4 if damaged:
                damaged[at % len(damaged)] = random.randrange(256)
            case _:
                other = random.randrange(len(damaged) + 1)
                damaged[at:at] = damaged[min(at, other) : max(at, other)][:500]
    return bytes(damaged[:200_000])


def manifest(random: Random) -> tuple[str, bytes]:
    """A name and what stands in the file."""
    name = random.choice(sorted(_KINDS))
    data = random.choice(_KINDS[name])
    if random.random() < 0.2:
        other = random.choice([*_YAML, *_TABLES, *_LINES])
        data = data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
    return name, stir(random, data)


def read(folder: Path, name: str, data: bytes) -> str:
    """Read a manifest as `check` does; what came of it, in a word."""
    path = folder / name
    path.write_bytes(data)
    findings = Findings()
    try:
        for _ in islice(load_manifest(path, overrides=Overrides(), cwd=folder).tasks(findings), TASKS):
            pass
    except (ManifestError, UsageError) as error:
        str(error)
        return "refused"
    said = "".join(str(problem) for problem in (*findings.problems, *findings.warnings))
    if _KEY.search(said):
        raise AssertionError("a key came back in a message")
    return "problems" if findings.problems else "right"


def prepare(folder: Path) -> None:
    """The files that the manifests name."""
    (folder / "in").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "in" / name).write_bytes(b"picture")
    (folder / "p.txt").write_text("On oak: {{ title }}")
    (folder / "t.csv").write_text("id,image,Image Src\na,in/a.png,x\nb,,y\n")
    (folder / "shop.csv").write_text(
        "Handle,Title,Type,Tags,Image Src,Image Position\nboot,Boot,Shoe,a,https://x.test/1.png,1\nboot,,,,,\n"
    )
    (folder / "rows.jsonl").write_bytes(_LINES[0])
    (folder / "data").mkdir()
    (folder / "data" / "p.png").write_bytes(b"picture")
    (folder / "data" / "metadata.csv").write_text("file_name,text\np.png,hello\n")


def one(folder: Path, seed: str) -> str:
    """One round."""
    name, data = manifest(Random(seed))
    begun = time.monotonic()
    try:
        found = read(folder, name, data)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {name}: {data[:2000]!r}") from error
    if time.monotonic() - begun > SLOWEST_SECONDS:
        raise AssertionError(f"seed {seed}: {name} took too long: {data[:2000]!r}")
    return found


def main(arguments: list[str], clock: Callable[[], float] = time.monotonic) -> int:
    """Go on for some minutes; 1 if anything else than our own errors came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args(arguments)
    end, number, failed = clock() + 60 * options.minutes, 0, 0
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        os.chdir(folder)
        while clock() < end:
            number += 1
            try:
                counts[one(folder, f"{options.seed}/{number}")] += 1
            except AssertionError:
                failed += 1
                if failed <= 20:
                    traceback.print_exc(limit=-4)
        os.chdir("/")
    print(f"{number} manifests: {dict(counts)}; {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
