"""
Bugs made by hand, each in a scratch copy: the proof must notice every one of them.

    python -m tests.proof.mutants            all of them
    python -m tests.proof.mutants NAME ...   some

A mutant that nobody notices means that a layer of the proof cannot fail where it should.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """
    One bug.

    Attributes:
        edits: (file, what stands there, what stands there instead).
        hunters: What should notice it: arguments of pytest, or ``nights:COUNT``.
        quick: Small enough for every change; the rest is for the full count.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    hunters: tuple[str, ...]
    quick: bool = False


MUTANTS = (
    Mutant(
        "sends before the commit",
        (
            (
                "batchedit/ledger/core.py",
                '            self._connection.execute("BEGIN IMMEDIATE")\n',
                '            if not self._connection.in_transaction:\n'
                '                self._connection.execute("BEGIN IMMEDIATE")\n',
            ),
            (
                "batchedit/ledger/core.py",
                '            with self._storage():\n                self._connection.execute("COMMIT")\n',
                '            self._late = getattr(self, "_late", 0) + 1\n'
                '            if self._late % 2:\n                self._connection.execute("COMMIT")\n',
            ),
        ),
        ("nights:100",),
        quick=True,
    ),
    Mutant(
        "NORMAL instead of FULL",
        (("batchedit/ledger/connection.py", '("synchronous", "FULL", 2)', '("synchronous", "NORMAL", 1)'),),
        ("tests/proof/test_images.py", "tests/test_ledger.py"),
    ),
    Mutant(
        "a new name is not made durable",
        (
            ("batchedit/disk.py", "    os.replace(source, target)\n    yield\n    sync_folder(target.parent)\n", "    os.replace(source, target)\n    yield\n"),
            ("batchedit/ledger/connection.py", "    sync_folder(path.parent)\n", ""),
        ),
        ("tests/proof/test_images.py",),
    ),
    Mutant(
        "a file gets its name before its bytes are durable",
        (("batchedit/disk.py", "    yield\n    sync_file(target)\n", "    yield\n"),),
        ("tests/proof/test_images.py",),
    ),
    Mutant(
        "a picture is kept before its bytes are durable",
        (("batchedit/filing.py", "            yield\n            disk.sync_file(path)\n", "            yield\n"),),
        ("tests/proof/test_images.py",),
    ),
    Mutant(
        "an answer is kept before its bytes are durable",
        (("batchedit/disk.py", "    append(temporary, data)\n    sync_file(temporary)\n", "    append(temporary, data)\n"),),
        ("tests/proof/test_images.py -k answers_are_kept",),
    ),
    Mutant(
        "a delivered name is not made durable",
        (("batchedit/disk.py", "        source.unlink(missing_ok=True)\n    yield\n    sync_folder(target.parent)\n", "        source.unlink(missing_ok=True)\n    yield\n"),),
        ("tests/proof/test_images.py -k loses_nothing",),
    ),
    Mutant(
        "a worker makes names durable after its answer",
        ((
            "batchedit/worker_process.py",
            "    while head := source.read(LENGTH):\n",
            "    late: list[Path] = []\n    sync, disk.sync_folder = disk.sync_folder, late.append\n"
            "    while head := source.read(LENGTH):\n        while late:\n            sync(late.pop())\n",
        ),),
        ("tests/proof/test_images.py -k loses_nothing",),
    ),
    Mutant(
        "a new folder is not made durable",
        (("batchedit/disk.py", "        folder.mkdir(exist_ok=True)\n        sync_folder(parent)\n", "        folder.mkdir(exist_ok=True)\n"),),
        ("tests/proof/test_images.py -k loses_nothing",),
    ),
    Mutant(
        "a folder that is there counts as durable",
        (("batchedit/disk.py", "        sync_folder(parent)\n    elif ", "        sync_folder(parent)\n    elif False and "),),
        ("tests/proof/test_images.py -k after_a_kill",),
    ),
    Mutant(
        "a file that is there counts as durable",
        (("batchedit/filing.py", "            disk.sync_folder(target.parent)\n", ""),),
        ("tests/proof/test_images.py -k after_a_kill",),
    ),
    Mutant(
        "a time-out counts as not sent",
        ((
            "batchedit/wire.py",
            "    except (httpx.HTTPError, httpx.StreamError, BadBody, TimeoutError) as error:\n        raise Unseen(",
            "    except (httpx.HTTPError, httpx.StreamError, BadBody, TimeoutError) as error:\n        raise NotSent(",
        ),),
        ("nights:150",),
        quick=True,
    ),
    Mutant(
        "a picture that changes while it is sent is sent to its end",
        (("batchedit/bodies.py", " or (not left and digest.hexdigest() != self.sha256)", ""),),
        ("tests/test_bodies.py -k while_it_is_sent",),
        quick=True,
    ),
    Mutant(
        "a file that changed while it was sent counts as not sent",
        (("batchedit/wire.py", 'NotSent if self._phase in ("", "connecting") else Unseen', "NotSent"),),
        ("tests/test_bodies.py -k while_it_is_sent",),
    ),
    Mutant(
        "nothing is reserved before a send",
        (("batchedit/pool.py", "if not context.budget.reserve(purchase.price, purchase.key, purchase.of):", "if False:"),),
        ("nights:60",),
        quick=True,
    ),
    Mutant(
        "the budget of a label is not looked at",
        (
            (
                "batchedit/budget.py",
                "if not self.has_room(worst) or self.lacking(worst, of) is not None:",
                "if not self.has_room(worst):",
            ),
        ),
        ("nights:100",),
    ),
    Mutant(
        "what waited for a picture is not queued",
        (
            (
                "batchedit/releasing.py",
                "        context.agenda.add(anyio.current_time(), context.purchase(row))\n",
                "        context.purchase(row)\n        anyio.current_time()\n",
            ),
        ),
        ("nights:60",),
    ),
    Mutant(
        "an approval of another picture counts",
        (
            (
                "batchedit/ledger/reader.py",
                "WHERE slot = ? AND request_key = ? ORDER BY id DESC",
                "WHERE slot = ? AND request_key <> ? ORDER BY id DESC",
            ),
        ),
        ("tests/test_chains.py -k approv",),
    ),
    Mutant(
        "a task that comes late to its request is not delivered",
        (("batchedit/batch.py", "        if context.to_deliver:\n", "        if False:\n"),),
        ("tests/test_chains.py -k same_picture",),
    ),
    Mutant(
        "an unknown outcome gives its reservation back",
        ((
            "batchedit/purchase.py",
            "    await context.journal.do(context.ledger.lose_answer, attempt, event, note)\n",
            "    await context.journal.do(context.ledger.lose_answer, attempt, event, note)\n"
            "    context.budget.release(attempt.reserved, attempt.key)\n",
        ),),
        ("nights:100",),
    ),
    Mutant(
        "the wall clock decides about limits",
        (
            ("batchedit/context.py", "now = anyio.current_time()\n        at = self.pacer", "now = self.effects.wall()\n        at = self.pacer"),
            ("batchedit/context.py", "await anyio.sleep_until(at)", "await anyio.sleep(at - self.effects.wall())"),
            ("batchedit/context.py", "self.pacer.take(anyio.current_time(), images=images)", "self.pacer.take(self.effects.wall(), images=images)"),
        ),
        ("nights:300",),
    ),
    Mutant(
        "nobody holds the lock",
        (("batchedit/ledger/lock.py", "            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        except OSError as error:\n            owner", "            pass\n        except OSError as error:\n            owner"),),
        ("tests/test_ledger.py",),
        quick=True,
    ),
    Mutant(
        "what a dead process was sending is sent again",
        ((
            "batchedit/ledger/writer.py",
            "                    Event.ANSWER_LOST,\n                    reason=\"the program ended before the answer came\",",
            "                    Event.RETRY,\n                    reason=\"the program ended before the answer came\",",
        ), (
            "batchedit/ledger/writer.py",
            "            for row in rows:\n                self._move(\n",
            "            for row in rows:\n                self._connection.execute(\"UPDATE attempts SET outcome = 'not sent',"
            " ended_at = 'x' WHERE outcome IS NULL AND request_key = ?\", (row[\"key\"],))\n                self._move(\n",
        )),
        ("nights:100",),
    ),
    Mutant(
        "not being listed is believed at once",
        (("batchedit/context.py", "return max(now + patience, sent + 2 * patience) + limits.list_lag_seconds", "return now"),),
        ("nights:200",),
    ),
    Mutant(
        "an answer is interpreted before it is kept",
        ((
            "batchedit/hooks.py",
            "            digest = await context.outputs.keep_answer(step.answer)\n",
            "            self._seen()\n            return\n            digest = await context.outputs.keep_answer(step.answer)\n",
        ),),
        ("nights:300", "tests/test_provider.py -k inline"),
    ),
    Mutant(
        "done before the files are placed",
        (
            ("batchedit/outputs.py", "            await self._workers.place(raw, path)\n", "            pass\n"),
            ("batchedit/outputs.py", "            await self._offload(lambda: disk.alone(self.files.place(raw, path)))\n", "            pass\n"),
        ),
        ("nights:40",),
        quick=True,
    ),
    Mutant(
        "each attempt has a key of its own",
        (("batchedit/ledger/writer.py", "idempotency_key(row.client_ref, generation)", "idempotency_key(row.client_ref, time_of(now))"),
         ("batchedit/ledger/writer.py", "INTERRUPTED = ", "def time_of(now: str) -> int:\n    return hash(now)\n\n\nINTERRUPTED = ")),
        ("tests/test_ledger.py",),
    ),
    Mutant(
        "a crash refills the budget",
        (("batchedit/ledger/writer.py", "INTERRUPTED = (None, 130, 143)", "INTERRUPTED = (130, 143)"),),
        ("tests/test_ledger.py",),
        quick=True,
    ),
    Mutant(
        "pictures are not decoded to the end",
        (("batchedit/pictures.py", "            image.load()\n", ""), ("batchedit/pictures.py", "            image.verify()\n", "")),
        ("tests/test_provider.py -k damaged_download", "nights:300"),
    ),
    Mutant(
        "a kept picture is delivered without a look",
        (("batchedit/filing.py", "        if not is_fresh and disk.digest(temporary) != raw.sha256:\n", "        if False:\n"),),
        ("tests/test_mishaps.py -k damaged_raw",),
    ),
    Mutant(
        "files of others are overwritten",
        (("batchedit/filing.py", "        if there and not self._replaceable(target):\n", "        if False:\n"),),
        ("tests/test_mishaps.py -k in_the_way",),
    ),
    Mutant(
        "a signal ends what is in flight at once",
        (("batchedit/pool.py", "        if self._interrupts > 1:\n", "        if self._interrupts > 0:\n"),),
        ("tests/test_crash.py -k first_signal",),
    ),
)  # fmt: skip


