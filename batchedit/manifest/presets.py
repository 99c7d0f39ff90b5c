"""
What the exports of shops, PIMs and data sets look like: data, read by `shaping` in the same way for all of them.

A preset says which column gives which field or variable, which columns hold only in a product's first row, and what
makes an id. Names of columns are compared without regard to case; ``*`` stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """
    One kind of export.

    Attributes:
        about: What it is, in a few words.
        columns: Field or variable -> the columns that may give it, the best first.
        needs: Of these, what a table must have. A row that leaves the picture or the product empty is skipped.
        signs: Columns that tell this kind of table from others, any one of each group.
        group: The variable by which rows belong to one product; empty if each row is one of its own.
        fill: Columns that only a product's first row has; they are copied to its further rows where these are blank.
        tags: What separates tags in one cell; empty for `|`, as in any table.
        several: What separates pictures in one cell; each of them becomes a row. Empty: a cell is one picture.
        id: Template of the id; empty for the picture's file name.
        digest: Fields and variables whose digest is the id where there is no better one: files of data sets have any
            name.
    """

    about: str
    columns: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...] = ("image",)
    signs: tuple[tuple[str, ...], ...] = ()
    group: str = ""
    fill: tuple[str, ...] = ()
    tags: str = ""
    several: str = ""
    id: str = ""
    digest: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> bool:
        """True if the pictures of a product are numbered, so that `position` is always there."""
        return bool(self.group or self.several)


_SHOP_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("Image Src", "Product image URL"),
    "handle": ("Handle", "URL handle"),
    "title": ("Title",),
    "body": ("Body (HTML)", "Body HTML", "Description"),
    "vendor": ("Vendor",),
    "type": ("Type",),
    "category": ("Product Category", "Category: Name", "Category"),
    "tags": ("Tags",),
    "published": ("Published", "Published on online store"),
    "status": ("Status",),
    "sku": ("Variant SKU", "SKU"),
    "position": ("Image Position",),
    "alt": ("Image Alt Text",),
    "variant_image": ("Variant Image", "Variant image URL"),
}
_SHOP_FILL = (
    "Title", "Body (HTML)", "Body HTML", "Description", "Vendor", "Product Category", "Category", "Category: *", "Type",
    "Tags", "Published", "Published on online store", "Published Scope", "Status", "Template Suffix", "Gift Card",
    "SEO Title", "SEO Description", "Option1 Name", "Option2 Name", "Option3 Name", "*(product.metafields.*)",
    "Metafield: *",
)  # fmt: skip

PRESETS: Mapping[str, Preset] = {
    "shopify": Preset(
        about="a Shopify product export",
        columns=_SHOP_COLUMNS,
        needs=("image", "handle"),
        signs=(("Handle", "URL handle"), ("Image Src", "Product image URL")),
        group="handle",
        fill=_SHOP_FILL,
        tags=",",
        id="{{ handle }}_{{ position }}",
    ),
    "matrixify": Preset(
        about="a Matrixify product export",
        columns=_SHOP_COLUMNS,
        needs=("image", "handle"),
        signs=(("Handle",), ("Image Src",), ("Command", "Top Row", "Image Command", "Image Type", "Variant Command")),
        group="handle",
        fill=_SHOP_FILL,
        tags=",",
        several=";",
        id="{{ handle }}_{{ position }}",
    ),
    "woocommerce": Preset(
        about="a WooCommerce product export",
        columns={
            "image": ("Images",),
            "product_id": ("ID",),
            "sku": ("SKU",),
            "title": ("Name",),
            "body": ("Description",),
            "type": ("Type",),
            "category": ("Categories",),
            "tags": ("Tags",),
            "published": ("Published",),
            "parent": ("Parent",),
        },
        signs=(("Images",), ("SKU",), ("Name",)),
        tags=",",
        several=",",
        id="{{ sku or product_id|default('') or title|default('') }}_{{ position }}",
    ),
    "akeneo": Preset(
        about="an Akeneo product export",
        columns={
            "image": ("image", "image-*", "main_image", "main_image-*", "picture", "picture-*", "images", "images-*",
                      "packshot", "packshot-*"),
            "sku": ("sku", "identifier", "code", "uuid"),
            "title": ("name", "name-*", "title", "title-*", "label-*"),
            "body": ("description", "description-*"),
            "family": ("family",),
            "category": ("categories",),
            "parent": ("parent",),
        },
        needs=("image", "sku"),
        signs=(("sku", "identifier", "code", "uuid"), ("family",), ("categories",)),
        several=",",
        id="{{ sku }}_{{ position }}",
    ),
    "img2dataset": Preset(
        about="a list of pictures with captions, as img2dataset takes it",
        columns={
            "image": ("url", "image_url", "img_url", "top_url"),
            "caption": ("caption", "text", "alt", "alt_text", "top_caption"),
            "id": ("id", "key", "uid", "sample_id"),
        },
        signs=(("url", "image_url", "img_url"), ("caption", "text", "top_caption")),
        digest=("image", "caption"),
    ),
    "imagefolder": Preset(
        about="the metadata of a Hugging Face image folder",
        columns={"image": ("file_name",)},
        signs=(("file_name",),),
    ),
}  # fmt: skip
_ORDER = ("matrixify", "shopify", "woocommerce", "akeneo", "imagefolder", "img2dataset")
"""The order in which a header is tried; what has more signs comes first."""


def resolve(columns: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> dict[str, str]:
    """Field or variable -> the column of a header that gives it; without those that no column gives."""
    header = {name.casefold(): name for name in reversed(tuple(names)) if name}
    found = {}
    for target, candidates in columns.items():
        name = next((name for candidate in candidates if (name := _find(candidate, header)) is not None), None)
        if name is not None:
            found[target] = name
    return found


def filled_columns(preset: Preset, names: Iterable[str]) -> list[int]:
    """The columns, by their number from 0, that are copied to a product's further rows."""
    patterns = [pattern.casefold() for pattern in preset.fill]
    return [
        number
        for number, name in enumerate(names)
        if any(fnmatchcase(name.casefold(), pattern) for pattern in patterns)
    ]


def recognise(names: Iterable[str]) -> str | None:
    """The name of the preset that a header belongs to, None if it is of no known kind."""
    header = {name.casefold() for name in names}
    for name in _ORDER:
        signs = PRESETS[name].signs
        if all(any(sign.casefold() in header for sign in group) for group in signs):
            return name
    return None


def _find(candidate: str, header: Mapping[str, str]) -> str | None:
    wanted = candidate.casefold()
    if "*" not in wanted:
        return header.get(wanted)
    return next((name for folded, name in reversed(tuple(header.items())) if fnmatchcase(folded, wanted)), None)
