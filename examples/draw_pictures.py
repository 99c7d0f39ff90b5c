"""
Draws the pictures that the example manifests work on; `python examples/draw_pictures.py` writes all of them anew.

The products are made up. The same script draws the same pictures, so they can be thrown away at any time.
"""

from __future__ import annotations

import random

from easel import RGB, WHITE, Easel, Point, arc, blend, curve, darker, oval, paler, rounded, tube
from PIL import Image
from wear import bag, boot, sneaker

WARM_GREY: tuple[RGB, RGB] = ((214, 207, 199), (190, 182, 173))
BEIGE: tuple[RGB, RGB] = ((229, 216, 196), (208, 192, 168))
PALE_BLUE: tuple[RGB, RGB] = ((206, 220, 230), (180, 197, 211))
SAGE: tuple[RGB, RGB] = ((212, 218, 204), (184, 193, 175))
ROSE: tuple[RGB, RGB] = ((233, 214, 207), (211, 188, 180))
"""Colours of wall and floor."""

INK: RGB = (38, 34, 34)


def mug(name: str, glaze: RGB, ground: tuple[RGB, RGB]) -> None:
    """A stoneware mug, its foot unglazed."""
    easel = Easel(1024, 1024, *ground)
    clay: RGB = (196, 164, 132)
    easel.shadow(270, 800, 830, 880, 26, 0.42)
    easel.shadow(300, 806, 690, 850, 9, 0.5)
    ring = easel.shape(oval(600, 368, 866, 690), holes=[oval(656, 424, 808, 634)])
    easel.fill(ring, rounded(darker(glaze, 0.06)))
    easel.edge(ring, darker(glaze, 0.75), (-10, -12), 9, 0.55)
    easel.glow(ring, easel.shape(tube(arc((628, 394, 836, 662), 250, 340), 10)), WHITE, 6, 0.5)
    body = easel.shape(
        [
            *arc((280, 270, 700, 350), 180, 0),
            *curve((700, 310), (696, 560), (668, 760), (640, 800)),
            *arc((340, 770, 640, 842), 0, 180),
            *curve((340, 800), (312, 760), (284, 560), (280, 310)),
        ]
    )
    easel.fill(body, rounded(clay))
    easel.grain(body, f"{name}/clay", 0.16)
    top = [(250, 250), (730, 250), (730, 690), *arc((250, 640, 730, 744), 0, 180), (250, 690)]
    dip = Image.composite(body, Image.new("L", body.size, 0), easel.shape(top))
    easel.fill(dip, rounded(glaze))
    easel.grain(dip, f"{name}/glaze", 0.1)
    easel.glow(body, easel.shape(tube(arc((250, 644, 730, 748), 0, 180), 6)), darker(glaze, 0.5), 2, 0.6)
    easel.edge(body, darker(clay, 0.9), (0, -16), 18, 0.55)
    easel.glow(dip, easel.shape(tube(curve((372, 372), (378, 520), (394, 660)), 34, 20)), WHITE, 14, 0.62)
    easel.glow(dip, easel.shape(tube(curve((664, 380), (656, 540), (640, 680)), 12)), WHITE, 8, 0.22)
    rim = easel.shape(oval(280, 270, 700, 350))
    easel.fill(rim, rounded(paler(glaze, 0.2)))
    hollow = easel.shape(oval(296, 279, 684, 343))
    easel.fill(hollow, [(0.0, darker(glaze, 0.72)), (0.5, darker(glaze, 0.5)), (1.0, darker(glaze, 0.22))])
    easel.glow(hollow, easel.shape(oval(330, 312, 650, 370)), paler(glaze, 0.5), 14, 0.5)
    easel.save(name)


