"""
Rows times edits times variants: a Task is made when it is needed.

For each field the last level that gives it counts: defaults, edit, row, variant, command line. Labels merge over the
same levels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from batchedit.errors import Place, Problem
from batchedit.manifest.fields import (
    Given,
    looks_like_a_key,
    read_count,
    read_flag,
    read_format,
    read_quality,
    read_size,
    suggestion,
)
from batchedit.manifest.findings import Findings, Skip
from batchedit.manifest.head import Edit, Head, Layer
from batchedit.manifest.rows import Row
from batchedit.manifest.templates import TemplateProblem, has_leftover, render
from batchedit.model import (
    EXTENSIONS,
    MAX_IMAGES,
    MAX_PROMPT,
    MIN_PROMPT,
    ImageRef,
    Item,
    LocalImage,
    Params,
    Task,
    UrlImage,
)
from batchedit.paths import path_problem

_NONE = "none"
_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|webp)$", re.IGNORECASE)
MAX_ID = 200


T = TypeVar("T")


class _Refused(Exception):
    """The task has a problem, which is noted already."""


class _Tries:
    """Runs the parts of a task one after the other, whether or not an earlier one was refused."""

    def __init__(self) -> None:
        self.failed = False

    def of(self, part: Callable[[], T]) -> T | None:
        """The part's result; None if it was refused."""
        try:
            return part()
        except _Refused:
            self.failed = True
            return None


class _NoImage(Exception):
    """The row has no picture."""


@dataclass(slots=True)
class _Known:
    """Ids seen so far, to tell duplicates and near-duplicates."""

    exact: dict[str, Place] = field(default_factory=dict)
    folded: dict[str, tuple[str, Place]] = field(default_factory=dict)


class Expander:
    """
    Makes the tasks of rows.

    Args:
        overrides: What the command line gives; wins over everything.
        root: Folder that relative paths start from.
    """

    def __init__(self, head: Head, overrides: Layer, root: Path, findings: Findings) -> None:
        self._head, self._overrides, self._root, self._findings = head, overrides, root, findings
        self._known = _Known()

    def tasks(self, row: Row) -> Iterator[Task]:
        """All tasks of one row. A problem takes away the task, not the row."""
        item: Item | None = None
        for edit in self._edits_of(row):
            for variant, layer in (edit.variants or {"": Layer()}).items():
                maker = _Maker(self, row, edit, variant, layer)
                try:
                    if not maker.enabled():
                        self._findings.skip(Skip(row.place, "not enabled"))
                        continue
                    image = maker.image()
                    if item is None:
                        item = self._item(maker, row, image)
                    yield maker.task(item, image)
                except _NoImage:
                    self._without_image(row)
                    return
                except _Refused:
                    if item is None:
                        return

    def _edits_of(self, row: Row) -> list[Edit]:
        wanted = row.layer.fields.get("edit")
        if wanted is None:
            return self._head.edits
        names = wanted.several
        known = {edit.name: edit for edit in self._head.edits}
        for name in names:
            if name not in known:
                self.wrong(wanted.place, "unknown-edit", "edit", name, f"there is no edit {name!r}",
                           suggestion(name, known) or f"Known are: {', '.join(known)}")  # fmt: skip
        return [known[name] for name in names if name in known]

    def _without_image(self, row: Row) -> None:
        if row.inline:
            self.wrong(row.place, "no-image", "image", "", "the item has no image")
        else:
            self._findings.skip(Skip(row.place, "no image"))

    def _item(self, maker: _Maker, row: Row, image: str) -> Item:
        item_id = maker.item_id(image)
        first = self._known.exact.setdefault(item_id, row.place)
        if first is not row.place:
            self.wrong(row.place, "duplicate-id", "id", item_id, f"the id {item_id!r} is already that of {first}")
            raise _Refused
        folded = item_id.casefold().lstrip("0")
        other = self._known.folded.setdefault(folded, (item_id, row.place))
        if other[0] != item_id:
            self._findings.problem(
                Problem(
                    place=row.place,
                    code="similar-id",
                    field="id",
                    value=item_id,
                    message=f"the ids {item_id!r} and {other[0]!r} ({other[1]}) differ only by case or leading zeros",
                    warning=True,
                )
            )
        return Item(id=item_id, place=row.place, values=row.values, labels={})

    def wrong(self, place: Place, code: str, name: str, value: str, message: str, hint: str = "") -> None:
        """Note a problem."""
        self._findings.problem(
            Problem(place=place, code=code, field=name, value=value[:200], message=message, hint=hint)
        )


