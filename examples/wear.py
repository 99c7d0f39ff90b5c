"""Shoes and a bag, for `draw_pictures.py`."""

from __future__ import annotations

from easel import RGB, WHITE, Easel, Point, curve, darker, oval, paler, rounded, tube
from PIL import Image


def sneaker(name: str, leather: RGB, accent: RGB, ground: tuple[RGB, RGB]) -> None:
    """A low leather sneaker from the side, toe to the right."""
    easel = Easel(1200, 900, *ground)
    easel.shadow(150, 700, 1090, 780, 24, 0.42)
    easel.shadow(180, 716, 1040, 756, 7, 0.6)
    upper = easel.shape(
        curve((176, 676), (168, 560), (186, 440), (196, 352), (212, 304), (246, 296), (276, 330))
        + curve((276, 330), (330, 372), (410, 372), (470, 320), (500, 286), (536, 284))
        + curve((536, 284), (600, 350), (700, 430), (820, 482), (940, 520), (1010, 566), (1044, 676))
    )
    easel.fill(upper, [(0.0, paler(leather, 0.2)), (0.5, leather), (1.0, darker(leather, 0.34))], down=True)
    easel.grain(upper, f"{name}/leather", 0.13)
    easel.edge(upper, darker(leather, 0.8), (14, -18), 26, 0.5)
    easel.glow(upper, easel.shape(oval(800, 490, 980, 560)), WHITE, 26, 0.5)
    easel.glow(upper, easel.shape(oval(300, 410, 460, 520)), WHITE, 44, 0.28)
    _sneaker_panels(easel, upper, leather, accent)
    sole = easel.shape(
        curve((158, 640), (150, 690), (170, 732), (230, 744))
        + curve((230, 744), (620, 746), (960, 746), (1040, 730), (1072, 690), (1058, 640))
        + curve((1058, 640), (860, 656), (600, 660), (360, 656), (158, 640))
    )
    easel.fill(sole, [(0.0, (250, 249, 246)), (0.6, (233, 230, 226)), (1.0, (176, 172, 168))], down=True)
    easel.edge(sole, (90, 76, 66), (0, -8), 10, 0.45)
    easel.line(curve((164, 690), (360, 702), (700, 704), (1062, 684)), 3, (170, 158, 142), 0.8)
    easel.stitches(curve((172, 664), (360, 674), (700, 676), (1050, 660), steps=40), (176, 164, 146), 2.4)
    easel.save(name)


def _sneaker_panels(easel: Easel, upper: Image.Image, leather: RGB, accent: RGB) -> None:
    def inside(shape: Image.Image) -> Image.Image:
        return Image.composite(shape, Image.new("L", shape.size, 0), upper)

    dark = darker(leather, 0.55)
    heel = inside(easel.shape([*curve((150, 660), (330, 640), (300, 520), (262, 430)), (180, 420), (150, 500)]))
    easel.fill(heel, [(0.0, paler(accent, 0.15)), (1.0, darker(accent, 0.3))], down=True)
    easel.line(curve((318, 660), (318, 600), (298, 520), (262, 430), (184, 424)), 4, dark, 0.6)
    tongue = easel.shape(curve((470, 320), (500, 250), (540, 226), (580, 250), (600, 330), (640, 390), (520, 330)))
    easel.fill(tongue, [(0.0, paler(leather, 0.3)), (1.0, darker(leather, 0.2))], down=True)
    easel.edge(tongue, dark, (-6, -8), 10, 0.5)
    lining = inside(
        easel.shape(curve((212, 300), (270, 352), (340, 396), (430, 390), (520, 300), (470, 250), (240, 250)))
    )
    easel.fill(lining, [(0.0, darker(leather, 0.5)), (1.0, darker(leather, 0.2))], down=True)
    toe = curve((760, 660), (770, 590), (820, 530), (900, 508))
    easel.line(toe, 4, dark, 0.6)
    easel.stitches([(x + 9, y + 4) for x, y in toe], paler(leather, 0.5))
    eyestay = inside(
        easel.shape(
            curve((450, 360), (520, 300), (560, 300), (660, 400), (820, 490), (790, 530), (620, 470), (450, 360))
        )
    )
    easel.fill(eyestay, [(0.0, paler(leather, 0.14)), (1.0, darker(leather, 0.12))], down=True)
    easel.edge(eyestay, dark, (-2, -7), 7, 0.6)
    for sweep in (0, 62):
        stripe = inside(easel.shape(tube(curve((470 + sweep, 660), (500 + sweep, 580), (580 + sweep, 480)), 34, 22)))
        easel.fill(stripe, [(0.0, paler(accent, 0.2)), (1.0, darker(accent, 0.25))], down=True)
        easel.edge(stripe, darker(accent, 0.8), (-3, -3), 5, 0.5)
    for number in range(6):
        x, y = 520 + 46 * number, 318 + 33 * number
        eye, end = (x - 24, y + 28), (x + 36, y - 14)
        easel.line([eye, end], 17, (120, 110, 100), 0.5)
        easel.line([(eye[0], eye[1] - 3), (end[0], end[1] - 3)], 15, (246, 241, 230))
        easel.line([(eye[0] + 4, eye[1] + 1), (end[0], end[1] + 1)], 3, (196, 186, 170), 0.8)