def bottle(name: str, glass: RGB, ground: tuple[RGB, RGB]) -> None:
    """A glass bottle with a dark cap and a paper label."""
    easel = Easel(1024, 1200, *ground)
    easel.shadow(330, 1050, 780, 1126, 24, 0.42)
    easel.shadow(356, 1062, 676, 1106, 8, 0.5)
    body = easel.shape(
        [
            *curve((462, 250), (462, 330), (440, 388), (372, 440), (352, 500)),
            (350, 1050),
            *arc((350, 1034, 674, 1104), 180, 0),
            (674, 500),
            *curve((672, 500), (652, 440), (584, 388), (562, 330), (562, 250)),
        ]
    )
    easel.fill(body, rounded(glass))
    easel.glow(body, easel.shape(oval(410, 900, 640, 1110)), paler(blend(glass, (255, 190, 90), 0.4), 0.3), 40, 0.5)
    easel.edge(body, darker(glass, 0.8), (0, -20), 22, 0.6)
    for x, strength in ((386, 0.75), (640, 0.3)):
        shine = easel.shape(tube(curve((x, 520), (x - 2, 800), (x, 1010)), 22 if x < 500 else 9))
        easel.glow(body, shine, WHITE, 6, strength)
    easel.glow(body, easel.shape(tube(curve((478, 270), (474, 350), (440, 410), (402, 446)), 12)), WHITE, 5, 0.7)
    label = easel.shape(
        [*arc((351, 556, 673, 596), 180, 0), (673, 900), *arc((351, 880, 673, 920), 0, 180), (351, 576)]
    )
    easel.fill(label, rounded((240, 232, 214)))
    easel.line(arc((351, 584, 673, 624), 176, 4), 3, (120, 96, 60), 0.8)
    easel.line(arc((351, 860, 673, 900), 176, 4), 3, (120, 96, 60), 0.8)
    easel.text((512, 682), "FENWOLD", 46, INK)
    easel.text((512, 744), "apple vinegar", 30, (92, 76, 58))
    easel.line([(452, 790), (572, 790)], 2, (120, 96, 60))
    easel.text((512, 826), "500 ml", 24, (92, 76, 58))
    cap = easel.shape(
        [(450, 160), *arc((450, 146, 574, 176), 180, 360), (574, 262), *arc((450, 250, 574, 278), 0, 180)]
    )
    easel.fill(cap, rounded((52, 50, 52)))
    for x in range(458, 572, 9):
        easel.line([(x, 186), (x, 262)], 2, (18, 16, 18), 0.5)
    easel.glow(cap, easel.shape(tube([(486, 168), (486, 262)], 12)), WHITE, 5, 0.45)
    easel.save(name)


def lamp(name: str, paint: RGB, ground: tuple[RGB, RGB]) -> None:
    """A desk lamp with a jointed arm; its shade also as a mask."""
    easel = Easel(1100, 1100, *ground)
    brass: RGB = (190, 150, 84)
    easel.shadow(200, 940, 720, 1016, 24, 0.42)
    easel.shadow(226, 952, 600, 1000, 8, 0.5)
    low = easel.shape(
        [(230, 930), *arc((230, 890, 590, 962), 180, 360), (590, 944), *arc((230, 918, 590, 992), 0, 180)]
    )
    easel.fill(low, rounded(darker(paint, 0.1)))
    top = easel.shape(oval(230, 888, 590, 960))
    easel.fill(top, [(0.0, darker(paint, 0.1)), (0.35, paler(paint, 0.36)), (1.0, darker(paint, 0.22))])
    for start, end in (((410, 920), (330, 560)), ((330, 560), (574, 296))):
        rod = easel.shape(tube([start, end], 22))
        easel.fill(rod, rounded(brass), down=start[0] < end[0])
    foot = easel.shape(
        [(376, 916), *arc((376, 868, 444, 892), 180, 360), (444, 916), *arc((376, 904, 444, 930), 0, 180)]
    )
    easel.fill(foot, rounded(brass))
    for x, y, radius in ((330, 560, 30), (574, 296, 26)):
        knob = easel.shape(oval(x - radius, y - radius, x + radius, y + radius))
        easel.fill(knob, rounded(darker(brass, 0.12)))
        easel.glow(knob, easel.shape(oval(x - 16, y - 18, x, y - 4)), WHITE, 4, 0.7)
    shade = easel.shape(_lamp_shade())
    easel.fill(shade, [(0.0, paler(paint, 0.2)), (0.3, paler(paint, 0.34)), (0.55, paint), (1.0, darker(paint, 0.45))])
    easel.edge(shade, darker(paint, 0.8), (-10, -16), 20, 0.45)
    easel.glow(shade, easel.shape(tube(curve((566, 330), (566, 440), (580, 530)), 24, 40)), WHITE, 16, 0.55)
    mouth = easel.shape(_turned(oval(-190, -46, 190, 46), 700, 520, -30))
    easel.fill(mouth, rounded(darker(paint, 0.35)))
    inner = easel.shape(_turned(oval(-176, -36, 176, 38), 700, 523, -30))
    easel.fill(inner, [(0.0, (255, 240, 200)), (0.6, (250, 222, 160)), (1.0, (214, 170, 104))])
    easel.glow(inner, easel.shape(oval(630, 460, 780, 570)), (255, 252, 236), 18, 0.95)
    easel.save(name)
    generous = easel.shape(_lamp_shade(), _turned(oval(-198, -54, 198, 54), 700, 520, -30))
    easel.save_mask(generous, name)


