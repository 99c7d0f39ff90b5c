"""Texts that try to be more than a name."""

from __future__ import annotations

import random

ALPHABET = [
    "..", ".", "/", "\\", ":", "*", "?", '"', "<", ">", "|", "~", "-", " ", "\u00a0", "\u3000", "\0", "\n", "\r", "\t", "\x1b",
    "\x7f", "\x85", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028", "\ufffe", "%2e%2e%2f", "%00", "$(id)", "`id`", "&",
    ";", "'", "{{", "}}", "{%", "CON", "nul", "COM1", "LPT\u00b9", "AUX", "CONIN$", "CLOCK$", ".batchedit", "a", "B", "9", "\u00c9",
    "E\u0301", "\u212a", "\ufb00", "\u00df", "\u0130", "\u0131", "\uff0f", "\uff0e", "\u2215", "\u2044", "\U0001f4a9", "\ud800", "x" * 90, "\u00e9" * 120, "C:",
    "file://", "\\\\host\\", "\\\\?\\", "::$DATA", "etc/passwd", ".ssh",
]  # fmt: skip
PAYLOADS = [
    f"{before}{middle}{after}"
    for before in ("", "/", "\\", "C:\\", "\\\\host\\share\\", "file:///", "~/", "./", "....//", "%2e%2e/", "..;/", "\u202e")
    for middle in ("../../.ssh/x", "..\\..\\x", "..%2f..%2fx", "..\0/x", "con", "nul.tar.gz", "x:$DATA", ".batchedit/ledger.db", "-rf")
    for after in ("", ".", " ", "\0.png")
]  # fmt: skip


def hostile(draw: random.Random) -> str:
    return "".join(draw.choice(ALPHABET) for _ in range(draw.randrange(1, 9)))