def copy_to(scratch: Path) -> None:
    """The package and its tests, as they are now."""
    for name in ("batchedit", "tests", "docs", "examples", "jobs", "benchmarks"):
        shutil.copytree(ROOT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, scratch / name)


def apply(mutant: Mutant, scratch: Path) -> None:
    """
    Put the bug in.

    Raises:
        ValueError: if what it replaces is not there (any more): the mutant must follow the code.
    """
    for name, old, new in mutant.edits:
        path = scratch / name
        text = path.read_text("utf-8")
        if text.count(old) < 1:
            raise ValueError(f"{mutant.name}: {name} does not hold {old!r}")
        path.write_text(text.replace(old, new, 1), "utf-8")


def noticed_by(mutant: Mutant) -> str | None:
    """The hunter that noticed it, None if none did."""
    with tempfile.TemporaryDirectory(prefix="mutant") as name:
        scratch = Path(name)
        copy_to(scratch)
        apply(mutant, scratch)
        for hunter in mutant.hunters:
            if _fails(hunter, scratch):
                return hunter
    return None


def _fails(hunter: str, scratch: Path) -> bool:
    kind, _, number = hunter.partition(":")
    if kind == "nights":
        command = [sys.executable, "-m", "tests.proof.nights", "--count", number, "--processes", "1"]
    else:
        path, _, rest = hunter.partition(" -k ")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", path]
        command += ["-k", rest] if rest else []
    environment = {**os.environ, "PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=1800)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{hunter} could not be run: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done.returncode == 1


def hunt(mutants: tuple[Mutant, ...], *, workers: int = 2) -> dict[str, str | None]:
    """Each mutant's name and who noticed it."""
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip((mutant.name for mutant in mutants), pool.map(noticed_by, mutants), strict=True))


def main() -> int:
    """The command line of this module."""
    wanted = sys.argv[1:]
    chosen = tuple(mutant for mutant in MUTANTS if not wanted or mutant.name in wanted)
    found = hunt(chosen)
    for name, hunter in found.items():
        print(f"{name:<55} {hunter or 'NOBODY NOTICED'}")
    print(f"{sum(map(bool, found.values()))} of {len(found)} were noticed")
    return int(not all(found.values()))


if __name__ == "__main__":
    sys.exit(main())
