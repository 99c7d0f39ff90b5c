"""
The work on files: raws kept by content, delivered files placed by name, answers that cannot be asked for again.

    <out>/<path from the template>          the delivered file
    <out>/.batchedit/raw/ab/SHA256.ext      the same bytes by content, which nobody else touches
    <out>/.batchedit/answers/SHA256         answers that cannot be asked for again, until their pictures are safe

All of it blocks. What is made durable comes in stages, so that several files can share the waiting for the disk. Who
calls it and where is in `outputs`; how files are written so that a crash leaves nothing torn is in `disk`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batchedit import disk
from batchedit.cleaning import trailing_bytes
from batchedit.containment import InTheWay as InTheWay
from batchedit.containment import Tree
from batchedit.disk import Stages, storage
from batchedit.errors import StorageError
from batchedit.ledger.rendered import was_made
from batchedit.model import Raw
from batchedit.paths import with_extension
from batchedit.pictures import INPUT_LIMIT_BYTES, BadPicture, decode, examine
from batchedit.recipe import Finding, Recipe, as_sold

_LITTER = ".batchedit-"
"""Begins the temporary names that may be left in the tree itself, where it lies on another disk than the raws."""


class RawDamaged(Exception):
    """A kept picture is gone, or its bytes are not those that were kept. The provider may still have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """
    What a picture is expected to be, and the names that it gets if it is.

    Attributes:
        size: Width and height; None for any.
        paths: As planned, before the extension follows the format that came.
    """

    size: tuple[int, int] | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture among the raws; `is_placed` if it has its names in the tree already."""

    raw: Raw
    is_placed: bool


class NotMade(Exception):
    """A recipe cannot be followed for a picture; the raw is safe. The message says why and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The picture that an edit started from: its file and what its bytes must be, or `why` it cannot be had."""

    path: str = ""
    sha256: str = ""
    why: str = ""

    def read(self) -> bytes | str:
        """Its bytes, or why they cannot be had."""
        if self.why:
            return self.why
        try:
            data = disk.read_regular(Path(self.path), INPUT_LIMIT_BYTES + 1)
        except OSError as error:
            return f"its original cannot be read ({error.strerror})"
        if hashlib.sha256(data).hexdigest() != self.sha256:
            return "its original has been changed since"
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """
    What a recipe has made of a raw.

    Attributes:
        temporary: Where the file lies, complete and durable, until it gets its name; empty if it has the raw's bytes.
        findings: Of its checks, and of its making if there is something to say.
    """

    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int
    temporary: str
    findings: tuple[Finding, ...]


class Filing:
    """
    The files of one output folder.

    Args:
        root: The output folder.
        state: The folder ``.batchedit`` that belongs to it.
        verify: How closely a picture that arrives is looked at, as in `Limits`.
        ledger: Knows the files that were made of raws; None where there are none.
        token: Whoever shares the work on the folder at this time has the same one. It is part of the temporary names
            in the tree: those of others are what a crash has left.
    """

    def __init__(
        self, root: Path, state: Path, verify: str = "full", ledger: Path | None = None, token: str = ""
    ) -> None:
        self.root, self.state, self.verify, self.ledger = root, state, verify, ledger
        self.token = token or secrets.token_hex(6)
        self._tree = Tree(root)
        self._swept: set[Path] = set()
        self._durable: set[Path] = set()

    def open(self) -> None:
        """
        Make the folders and clear what an earlier process left half-written. Call it while holding the ledger.

        Raises:
            StorageError: if the disk refuses it.
        """
        with storage("make", self.state):
            inside = (self.state / "raw", self.state / "answers")
            if link := next((folder for folder in (self.state, *inside) if folder.is_symlink()), None):
                raise StorageError(f"{link} is a symbolic link; put a folder in its place")
            for folder in (self.root, *inside):
                disk.make_folders(folder)
            for kind in ("raw", "answers"):
                for stale in self.state.glob(f"{kind}/*.part"):
                    stale.unlink(missing_ok=True)

    def temporary(self) -> Path:
        """A name for a download."""
        return disk.temporary_in(self.state / "raw")

    def drop_download(self, path: Path) -> None:
        """Remove a temporary file of a download, whose picture is kept or is none."""
        path.unlink(missing_ok=True)

    def raw_path(self, raw: Raw) -> Path:
        """Where a kept picture lies."""
        return self.state / "raw" / raw.name

    def append(self, path: Path, chunks: Sequence[bytes]) -> None:
        """Add to a download. Raises StorageError if the disk does not take it."""
        with storage("write", path):
            disk.append(path, *chunks)

    def keep(self, received: bytes | Path, number: int, ahead: Ahead | None = None) -> Stages[Kept]:
        """
        Verify a received picture and give it its place among the raws.

        Args:
            received: Its bytes, or a temporary file with them, which stays: whoever was to do this and died is asked
                again. The caller removes it.
            number: Its position among the request's pictures.
            ahead: Where to place it at once, if it is as it should be; `place` then finds it done.

        Raises:
            BadPicture: if it is no complete picture.
            StorageError: if the disk does not take it.
        """
        path = self.temporary()
        data = self._read(received) if isinstance(received, Path) else received
        facts = decode(data) if self.verify == "full" else examine(data)
        if isinstance(received, Path):
            with storage("keep", received):
                disk.second_name(received, path)
        else:
            self.append(path, [data])
        raw = Raw(
            number=number,
            sha256=hashlib.sha256(data).hexdigest(),
            format=facts.format,
            width=facts.width,
            height=facts.height,
            size_bytes=len(data),
            trailing_bytes=trailing_bytes(data),
        )
        target = self.raw_path(raw)
        with storage("keep", target):
            self._make_folders(target.parent)
            yield
            disk.sync_file(path)
            # The same content is the same file; replacing it changes nothing.
            yield from disk.replace(path, target)
            path.unlink(missing_ok=True)  # two names of one file: the one is not put in the place of the other
        is_placed = ahead is not None and ahead.size in (None, (raw.width, raw.height))
        if ahead is not None and is_placed:
            try:
                for planned in ahead.paths:
                    yield from self._place(raw, with_extension(planned, raw.format), is_fresh=True)
            except (InTheWay, RawDamaged):
                is_placed = False  # `place` will say so
        return Kept(raw, is_placed)

    def keep_answer(self, body: bytes) -> str:
        """Store an answer that cannot be asked for again; durable when its digest is returned."""
        name = hashlib.sha256(body).hexdigest()
        with storage("keep", self.state / "answers" / name):
            disk.write_private(self.state / "answers", name, body)
        return name

    def read_answer(self, digest: str) -> bytes:
        """A stored answer. Raises StorageError if it is gone."""
        path = self.state / "answers" / digest
        with storage("read", path):
            return path.read_bytes()

    def drop_answer(self, digest: str) -> None:
        """Remove a stored answer whose pictures are safe."""
        (self.state / "answers" / digest).unlink(missing_ok=True)

    def place(self, raw: Raw, path: str) -> Stages[None]:
        """
        Give a kept picture its name in the tree.

        Raises:
            InTheWay: if a file that is not ours has the name.
            RawDamaged: if the kept picture is not what it was.
            StorageError: if the disk does not take it.
        """
        yield from self._place(raw, path)

    def render(self, raw: Raw, recipe: Recipe, source: Source) -> Stages[Made]:
        """
        Make the file that a recipe makes of a kept picture, and look at it. It has no name in the tree yet.

        Raises:
            NotMade: if the recipe cannot be followed.
            RawDamaged: if the kept picture is not what it was.
            StorageError: if the disk does not take it.
        """
        from batchedit.postprocess import Unreachable, look_at, made_from

        kept = self.raw_path(raw)
        if not kept.is_file():
            raise RawDamaged(f"the kept picture {kept} is gone")
        data = self._read(kept)
        if hashlib.sha256(data).hexdigest() != raw.sha256:
            raise RawDamaged(f"the kept picture {kept} has been changed")
        try:
            made, findings = made_from(data, recipe.post)
            facts = raw if made is data else examine(made)
        except (Unreachable, BadPicture) as problem:
            raise NotMade(str(problem)) from None
        findings += look_at(made, recipe.checks, source.read)
        if made is data:
            findings += as_sold(raw.trailing_bytes)
        temporary = "" if made is data else str(self.temporary())
        if temporary:
            with storage("write", Path(temporary)):
                disk.append(Path(temporary), made, mode=0o644)
                yield
                disk.sync_file(Path(temporary))
        return Made(
            sha256=raw.sha256 if made is data else hashlib.sha256(made).hexdigest(),
            format=facts.format,
            width=facts.width,
            height=facts.height,
            size_bytes=len(made),
            temporary=temporary,
            findings=tuple(findings),
        )

    def place_made(self, made: Made, path: str) -> Stages[None]:
        """
        Give a file that `render` has made its name in the tree. The ledger must know its digest by then.

        Raises:
            InTheWay: if a file that is not ours has the name; what was made is dropped.
            StorageError: if the disk does not take it.
        """
        shown, temporary = self.root / path, Path(made.temporary)
        try:
            with storage("place", shown), self._tree.folder_of(path, make=True) as target:
                there = self._room_for(target, shown, made.sha256)
                if there is not None:
                    complete = temporary
                    if self._other_disk(target.parent):
                        complete = self._beside(target.parent, shown.parent)
                        yield from disk.copy(temporary, complete)
                    yield from self._name(complete, target, shown, there=there)
        finally:
            temporary.unlink(missing_ok=True)

    def bring(self, source: Path, sha256: str, path: str) -> Stages[None]:
        """
        Copy a file from another tree into this one, under a name that is free or has a content that is kept anyway.

        Raises:
            InTheWay: if a file that is not ours has the name.
            RawDamaged: if `source` is gone, or has other bytes than these.
            StorageError: if the disk does not take it.
        """
        shown = self.root / path
        with storage("place", shown), self._tree.folder_of(path, make=True) as target:
            there = self._room_for(target, shown, sha256)
            if there is None:
                return
            temporary = self._beside(target.parent, shown.parent)
            try:
                if source.is_symlink() or not source.is_file():
                    raise RawDamaged(f"{source} is gone")
                yield from disk.copy(source, temporary)
                if disk.digest(temporary) != sha256:
                    raise RawDamaged(f"{source} is not the file that was delivered there: somebody has changed it")
                yield from self._name(temporary, target, shown, there=there)
            finally:
                temporary.unlink(missing_ok=True)

    def missing(self, path: str) -> bool:
        """True if a delivered file is not there any more."""
        return not (self.root / path).is_file()

    def remove(self, path: str, sha256: str) -> None:
        """Remove a delivered file that the ledger has disowned, if it still has the bytes that we put there."""
        shown = self.root / path
        with storage("remove", shown), suppress(FileNotFoundError, InTheWay), self._tree.folder_of(path) as full:
            if not full.is_symlink() and full.is_file() and disk.digest(full) == sha256:
                full.unlink()

    def link_in(self, path: str) -> Path | None:
        """A symbolic link among the folders that a delivered file would lie in; None if there is none."""
        return self._tree.link_in(path)

    def blocked(self, path: str) -> bool:
        """True if a file that is not ours has this name."""
        full = self.root / path
        if not os.path.lexists(full):
            return False
        return not full.is_file() or full.is_symlink() or not self._replaceable(full)

    # -- inside ----------------------------------------------------------------------------------------------

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise BadPicture("gone before it was kept") from None  # it is fetched again
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def _place(self, raw: Raw, path: str, *, is_fresh: bool = False) -> Stages[None]:
        shown = self.root / path
        with storage("place", shown), self._tree.folder_of(path, make=True) as target:
            there = self._room_for(target, shown, raw.sha256)
            if there is not None:
                copied = yield from self._copy(raw, target.parent, shown.parent, is_fresh=is_fresh)
                yield from self._name(copied, target, shown, there=there)

    def _room_for(self, target: Path, shown: Path, sha256: str) -> bool | None:
        """True if there is a file that may be replaced, False if there is none, None if it is this one already."""
        there = os.path.lexists(target)
        if there and (target.is_symlink() or not target.is_file()):
            raise InTheWay(f"{shown} exists and is not a file of this ledger")
        if there and disk.digest(target) == sha256:
            # Whoever placed it may have been killed before its name was durable.
            disk.sync_folder(target.parent)
            return None
        if there and not self._replaceable(target):
            raise InTheWay(f"{shown} exists and is not a file of this ledger")
        return there

    def _name(self, complete: Path, target: Path, shown: Path, *, there: bool) -> Stages[None]:
        """Give a complete file its name."""
        if there:
            yield from disk.replace(complete, target)
            return
        try:
            yield from disk.publish(complete, target)
        except FileExistsError:
            raise InTheWay(f"{shown} has just been made by somebody else") from None

    def _make_folders(self, folder: Path) -> None:
        """Make folders durable, once per process each: one sync for a thousand pictures is enough."""
        if folder not in self._durable or not folder.is_dir():
            disk.make_folders(folder)
            self._durable.add(folder)

    def _copy(self, raw: Raw, folder: Path, shown: Path, *, is_fresh: bool) -> Stages[Path]:
        """A copy of a raw on the disk of `folder`, under a temporary name; verified unless it was just written."""
        source = self.raw_path(raw)
        temporary = self._beside(folder, shown) if self._other_disk(folder) else disk.temporary_in(self.state / "raw")
        try:
            yield from disk.copy(source, temporary)
        except FileNotFoundError:
            temporary.unlink(missing_ok=True)
            raise RawDamaged(f"the kept picture {source} is gone") from None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if not is_fresh and disk.digest(temporary) != raw.sha256:
            temporary.unlink(missing_ok=True)
            raise RawDamaged(f"the kept picture {source} has been changed")
        return temporary

    def _other_disk(self, folder: Path) -> bool:
        return folder.stat().st_dev != (self.state / "raw").stat().st_dev

    def _beside(self, folder: Path, shown: Path) -> Path:
        """
        A temporary name in a folder of the tree. What a crash has left there goes first, once per process:
        whoever has this token holds the lock.
        """
        mine = f"{_LITTER}{self.token}-"
        if shown not in self._swept:
            self._swept.add(shown)
            for stale in folder.glob(f"{_LITTER}*.part"):
                if not stale.name.startswith(mine):
                    stale.unlink(missing_ok=True)
        return disk.temporary_in(folder, mine)

    def _replaceable(self, path: Path) -> bool:
        # An empty file is what a crash leaves where there are no hard links; any other, such as one that a crash left
        # unlisted, must be a content that is kept anyway or made of one that is, so that nothing is lost.
        if path.stat().st_size == 0:
            return True
        sha256 = disk.digest(path)
        if any((self.state / "raw" / sha256[:2]).glob(f"{sha256}.*")):
            return True
        return self.ledger is not None and was_made(self.ledger, sha256)