class _Maker:
    """One task in the making."""

    def __init__(self, expander: Expander, row: Row, edit: Edit, variant: str, layer: Layer) -> None:
        self._expander, self._row, self._edit, self._variant = expander, row, edit, variant
        head = expander._head
        layers = (head.defaults, edit.layer, row.layer, layer, expander._overrides)
        self._fields: dict[str, Given] = {}
        self._labels: dict[str, Given] = {}
        for level in layers:
            self._fields.update(level.fields)
            self._labels.update(level.labels)
        self._names: dict[str, Any] = {
            **row.values,
            "row": row.columns,
            "edit": edit.name,
            "variant": variant,
            "line": row.place.line,
            "source": row.place.file,
        }

    def enabled(self) -> bool:
        """False for a row that is switched off."""
        given = self._fields.get("enabled")
        if given is None:
            return True
        flag = read_flag("enabled", given, self._expander._findings)
        if flag is None:
            raise _Refused
        return flag

    def image(self) -> str:
        """The picture's path or URL, rendered; sets the names that follow from it."""
        text = self._render("image") if "image" in self._fields else ""
        if not text or text.lower() == _NONE:
            raise _NoImage
        self._names["image"] = text
        name = unquote(urlsplit(text).path) if "://" in text else text
        self._names["stem"] = PurePosixPath(name.replace("\\", "/")).stem
        return text

    def item_id(self, image: str) -> str:
        """The item's id: as given, else the picture's stem."""
        text = self._render("id") if "id" in self._fields else str(self._names["stem"])
        place = self._fields["id"].place if "id" in self._fields else self._row.place
        if not text:
            self._wrong(place, "no-id", "id", "", "the id is empty")
        if len(text) > MAX_ID or not text.isprintable():
            self._wrong(place, "bad-id", "id", text, f"an id has at most {MAX_ID} printable characters")
        return text

    def task(self, item: Item, image: str) -> Task:
        """The finished task. All its parts are tried, so that one mistake does not hide the next."""
        self._names["id"] = item.id
        tries = _Tries()
        params, inline = tries.of(self._params) or (Params(), False)
        self._names["ext"] = EXTENSIONS[params.format]
        prompt = tries.of(self._prompt)
        images = [tries.of(lambda: self._picture("image", image)), *(tries.of(self._references) or [])]
        if len(images) > MAX_IMAGES:
            message = f"{len(images)} pictures; one request takes {MAX_IMAGES}"
            tries.of(lambda: self._wrong(self._row.place, "too-many-images", "references", "", message))
        mask = tries.of(lambda: self._optional_picture("mask"))
        outputs = tries.of(lambda: self._outputs(params))
        labels = tries.of(self._rendered_labels)
        if tries.failed or prompt is None or outputs is None or labels is None:
            raise _Refused
        return Task(
            slot="/".join(_escape(part) for part in (item.id, self._edit.name, self._variant) if part),
            item=item,
            edit=self._edit.name,
            variant=self._variant,
            prompt=prompt,
            images=tuple(picture for picture in images if picture is not None),
            mask=mask,
            params=params,
            outputs=outputs,
            inline=inline,
            labels=labels,
        )

    def _rendered_labels(self) -> dict[str, str]:
        texts = {name: self._text(given, f"labels.{name}") for name, given in self._labels.items()}
        return {name: text for name, text in texts.items() if text}

    # -- fields ----------------------------------------------------------------------------------------------

    def _params(self) -> tuple[Params, bool]:
        findings, params, bad = self._expander._findings, Params(), False
        values: dict[str, Any] = {}
        readers: Mapping[str, Any] = {
            "quality": read_quality, "size": read_size, "format": read_format, "n": read_count,
        }  # fmt: skip
        for name, read in readers.items():
            if name in self._fields:
                value = read(self._fields[name], findings)
                bad = bad or value is None
                values[name] = value
        inline = False
        if "sync_mode" in self._fields:
            flag = read_flag("sync_mode", self._fields["sync_mode"], findings)
            bad = bad or flag is None
            inline = bool(flag)
        if bad:
            raise _Refused
        return (
            Params(
                quality=values.get("quality", params.quality),
                size=values.get("size", params.size),
                format=values.get("format", params.format),
                samples=values.get("n", params.samples),
            ),
            inline,
        )

    def _prompt(self) -> str:
        given = self._fields.get("prompt")
        if given is None:
            self._wrong(self._row.place, "no-prompt", "prompt", "", "there is no prompt", "Give one in the row, the "
                        "edit, the defaults, or with --prompt")  # fmt: skip
        named = self._expander._head.prompts.get(given.single.strip())
        text = self._text(named or given, "prompt")
        place = (named or given).place
        if not MIN_PROMPT <= len(text) <= MAX_PROMPT:
            message = f"the prompt has {len(text)} characters; {MIN_PROMPT} to {MAX_PROMPT} are allowed"
            self._wrong(place, "prompt-length", "prompt", text, message)
        if (named or given).template and has_leftover(text):
            self._wrong(place, "leftover", "prompt", text, "the prompt still has template marks after rendering")
        return text

    def _references(self) -> list[ImageRef | None]:
        given = self._fields.get("references")
        if given is None or given.single.strip().lower() in ("", _NONE):
            return []
        pictures = []
        for text in given.several:
            rendered = self._text(Given(text, given.template, given.place), "references")
            if rendered:
                pictures.append(self._picture("references", rendered))
        return pictures

    def _optional_picture(self, name: str) -> ImageRef | None:
        if name not in self._fields:
            return None
        text = self._render(name)
        return None if not text or text.lower() == _NONE else self._picture(name, text)

    def _picture(self, name: str, text: str) -> ImageRef | None:
        """A path or an https URL; a path that ends in ``?`` may be missing."""
        place = self._fields[name].place
        if "://" in text or text.startswith(("data:", "file:")):
            problem = _url_problem(text)
            if problem:
                self._wrong(place, "bad-url", name, text.split("?")[0], f"{text.split('?')[0]!r} {problem}")
            return UrlImage(text)
        optional = text.endswith("?") and name != "image"
        # A cell's path starts where its file lies, a path written in the manifest where the manifest lies.
        root = self._expander._root
        if not self._fields[name].template and self._row.base is not None:
            root = self._row.base
        path = root / (text.removesuffix("?") if optional else text)
        problem = _file_problem(path)
        if problem is None:
            return LocalImage(path)
        if not optional or path.exists():
            self._wrong(place, "missing-image", name, text, f"{path} {problem}")
        return None

    def _outputs(self, params: Params) -> tuple[str, ...]:
        given = self._fields.get("output")
        outputs = []
        for sample in range(1, params.samples + 1):
            self._names["sample"] = sample
            if given is None:
                path = self._default_output(params)
            else:
                path = self._output(given, params)
            outputs.append(path)
        if len(set(outputs)) < len(outputs) and given is not None:
            self._wrong(given.place, "no-sample", "output", given.single, f"the {params.samples} pictures of a task "
                        "would have one name", "Add {{ sample }} to the output template")  # fmt: skip
        return tuple(outputs)

    def _default_output(self, params: Params) -> str:
        several = len(self._expander._head.edits) > 1
        folder = self._row.folder + "/" if self._row.folder else ""
        template = "{{ edit }}/" if several else ""
        template += folder.replace("{", "").replace("}", "") + "{{ stem }}"
        template += "_{{ variant }}" if self._edit.variants else ""
        template += "_{{ sample }}" if params.samples > 1 else ""
        return self._output(Given(template + ".{{ ext }}", True, self._row.place), params)

    def _output(self, given: Given, params: Params) -> str:
        text = self._text(given, "output", path=True)
        problem = path_problem(text)
        if problem:
            self._wrong(given.place, "bad-output", "output", text, f"the output {text!r} {problem}")
        extension = EXTENSIONS[params.format]
        found = _IMAGE_SUFFIX.search(text)
        if found is None:
            return f"{text}.{extension}"
        if found[1].lower().replace("jpeg", "jpg") != extension:
            self._wrong(given.place, "output-extension", "output", text,
                        f"the output ends in .{found[1]}, the format is {params.format}",
                        "Write {{ ext }}, or set format")  # fmt: skip
        return text

    # -- rendering -------------------------------------------------------------------------------------------

    def _render(self, name: str) -> str:
        return self._text(self._fields[name], name)

    def _text(self, given: Given, name: str, *, path: bool = False) -> str:
        """The text of a field: rendered if it is a template, as it stands if it is data."""
        text = given.single
        if not given.template and not path:
            return text.strip()
        try:
            text = render(text, self._names, path=path) if given.template else text
        except TemplateProblem as problem:
            self._wrong(given.place, "template", name, given.single, f"the template {problem}", problem.hint)
        if looks_like_a_key(text):
            self._wrong(given.place, "key-in-manifest", name, "", "this looks like an API key; keys do not belong here")
        return text.strip()

    def _wrong(self, place: Place, code: str, name: str, value: str, message: str, hint: str = "") -> NoReturn:
        self._expander.wrong(place, code, name, value, message, hint)
        raise _Refused


def _escape(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _file_problem(path: Path) -> str | None:
    try:
        if path.is_dir():
            return "is a folder"
        if not path.exists():
            return "does not exist"
        if not path.is_file():
            return "is not a regular file"
        return "is empty" if path.stat().st_size == 0 else None
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is not a URL"
    if parts.scheme != "https":
        return "must be an https URL or a path"
    if parts.username or parts.password:
        return "holds a user name or a password"
    return None if parts.hostname else "names no host"
