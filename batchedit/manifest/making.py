"""One task in the making: its names, its pictures, its prompt, its outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from batchedit.errors import Place
from batchedit.manifest.fields import Given, Hints, read_flag, read_params, shortened
from batchedit.manifest.findings import OncePerRow
from batchedit.manifest.finishing import recipe_of
from batchedit.manifest.layers import Edit, Head, Layer, Row
from batchedit.manifest.naming import default_outputs, written_outputs
from batchedit.manifest.refs import file_problem, is_url, shown_url, stem_of, url_problem
from batchedit.manifest.rendering import Refused, Renderer
from batchedit.manifest.roots import InputRoots, folder_of_template
from batchedit.manifest.templates import has_leftover, names_in
from batchedit.model import (
    EXTENSIONS,
    GATES,
    MAX_IMAGES,
    MAX_PROMPT,
    MIN_PROMPT,
    ImageRef,
    Item,
    LocalImage,
    Params,
    Task,
    TaskImage,
    UrlImage,
    escaped,
)
from batchedit.recipe import Recipe

MAX_ID = 200
MAX_TAG = 255
_NONE = "none"
_OWN_NAMES = ("edit", "variant", "sample", "ext", "line", "source", "row")
"""Names of ours that a column cannot take; it stays reachable through `row`."""

T = TypeVar("T")


class NoImage(Exception):
    """The row has no picture."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all tasks of a pass share."""

    head: Head
    overrides: Layer
    root: Path
    findings: OncePerRow
    roots: InputRoots
    recipes: dict[tuple[object, ...], Recipe | None] = field(default_factory=dict)
    hints: Hints = field(default_factory=Hints)


class _Tries:
    """Runs the parts of a task one after the other, whether or not an earlier one was refused."""

    def __init__(self) -> None:
        self.failed = False

    def of(self, part: Callable[[], T]) -> T | None:
        try:
            return part()
        except Refused:
            self.failed = True
            return None


