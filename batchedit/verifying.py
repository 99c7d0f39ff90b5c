"""The ledger against the files: is everything that was paid for where it should be, and what it should be?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batchedit import disk
from batchedit.ledger.health import examine
from batchedit.ledger.reader import Ledger
from batchedit.model import Raw
from batchedit.pictures import BadPicture, decode

AGAIN = "run the manifest again: it comes back at no cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something that is not as the ledger says. `advice` is what brings it back, or what to look at."""

    what: str
    where: str
    advice: str


@dataclass(slots=True, kw_only=True)
class Verification:
    """
    What was looked at, and what was found.

    Attributes:
        bytes_read: 0 unless every byte was read.
        unlisted: Kept pictures that no request names: of a crash between fetching and noting. Harmless.
    """

    outputs: int = 0
    raws: int = 0
    bytes_read: int = 0
    unlisted: int = 0
    flaws: list[Flaw] = field(default_factory=list)


def verify(root: Path, ledger: Path, *, read_data: bool = False) -> Verification:
    """
    Compare a ledger with the output folder. Changes nothing.

    Args:
        root: The output folder.
        ledger: The ledger's file.
        read_data: Read every byte: digests, and a full decode of each delivered picture.

    Raises:
        LedgerError: if the ledger cannot be read.
    """
    done = Verification()
    done.flaws += (
        Flaw(what=problem, where=str(ledger), advice="see `batchedit ledger`") for problem in examine(ledger)
    )
    kept: dict[str, bool] = {}
    state = root / ".batchedit"
    with Ledger(ledger) as reader:
        for key, slot, raw in reader.raws():
            done.raws += 1
            path = state / "raw" / raw.name
            flaw = _raw_flaw(path, raw, slot, done, read_data=read_data)
            kept[f"{key}/{raw.number}"] = flaw is None
            done.flaws += [flaw] if flaw is not None else []
        for slot, output in reader.outputs():
            done.outputs += 1
            has_raw = kept.get(f"{output.key}/{output.number}", False)
            done.flaws += _output_flaws(root / output.path, output.sha256, slot, done, has_raw, read_data=read_data)
        for slot in reader.undelivered():
            done.flaws.append(Flaw(what="paid, and delivered nowhere", where=slot, advice=AGAIN))
        for slot, name in reader.stored_answers():
            if not (state / "answers" / name).is_file():
                advice = "the picture can only be had from the provider's support"
                done.flaws.append(Flaw(what="the stored answer is gone", where=slot, advice=advice))
        names = {raw.name for _, _, raw in reader.raws()}
    done.unlisted = sum(name not in names for name in _kept_names(state / "raw"))
    return done


def _raw_flaw(path: Path, raw: Raw, slot: str, done: Verification, *, read_data: bool) -> Flaw | None:
    advice = "its delivered file is still there; deleted files are fetched from the provider by the next run"
    if not path.is_file():
        return Flaw(what=f"the kept picture of {slot} is missing", where=str(path), advice=advice)
    if path.stat().st_size != raw.size_bytes:
        return Flaw(what=f"the kept picture of {slot} has another length", where=str(path), advice=advice)
    if read_data:
        done.bytes_read += raw.size_bytes
        if disk.digest(path) != raw.sha256:
            return Flaw(what=f"the kept picture of {slot} has other bytes", where=str(path), advice=advice)
    return None


def _output_flaws(
    path: Path, sha256: str, slot: str, done: Verification, has_raw: bool, *, read_data: bool
) -> Iterator[Flaw]:
    if path.is_symlink() or not path.is_file():
        advice = AGAIN if has_raw else "run the manifest again: it is fetched from the provider if that still has it"
        yield Flaw(what=f"the picture of {slot} is missing", where=str(path), advice=advice)
        return
    if not read_data:
        return
    done.bytes_read += path.stat().st_size
    if disk.digest(path) != sha256:
        advice = "if you did not edit it, delete it and run the manifest again: it comes back at no cost"
        yield Flaw(what=f"the picture of {slot} is not the one that was delivered", where=str(path), advice=advice)
        return
    try:
        decode(path)
    except BadPicture as problem:
        yield Flaw(what=f"the picture of {slot} is {problem}", where=str(path), advice="please report this")


def _kept_names(folder: Path) -> Iterator[str]:
    for path in folder.glob("??/*"):
        yield f"{path.parent.name}/{path.name}"
