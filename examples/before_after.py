"""
Runs the smallest example and puts each picture beside what became of it: the picture in the README.

    python examples/before_after.py

writes docs/before-after.jpg.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from batchedit import load_manifest, make_plan, run_plan_sync

ROOT = Path(__file__).resolve().parent.parent
SIDE, GAP = 300, 12


def main() -> None:
    """Run, compose, write."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = ROOT / "examples" / "manifests" / "smallest.csv"
        run_plan_sync(make_plan(load_manifest(manifest), out=folder))
        names = ("stoneware-mug_1", "weekend-bag_1", "desk-lamp_1", "chelsea-boot_1")
        pairs = [(manifest.parent / "in" / f"{name}.jpg", Path(folder) / f"{name}.png") for name in names]
        sheet = Image.new("RGB", (len(pairs) * (SIDE + GAP) - GAP, 2 * SIDE + 2 * GAP + 20), "white")
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
        prompts = ("pure white background", "on an oak table", "white, soft shadow", "recolour to oxblood")
        for number, ((before, after), prompt) in enumerate(zip(pairs, prompts, strict=True)):
            x = number * (SIDE + GAP)
            for y, path in ((0, before), (SIDE + GAP, after)):
                with Image.open(path) as image:
                    sheet.paste(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
            pen.text((x + 4, 2 * SIDE + GAP + 8), prompt, font=font, fill=(60, 60, 60))
        sheet.save(ROOT / "docs" / "before-after.jpg", quality=84, optimize=True)


if __name__ == "__main__":
    main()