def boot(name: str, leather: RGB, ground: tuple[RGB, RGB], *, mask: bool = False) -> None:
    """A Chelsea boot from the side, toe to the right."""
    easel = Easel(1100, 1100, *ground)
    easel.shadow(180, 940, 1000, 1010, 24, 0.42)
    easel.shadow(220, 954, 950, 990, 7, 0.6)
    upper = easel.shape(
        curve((262, 916), (250, 800), (268, 690), (262, 560), (236, 400), (232, 262), (246, 216))
        + curve((246, 216), (340, 200), (440, 196), (536, 214))
        + curve(
            (536, 214), (548, 300), (538, 420), (552, 520), (620, 610), (740, 680), (860, 730), (920, 800), (932, 910)
        )
    )
    easel.fill(upper, [(0.0, paler(leather, 0.08)), (0.45, leather), (1.0, darker(leather, 0.3))], down=True)
    easel.grain(upper, f"{name}/leather", 0.12)
    easel.edge(upper, darker(leather, 0.85), (16, -14), 26, 0.55)
    easel.edge(upper, darker(leather, 0.8), (-16, 0), 20, 0.4)
    easel.glow(upper, easel.shape(oval(700, 690, 880, 760)), WHITE, 26, 0.5)
    easel.glow(upper, easel.shape(tube(curve((318, 260), (322, 420), (338, 560)), 34)), WHITE, 22, 0.32)
    for y in (596, 622, 650):
        crease = curve((520, y - 26), (560, y + 4), (630, y + 22))
        easel.glow(upper, easel.shape(tube(crease, 5)), darker(leather, 0.8), 4, 0.4)
    panel = easel.shape(curve((352, 262), (346, 420), (372, 600), (412, 690), (452, 600), (472, 420), (466, 260)))
    easel.fill(panel, rounded((58, 50, 48)))
    for x in range(350, 476, 9):
        easel.glow(panel, easel.shape(tube([(x, 250), (x + (412 - x) * 0.55, 700)], 4)), (16, 12, 12), 1, 0.6)
    border = curve((338, 232), (332, 420), (358, 610), (412, 712), (466, 610), (486, 420), (480, 232), steps=24)
    easel.stitches(border, paler(leather, 0.55))
    easel.line(curve((236, 262), (340, 244), (440, 240), (540, 258)), 3, darker(leather, 0.6), 0.7)
    tab = easel.shape(curve((226, 300), (214, 200), (232, 150), (258, 152), (268, 200), (262, 300)))
    easel.fill(tab, rounded(darker(leather, 0.25)))
    easel.stitches(curve((236, 290), (230, 200), (244, 172), (254, 200), (252, 290), steps=10), paler(leather, 0.4))
    _boot_sole(easel)
    easel.save(name)
    if mask:
        easel.save_mask(easel.shape(*_boot_leather()), name)