class Maker:
    """
    Makes the task of one row, edit and variant.

    Attributes:
        edit: The edit's name.
        variant: The variant's, empty without one.
    """

    def __init__(self, setting: Setting, row: Row, edit: Edit, variant: str) -> None:
        self._setting, self._row, self._recipe = setting, row, edit
        self.edit, self.variant = edit.name, variant
        self._fields: dict[str, Given] = {}
        self._labels: dict[str, Given] = {}
        own = edit.variants[variant] if variant else Layer()
        self._tags: list[Given] = []
        self._values = edit.values.get(variant, {})
        self._levels = (setting.head.defaults, edit.layer, row.layer, own, setting.overrides)
        for level in self._levels:
            self._fields.update(level.fields)
            self._labels.update(level.labels)
            if "tags" in level.fields:
                self._tags.append(level.fields["tags"])
        names: dict[str, Any] = {name: text for name, text in row.values.items() if name not in _OWN_NAMES}
        names |= {"row": row.columns, "line": row.place.line or "", "source": row.place.file}
        self._renderer = Renderer(setting.findings, names)

    def place_of(self, name: str) -> Place:
        """Where a field is written; the row's own place if it is not given."""
        given = self._fields.get(name)
        return self._row.place if given is None else given.place

    def enabled(self) -> bool:
        """
        False if the row, the edit or the variant is switched off.

        Raises:
            Refused: if that is not said clearly.
        """
        given = self._fields.get("enabled")
        if given is None:
            return True
        flag = None if given.refused else read_flag("enabled", given, self._setting.findings)
        if flag is None:
            raise Refused
        return flag

    def identify(self) -> tuple[str | None, str]:
        """
        The item's id, None if it is refused, and the picture's path or URL; sets the names that follow from them.

        Raises:
            NoImage: if the row has no picture.
            Refused: if the picture's path cannot be rendered, or is made from an id that is refused.
        """
        given = self._fields.get("id")
        image = self._fields.get("image")
        if given is not None and image is not None and self._id_comes_first(given, image):
            self._renderer.names["id"] = self._id(given)
        self._renderer.names["image"] = picture = self._image(image)
        self._renderer.names["stem"] = stem = stem_of(picture)
        if given is None:
            given = Given(self._row.default_id or stem, False, self._row.place)
        item_id = _Tries().of(partial(self._id, given))
        self._renderer.names["id"] = item_id or ""
        return item_id, picture

    def _id_comes_first(self, given: Given, image: Given) -> bool:
        """True if the picture's path is made from the id, and not the other way round."""
        uses_id = image.template and "id" in names_in(image.single)
        return uses_id and not (given.template and names_in(given.single) & {"image", "stem", "id"})

    def _image(self, given: Given | None) -> str:
        if given is None:
            raise NoImage
        names = self._renderer.names
        # An id is the same for all edits, so it may not be made from one.
        self._renderer.names = {**names, "edit": self.edit, "variant": self.variant, **self._values}
        try:
            text = self._renderer.text(given, "image")
        finally:
            self._renderer.names = names
        if not text or text.lower() == _NONE:
            raise NoImage
        return text

    def _id(self, given: Given) -> str:
        text = self._renderer.text(given, "id")
        if not text:
            self._renderer.wrong(given.place, "no-id", "id", "", "the id is empty")
        if not text.isprintable():
            message = f"the id {shortened(text)!r} has a character that cannot be printed"
            self._renderer.wrong(given.place, "bad-id", "id", text, message)
        if len(text) > MAX_ID:
            message = f"the id has {len(text)} characters; at most {MAX_ID} are allowed"
            self._renderer.wrong(given.place, "bad-id", "id", text, message)
        return text

    def task(self, item: Item, image: str) -> Task:
        """
        The finished task. All its parts are tried, so that one mistake does not hide the next.

        Raises:
            Refused: if one of them has a problem.
        """
        tries, names = _Tries(), self._renderer.names
        names |= {"edit": self.edit, "variant": self.variant, **self._values}
        read = read_params(self._fields, self._setting.findings)
        recipe = tries.of(lambda: self._recipe_for(read.params.format))
        delivered = read.params
        if recipe is not None and recipe.post is not None and recipe.post.format:
            delivered = replace(delivered, format=recipe.post.format)
        names["ext"] = EXTENSIONS[delivered.format]
        prompt = tries.of(self._prompt)
        first = partial(self._picture, "image", image) if self._recipe.start is None else partial(self._upstream, item)
        images = [tries.of(first), *(tries.of(self._references) or [])]
        tries.of(lambda: self._count(len(images)))
        mask = tries.of(self._mask)
        labels = tries.of(self._rendered_labels)
        tags = tries.of(self._rendered_tags)
        nameable = not read.refused & {"format", "n"}
        outputs = tries.of(lambda: self._outputs(delivered)) if nameable else None
        if tries.failed or read.refused or prompt is None or outputs is None or labels is None or tags is None:
            raise Refused
        return Task(
            slot=_slot(item.id, self.edit, self.variant),
            item=item,
            edit=self.edit,
            variant=self.variant,
            prompt=prompt,
            images=tuple(picture for picture in images if picture is not None),
            mask=mask,
            params=read.params,
            outputs=outputs,
            inline=read.inline,
            labels=labels,
            tags=tags,
            when=self._recipe.start.when if self._recipe.start is not None else GATES[0],
            recipe=recipe,
        )

    def _recipe_for(self, asked_format: str) -> Recipe | None:
        """What becomes of the pictures; worked out once for all rows that say nothing of their own."""
        finishes = [finish for level in self._levels for finish in (level.post, level.checks)]
        if not any(finishes):
            return None
        record = self._row.record
        given = self._row.inline or (record is not None and record.finishes)
        own = given and (self._row.layer.post or self._row.layer.checks)
        key = (asked_format, *map(id, finishes))
        recipes = self._setting.recipes
        if own or key not in recipes:
            recipe = recipe_of(self._levels, asked_format, self._renderer)
            if own:
                return recipe
            recipes[key] = recipe
        return recipes[key]

    def _upstream(self, item: Item) -> ImageRef:
        start = self._recipe.start
        assert start is not None, "only an edit that starts from another one comes here"
        return TaskImage(_slot(item.id, start.edit, start.variant))

    def _prompt(self) -> str:
        given, prompts = self._fields.get("prompt"), self._setting.head.prompts
        if given is None:
            hint = "Give one in the row, the edit, the defaults, or with --prompt"
            self._renderer.wrong(self._row.place, "no-prompt", "prompt", "", "there is no prompt", hint)
        word = given.single.strip()
        named = prompts.get(word)
        if named is None and prompts and word and not any(char.isspace() for char in word):
            hint = self._setting.hints.of(word, prompts)
            if hint:
                message = f"there is no prompt called {word!r}; the word itself is sent"
                self._renderer.warn(given.place, "near-miss-prompt", "prompt", word, message, hint)
        given = named or given
        text = self._renderer.text(given, "prompt").strip()
        if not MIN_PROMPT <= len(text) <= MAX_PROMPT:
            message = f"the prompt has {len(text)} characters; {MIN_PROMPT} to {MAX_PROMPT} are allowed"
            self._renderer.wrong(given.place, "prompt-length", "prompt", text, message, self._where_from(given))
        if given.template and has_leftover(text):
            message = "the prompt still has template marks after rendering"
            self._renderer.wrong(given.place, "leftover", "prompt", text, message, self._where_from(given))
        return text

    def _where_from(self, given: Given) -> str:
        """What a template has come to lies with the row, which may be one of a million in another file."""
        return f"It is that of {self._row.place}" if given.place.file != self._row.place.file else ""

    def _references(self) -> list[ImageRef | None]:
        given = self._fields.get("references")
        if given is None or (not given.refused and given.single.strip().lower() in ("", _NONE)):
            return []
        if given.refused:
            raise Refused
        tries = _Tries()
        pictures = [
            tries.of(partial(self._reference, Given(text, given.template, given.place))) for text in given.several
        ]
        if tries.failed:
            raise Refused
        return [picture for picture in pictures if picture is not None]

    def _reference(self, given: Given) -> ImageRef | None:
        text = self._renderer.text(given, "references")
        return None if not text or text.lower() == _NONE else self._picture("references", text, given)

    def _mask(self) -> LocalImage | UrlImage | None:
        given = self._fields.get("mask")
        if given is None:
            return None
        text = self._renderer.text(given, "mask")
        return None if not text or text.lower() == _NONE else self._picture("mask", text)

    def _picture(self, name: str, text: str, written: Given | None = None) -> LocalImage | UrlImage | None:
        """A path or an https URL; a path that ends in ``?`` may be missing. `written` is one of several."""
        given, wrong = written or self._fields[name], self._renderer.wrong
        if is_url(text):
            problem = url_problem(text)
            if problem:
                wrong(given.place, "bad-url", name, shown_url(text), f"{shown_url(text)!r} {problem}")
            return UrlImage(text)
        optional = text.endswith("?") and name != "image"
        # A cell's path starts where its table lies, a path written in the manifest where the manifest lies.
        base = self._row.base if not given.template and self._row.base is not None else self._setting.root
        path = base / (text.removesuffix("?") if optional else text)
        problem = file_problem(path)
        if problem is None:
            self._check_root(path, name, text, given)
            return LocalImage(path)
        if not optional or problem != "does not exist":
            wrong(given.place, "missing-image", name, text, f"{path} {problem}")
        self._setting.findings.absent()
        return None

    def _check_root(self, path: Path, name: str, text: str, given: Given) -> None:
        """Refuse a file that a row names, and that lies in none of the folders that rows may name files in."""
        row, root = self._row, self._setting.root
        further = [] if row.within is None else [row.within]
        if given.template and not (row.inline and row.layer.fields.get(name) is self._fields[name]):
            if "{" not in given.single:
                return  # the head's own words
            folder = folder_of_template(given.single)
            further += [root / folder] if folder else []
        real = self._setting.roots.outside(path, further)
        if real is None:
            return
        leads = f", which leads to {real}," if real != Path(os.path.abspath(path)) else ""
        message = f"{path}{leads} lies outside of the folders that rows may name files in"
        hint = f"If that is right, write into the head of the manifest: input_roots: [{shortened(str(real.parent))}]"
        self._renderer.wrong(given.place, "outside-image", name, text, message, hint)

    def _count(self, count: int) -> None:
        if count > MAX_IMAGES:
            place = self._fields["references"].place
            message = f"{count} pictures; one request takes {MAX_IMAGES}"
            self._renderer.wrong(place, "too-many-images", "references", "", message)

    def _rendered_labels(self) -> dict[str, str]:
        tries = _Tries()
        texts = {
            name: tries.of(partial(self._renderer.text, given, f"labels.{name}"))
            for name, given in self._labels.items()
        }
        if tries.failed:
            raise Refused
        return {name: text for name, text in texts.items() if text}

    def _rendered_tags(self) -> tuple[str, ...]:
        """The tags of all levels, each once."""
        found: dict[str, None] = {}
        for given in self._tags:
            if given.refused:
                raise Refused
            for text in given.several:
                rendered = self._renderer.text(Given(text, given.template, given.place), "tags")
                for tag in filter(None, (part.strip() for part in rendered.split("|"))):
                    if len(tag) > MAX_TAG or not tag.isprintable():
                        message = f"the tag {shortened(tag)!r} must have 1 to {MAX_TAG} printable characters"
                        self._renderer.wrong(given.place, "bad-tag", "tags", tag, message, "Separate tags by |")
                    if tag.lower() != _NONE:
                        found[tag] = None
        return tuple(found)

    def _outputs(self, params: Params) -> tuple[str, ...]:
        given = self._fields.get("output")
        if given is not None:
            return written_outputs(given, params, self._renderer)
        return default_outputs(
            self._row.place,
            params,
            self._renderer,
            folders=self._row.folder,
            edits=len(self._setting.head.edits) > 1,
            variants=bool(self._recipe.variants),
        )


def _slot(*parts: str) -> str:
    """The stable name of a task."""
    return "/".join(escaped(part) for part in parts if part)