def _turned(points: list[Point], x: float, y: float, degrees: float) -> list[Point]:
    """Points about an origin, turned clockwise and moved."""
    turn = complex(0, 0) + complex(*arc((-1, -1, 1, 1), degrees, degrees, 1)[0])
    return [((complex(*point) * turn).real + x, (complex(*point) * turn).imag + y) for point in points]


def _lamp_shade() -> list[Point]:
    outline = [*curve((-186, 0), (-150, -110), (-92, -200), (-56, -250)), *arc((-56, -276, 56, -226), 180, 360)]
    outline += [*curve((56, -250), (92, -200), (150, -110), (186, 0)), *arc((-188, -44, 188, 44), 0, 180)]
    return _turned(outline, 700, 520, -30)


def chair(name: str, wood: RGB, ground: tuple[RGB, RGB]) -> None:
    """A wooden chair with a woven seat."""
    easel = Easel(1024, 1200, *ground)
    easel.shadow(270, 1040, 800, 1130, 28, 0.36)
    for x, y in ((322, 1098), (716, 1098), (386, 1016), (650, 1016)):
        easel.shadow(x - 36, y - 12, x + 52, y + 14, 9, 0.44)
    back = darker(wood, 0.16)
    for top, foot in (((372, 640), (386, 1014)), ((652, 640), (640, 1014))):
        easel.fill(easel.shape(tube([top, foot], 34, 24)), rounded(back))
    posts = (curve((352, 690), (338, 460), (318, 140)), curve((672, 690), (686, 460), (706, 140)))
    for y, bow in ((200, 26), (330, 22), (460, 18)):
        slat = easel.shape(tube(curve((330, y), (512, y - bow), (694, y)), 58))
        easel.fill(slat, [(0.0, paler(wood, 0.3)), (0.5, wood), (1.0, darker(wood, 0.35))], down=True)
        easel.grain(slat, f"{name}/{y}", 0.22, (40, 1))
        easel.edge(slat, darker(wood, 0.8), (0, -5), 6, 0.4)
    for post in posts:
        wooden = easel.shape(tube(post, 36, 28), oval(post[-1][0] - 14, 124, post[-1][0] + 14, 156))
        easel.fill(wooden, rounded(wood))
        easel.grain(wooden, f"{name}/{post[0]}", 0.16, (1, 40))
    easel.fill(easel.shape(tube([(344, 900), (690, 900)], 20)), rounded(wood), down=True)
    easel.fill(easel.shape(tube([(390, 850), (640, 850)], 16)), rounded(back), down=True)
    for start, end in (((326, 700), (322, 1096)), ((700, 700), (714, 1096))):
        leg = easel.shape(tube([start, end], 42, 28))
        easel.fill(leg, rounded(wood))
        easel.grain(leg, f"{name}/{start}", 0.16, (1, 40))
    seat = easel.shape(
        curve(
            (360, 612), (512, 604), (664, 612), (736, 690), (720, 716), (512, 724), (304, 716), (288, 690), (360, 612)
        )
    )
    straw: RGB = (216, 184, 128)
    easel.fill(seat, [(0.0, darker(straw, 0.18)), (0.55, paler(straw, 0.12)), (1.0, darker(straw, 0.3))], down=True)
    for step in range(-20, 21):
        easel.glow(seat, easel.shape(tube([(512 + step * 9, 600), (512 + step * 11.4, 730)], 3)), (96, 66, 32), 1, 0.6)
    for y in range(612, 724, 8):
        easel.glow(seat, easel.shape(tube([(280, y), (744, y)], 2.4)), (255, 240, 206), 1, 0.4)
    front = easel.shape(tube(curve((290, 706), (512, 728), (734, 706)), 30))
    easel.fill(front, [(0.0, paler(wood, 0.26)), (1.0, darker(wood, 0.4))], down=True)
    easel.grain(front, f"{name}/front", 0.2, (40, 1))
    easel.save(name)


