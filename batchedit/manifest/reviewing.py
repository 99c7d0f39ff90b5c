"""`review`: why pictures are rejected, what to look for, whether variants are compared without their names."""

from __future__ import annotations

from batchedit.manifest.fields import shortened
from batchedit.manifest.reading import Reading
from batchedit.manifest.vocabulary import REVIEW_KEYS, names
from batchedit.manifest.yaml_tree import Node
from batchedit.model import MAX_REASONS, ReviewSettings

_MOST_CHECKS = 30
_LONGEST = 200
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_review(node: Node, reading: Reading) -> ReviewSettings:
    """How pictures are looked at."""
    pairs = reading.mapping(node, "review", names(REVIEW_KEYS))
    default = ReviewSettings()
    return ReviewSettings(
        reasons=(_reasons(pairs["reasons"][1], reading) or default.reasons) if "reasons" in pairs else default.reasons,
        checklist=_checklist(pairs["checklist"][1], reading) if "checklist" in pairs else (),
        blind=_flag(pairs["blind"][1], reading) if "blind" in pairs else False,
    )


def _reasons(node: Node, reading: Reading) -> dict[str, str]:
    found: dict[str, str] = {}
    for word, (place, child) in reading.mapping(node, "review.reasons", None).items():
        if not reading.is_name(word, place, "a reason"):
            continue
        if len(found) == MAX_REASONS:
            message = f"there is a key for {MAX_REASONS} reasons, and this is one more"
            reading.wrong(place, "bad-review", message, field="review.reasons", value=word)
            break
        text = _text(child, f"review.reasons.{shortened(word)}", reading)
        found[word] = text or word
    return found


def _checklist(node: Node, reading: Reading) -> tuple[str, ...]:
    nodes = [node] if isinstance(node.value, str) else reading.list(node, "review.checklist")
    if len(nodes) > _MOST_CHECKS:
        message = f"has {len(nodes)} lines; at most {_MOST_CHECKS} fit beside a picture"
        reading.wrong(node.place, "bad-review", message, field="review.checklist")
    texts = [_text(child, "review.checklist", reading) for child in nodes]
    return tuple(text for text in texts if text)


def _text(node: Node, field: str, reading: Reading) -> str:
    text = reading.text(node, field)
    if text is None:
        return ""
    if len(text) > _LONGEST:
        message = f"has {len(text)} characters; at most {_LONGEST} fit beside a picture"
        reading.wrong(node.place, "bad-review", message, field=field, value=text)
        return ""
    return " ".join(text.split())


def _flag(node: Node, reading: Reading) -> bool:
    text = reading.text(node, "review.blind")
    if text is None:
        return False
    if text.lower() not in _FLAGS:
        message = f"{shortened(text)!r} is neither true nor false"
        reading.wrong(node.place, "bad-review", message, field="review.blind", value=text)
        return False
    return _FLAGS[text.lower()]
