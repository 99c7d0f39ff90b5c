"""Finding out for free whether the local pictures of a plan can be used at all: every one is decoded completely."""

from __future__ import annotations

from batchedit.errors import Problem
from batchedit.manifest import Findings
from batchedit.model import LocalImage
from batchedit.pictures import BadPicture, PictureFacts, decode
from batchedit.planned import Plan


def check_pictures(plan: Plan) -> None:
    """
    Decode every local picture of the plan's tasks, masks against the size of what they mask.

    Adds to the plan's findings every picture that is damaged, of another kind or too large, and every mask that does
    not fit.
    """
    known: dict[LocalImage, PictureFacts | str] = {}
    findings = plan.findings
    for task in plan.manifest.tasks(Findings()):
        fields = ["image", *("references" for _ in task.images[1:])]
        facts: list[PictureFacts | None] = []
        for name, ref in zip([*fields, "mask"], [*task.images, task.mask], strict=True):
            if not isinstance(ref, LocalImage) or ref.path not in plan.digests:
                facts.append(None)  # the provider fetches it, or the plan has found it unreadable already
                continue
            if ref not in known:
                known[ref] = _facts(ref)
            found = known[ref]
            if isinstance(found, str):
                findings.problem(
                    Problem(
                        place=task.place, code="damaged-image", field=name, value=str(ref), message=f"{ref} is {found}"
                    )
                )
                facts.append(None)
            else:
                facts.append(found)
        image, mask = facts[0], facts[-1]
        if image and mask and (image.width, image.height) != (mask.width, mask.height):
            findings.problem(
                Problem(
                    place=task.place,
                    code="mask-size",
                    field="mask",
                    value=str(task.mask),
                    message=f"the mask has {mask.width}x{mask.height} pixels, its image {image.width}x{image.height}",
                    hint="a mask must have the size of the first image",
                )
            )


def _facts(ref: LocalImage) -> PictureFacts | str:
    try:
        return decode(ref.path)
    except BadPicture as problem:
        return str(problem)
    except OSError as error:
        return error.strerror or "unreadable"