def planter(name: str, clay: RGB, ground: tuple[RGB, RGB]) -> None:
    """A clay pot with a broad-leaved plant."""
    easel = Easel(1024, 1200, *ground)
    draw = random.Random(name)
    easel.shadow(290, 1040, 790, 1116, 26, 0.42)
    easel.shadow(340, 1056, 690, 1100, 8, 0.5)
    leaves = [
        (512, 760, 250, 330, 88),
        (520, 760, 800, 350, 88),
        (505, 760, 400, 150, 100),
        (525, 760, 640, 140, 96),
        (500, 770, 190, 520, 84),
        (530, 770, 850, 550, 80),
        (512, 770, 512, 270, 108),
    ]
    for root_x, root_y, tip_x, tip_y, width in leaves:
        _leaf(easel, (root_x, root_y), (tip_x, tip_y), width, draw.uniform(-0.12, 0.16))
    pot = easel.shape(
        [
            (352, 770),
            (672, 770),
            *curve((672, 770), (652, 920), (620, 1070)),
            *arc((404, 1044, 620, 1096), 0, 180),
            *curve((404, 1070), (372, 920), (352, 770)),
        ]
    )
    easel.fill(pot, rounded(clay))
    easel.grain(pot, f"{name}/clay", 0.2)
    easel.edge(pot, darker(clay, 0.85), (0, -16), 20, 0.5)
    collar = easel.shape(
        [(330, 720), *arc((330, 696, 694, 744), 180, 360), (694, 806), *arc((330, 784, 694, 830), 0, 180)]
    )
    easel.glow(pot, easel.shape(oval(330, 800, 694, 850)), darker(clay, 0.9), 10, 0.6)
    easel.fill(collar, rounded(paler(clay, 0.08)))
    easel.grain(collar, f"{name}/rim", 0.2)
    easel.fill(easel.shape(oval(346, 704, 678, 738)), [(0.0, (44, 32, 26)), (1.0, (70, 52, 40))])
    for root_x, tip in ((500, (420, 470)), (524, (612, 500))):
        _leaf(easel, (root_x, 724), tip, 92, draw.uniform(-0.05, 0.2))
    easel.save(name)


def _leaf(easel: Easel, root: Point, tip: Point, width: float, light: float) -> None:
    green: RGB = (66, 116, 70)
    green = paler(green, light) if light > 0 else darker(green, -light)
    dx, dy = tip[0] - root[0], tip[1] - root[1]
    bow = (root[0] + dx * 0.3 - dx * 0.12, root[1] + dy * 0.55)
    spine = curve(root, bow, (root[0] + dx * 0.72, root[1] + dy * 0.9), tip)
    easel.line(spine[: len(spine) // 2], 9, darker(green, 0.2))
    blade = spine[len(spine) // 3 :]
    sides: tuple[list[Point], list[Point]] = ([], [])
    for number, (x, y) in enumerate(blade):
        share = number / (len(blade) - 1)
        half = width / 2 * (4 * share * (1 - share)) ** 0.7 * (1.12 - 0.3 * share)
        after, before = blade[min(number + 1, len(blade) - 1)], blade[max(0, number - 1)]
        length = ((after[0] - before[0]) ** 2 + (after[1] - before[1]) ** 2) ** 0.5 or 1.0
        nx, ny = -(after[1] - before[1]) / length, (after[0] - before[0]) / length
        sides[0].append((x + nx * half, y + ny * half))
        sides[1].append((x - nx * half, y - ny * half))
    shape = easel.shape([*sides[0], *reversed(sides[1])])
    easel.fill(shape, [(0.0, paler(green, 0.22)), (0.6, green), (1.0, darker(green, 0.4))], down=True)
    lit = easel.shape([*sides[0], *reversed(blade)])
    easel.glow(shape, lit, paler(green, 0.6), 3, 0.32)
    easel.edge(shape, darker(green, 0.7), (-3, -5), 9, 0.4)
    easel.line(blade, 3, paler(green, 0.5), 0.8)


def reference() -> None:
    """A small picture of a soft shadow on warm paper, for edits that take a second picture."""
    easel = Easel(320, 320, (246, 238, 224), (226, 208, 184))
    easel.shadow(70, 180, 270, 230, 16, 0.5)
    easel.save("soft-shadow", folder="refs")


def main() -> None:
    """Write all pictures."""
    mug("stoneware-mug_1", (58, 122, 128), SAGE)
    mug("stoneware-mug_2", (206, 150, 62), PALE_BLUE)
    bottle("amber-bottle_1", (150, 78, 26), PALE_BLUE)
    sneaker("court-sneaker_1", (204, 176, 138), (46, 92, 84), PALE_BLUE)
    boot("chelsea-boot_1", (176, 122, 74), WARM_GREY, mask=True)
    boot("chelsea-boot_2", (72, 68, 70), BEIGE)
    lamp("desk-lamp_1", (196, 74, 52), SAGE)
    chair("rush-chair_1", (190, 136, 84), WARM_GREY)
    planter("clay-planter_1", (196, 108, 74), BEIGE)
    bag("weekend-bag_1", (134, 78, 46), ROSE)
    reference()


if __name__ == "__main__":
    main()
