"""Edits that start from the output of another one: `from: EDIT` or `from: EDIT/VARIANT`, and `when`."""

from __future__ import annotations

from dataclasses import dataclass

from batchedit.errors import Place
from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.layers import Edit, Start
from batchedit.manifest.reading import Pairs, Reading
from batchedit.model import GATES


@dataclass(frozen=True, slots=True)
class _Written:
    """A `from` as it stands in the file."""

    edit: Edit
    text: str
    place: Place


class ChainReader:
    """
    Collects what the edits of one manifest say about where they start, and connects them.

    Args:
        reading: Where problems go.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._written: list[_Written] = []

    def read(self, edit: Edit, pairs: Pairs) -> None:
        """Take `from` and `when` of one edit, whose fields are read already."""
        reading, field = self._reading, f"edits.{edit.name}"
        gate = GATES[0]
        if "when" in pairs:
            place, node = pairs["when"]
            text = reading.text(node, f"{field}.when") if node.value is not None else ""
            if text is not None and text not in GATES:
                message = f"{shortened(text)!r} is not one of {', '.join(GATES)}"
                hint = suggestion(text.lower(), GATES)
                reading.wrong(node.place, "bad-when", message, field=f"{field}.when", value=text, hint=hint)
            gate = text if text in GATES else gate
            if "from" not in pairs:
                hint = "Name the edit that this one starts from"
                reading.wrong(place, "when-without-from", "when goes with from", field=f"{field}.when", hint=hint)
        if "from" not in pairs:
            return
        node = pairs["from"][1]
        text = reading.text(node, f"{field}.from")
        if node.value is None or text == "":
            hint = "Name the edit that this one starts from"
            reading.wrong(node.place, "unknown-upstream", "from is empty", field=f"{field}.from", hint=hint)
        elif text is not None:
            edit.start = Start("", "", gate)
            self._written.append(_Written(edit, text.strip(), node.place))
        for layer in (edit.layer, *edit.variants.values()):
            image = layer.fields.get("image")
            if image is not None:
                message = "an edit starts from an image or from another edit, not from both"
                reading.wrong(
                    image.place, "image-and-from", message, field=f"{field}.image", hint="Take one of them out"
                )

    def connect(self, edits: list[Edit]) -> list[Edit]:
        """The edits, each after the one that it starts from; in the order of the file otherwise."""
        known = {edit.name: edit for edit in edits}
        for written in self._written:
            written.edit.start = self._start(written, known)
        self._refuse_circles(known)
        ordered: dict[str, Edit] = {}
        for edit in edits:
            line = [edit]
            while (start := line[-1].start) is not None and start.edit not in ordered:
                line.append(known[start.edit])
            for upstream in reversed(line):
                ordered.setdefault(upstream.name, upstream)
        return list(ordered.values())

    def _start(self, written: _Written, known: dict[str, Edit]) -> Start | None:
        name, _, variant = written.text.partition("/")
        upstream, start = known.get(name), written.edit.start
        assert start is not None, "it was written down"
        if upstream is None:
            others = [other for other in known if other != written.edit.name]
            hint = suggestion(name, others) or (f"Known are: {', '.join(others)}" if others else "")
            self._wrong(written, f"there is no edit {shortened(name)!r}", hint)
        elif variant not in upstream.variants and (variant or upstream.variants):
            names = ", ".join(f"{name}/{one}" for one in upstream.variants)
            if not variant:
                self._wrong(written, f"the edit {name!r} has variants: say which one", f"Known are: {names}")
            elif not upstream.variants:
                self._wrong(written, f"the edit {name!r} has no variants", f"Write: from: {name}")
            else:
                hint = suggestion(variant, upstream.variants) or f"Known are: {names}"
                self._wrong(written, f"the edit {name!r} has no variant {shortened(variant)!r}", hint)
        else:
            return Start(name, variant, start.when)
        return None

    def _refuse_circles(self, known: dict[str, Edit]) -> None:
        """Each circle is a problem once, at the `from` that comes first; and is cut, so that it can be put in order."""
        for written in self._written:
            path = [written.edit.name]
            while (start := known[path[-1]].start if path[-1] in known else None) is not None:
                path.append(start.edit)
                if start.edit == written.edit.name:
                    self._wrong(written, f"the edits start from each other: {' -> '.join(path)}", "")
                    written.edit.start = None
                elif path.count(start.edit) > 1:
                    break  # a circle further up, which is told there

    def _wrong(self, written: _Written, message: str, hint: str) -> None:
        field = f"edits.{written.edit.name}.from"
        self._reading.wrong(written.place, "unknown-upstream", message, field=field, value=written.text, hint=hint)