def _boot_sole(easel: Easel) -> None:
    sole = easel.shape(
        [
            *curve((240, 884), (236, 920), (250, 930)),
            (470, 930),
            *curve((500, 920), (560, 952), (800, 958), (930, 946)),
            *curve((930, 946), (966, 930), (964, 900), (940, 880)),
            *curve((940, 880), (760, 896), (480, 892), (240, 884)),
        ]
    )
    easel.fill(sole, [(0.0, (92, 66, 48)), (0.4, (58, 40, 32)), (1.0, (34, 25, 22))], down=True)
    easel.stitches(curve((250, 900), (480, 908), (760, 910), (946, 896), steps=30), (196, 164, 120), 2.2)
    heel = easel.shape([*curve((248, 926), (250, 960), (256, 984)), (452, 984), *curve((456, 960), (466, 926))])
    easel.fill(heel, [(0.0, (52, 38, 32)), (1.0, (28, 22, 20))], down=True)
    easel.line([(254, 948), (458, 948)], 2, (96, 74, 58), 0.6)


def _boot_leather() -> list[list[Point]]:
    """A generous outline of the boot's leather, as somebody would brush it."""
    return [
        curve((206, 140), (216, 400), (240, 560), (240, 760), (236, 888), (480, 896), (940, 888))
        + curve(
            (940, 888), (944, 800), (880, 716), (740, 660), (636, 596), (572, 510), (556, 200), (400, 184), (206, 140)
        )
    ]


def bag(name: str, leather: RGB, ground: tuple[RGB, RGB]) -> None:
    """A leather holdall with two handles."""
    easel = Easel(1200, 1000, *ground)
    brass: RGB = (198, 160, 92)
    easel.shadow(180, 800, 1060, 884, 26, 0.42)
    easel.shadow(220, 820, 980, 860, 8, 0.55)
    easel.fill(
        easel.shape(tube(curve((440, 440), (450, 250), (600, 160), (750, 250), (760, 440)), 24)),
        rounded(darker(leather, 0.4)),
    )
    body = easel.shape(
        curve((210, 790), (180, 640), (220, 480), (270, 410), (360, 392))
        + curve((360, 392), (600, 380), (840, 392))
        + curve((840, 392), (930, 410), (980, 480), (1020, 640), (990, 790))
        + curve((990, 790), (960, 840), (600, 852), (240, 840), (210, 790))
    )
    easel.fill(body, [(0.0, paler(leather, 0.22)), (0.35, leather), (1.0, darker(leather, 0.4))], down=True)
    easel.grain(body, f"{name}/leather", 0.14)
    easel.edge(body, darker(leather, 0.85), (-22, -18), 34, 0.5)
    easel.edge(body, darker(leather, 0.7), (20, 0), 30, 0.3)
    easel.glow(body, easel.shape(oval(330, 430, 860, 520)), WHITE, 44, 0.34)
    easel.line(curve((330, 400), (600, 388), (870, 400)), 9, darker(leather, 0.7), 0.8)
    easel.stitches(curve((300, 422), (600, 410), (900, 422), steps=40), paler(leather, 0.5))
    for points in (
        ((200, 700), (330, 690), (330, 850), (200, 850)),
        ((1000, 700), (870, 690), (870, 850), (1000, 850)),
    ):
        corner = Image.composite(easel.shape(list(points)), Image.new("L", easel.size, 0), body)
        easel.glow(body, corner, darker(leather, 0.8), 1, 0.5)
    for x in (440, 760):
        strap = easel.shape(tube([(x, 410), (x, 836)], 40))
        easel.glow(body, easel.shape(tube([(x + 8, 420), (x + 8, 836)], 44)), (20, 12, 10), 8, 0.5)
        easel.fill(strap, rounded(darker(leather, 0.26)))
        for side in (-14, 14):
            easel.stitches([(x + side, y) for y in range(420, 836, 5)], paler(leather, 0.5))
        buckle = easel.shape(oval(x - 30, 500, x + 30, 560), holes=[oval(x - 18, 512, x + 18, 548)])
        easel.fill(buckle, rounded(brass))
    handle = easel.shape(tube(curve((440, 520), (430, 330), (600, 220), (770, 330), (760, 520)), 30))
    easel.fill(
        handle, [(0.0, paler(leather, 0.16)), (0.5, darker(leather, 0.16)), (1.0, darker(leather, 0.36))], down=True
    )
    easel.edge(handle, darker(leather, 0.85), (-5, -6), 7, 0.6)
    easel.save(name)
