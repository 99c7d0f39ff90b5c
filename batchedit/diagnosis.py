"""Whether everything that a night needs is there: clock, disk, ledger, key, account, model. Buys nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from batchedit.effects import Effects
from batchedit.errors import BatchEditError, ExitCode, LedgerError, StorageError
from batchedit.ledger.filesystem import NETWORK, file_system
from batchedit.ledger.health import examine
from batchedit.ledger.lock import lock_owner, lock_path
from batchedit.money import format_usd
from batchedit.pricing import OLD_DAYS
from batchedit.providers.account import FIELDS, Account
from batchedit.providers.registry import Connected, Setup, connect, is_rehearsal
from batchedit.run_options import RunOptions, key_places
from batchedit.wire import Wire, drive

if TYPE_CHECKING:
    from batchedit.planned import Plan
    from batchedit.providers.base import Accepted, Answer, Answered, Ended, Send, Watch

OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
_SKEW_WARN, _SKEW_FAIL = 5.0, 300.0
_ROOM_WARN, _ROOM_FAIL = 2_000_000_000, 200_000_000
_LOW_BALANCE = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing that was looked at.

    Attributes:
        level: ``ok``, ``warn`` (it goes on) or ``fail`` (it will not).
        text: What is the case.
        advice: What to do, empty if nothing.
        exit_code: What a run would end in if nothing is done.
    """

    name: str
    level: str
    text: str
    advice: str = ""
    exit_code: ExitCode = ExitCode.DONE


def diagnose(
    plan: Plan, options: RunOptions, *, environment: Mapping[str, str], effects: Effects | None = None,
    online: bool = True,
) -> list[Finding]:  # fmt: skip
    """
    Look at everything.

    Args:
        plan: From `planner.outline`.
        options: For where keys may be.
        online: Ask the provider, too; free.
    """
    effects = effects or Effects.real()
    return [
        *_programs(environment),
        *_folder(plan),
        *_ledger(plan.workspace.ledger),
        *_prices(plan, datetime.fromtimestamp(effects.wall(), UTC).date()),
        *ask(plan, options, environment=environment, effects=effects, online=online),
    ]


def worst(findings: list[Finding]) -> ExitCode:
    """The exit code of all of them; if several apply: storage, account, ledger, usage."""
    codes = {finding.exit_code for finding in findings if finding.level == "fail"}
    order = (ExitCode.STORAGE, ExitCode.ACCOUNT, ExitCode.LEDGER, ExitCode.USAGE)
    return next((code for code in order if code in codes), ExitCode.DONE)


def _programs(environment: Mapping[str, str]) -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        advice = "use a Python that comes with SQLite 3.37 or later"
        yield Finding(name="sqlite", level="fail", text=version, advice=advice, exit_code=ExitCode.LEDGER)
    else:
        yield Finding(name="sqlite", level="ok", text=version)
    found = shutil.which("batchedit", path=environment.get("PATH", ""))
    if found is None:
        advice = "schedulers have a short PATH: name the program with its full path"
        yield Finding(name="path", level="warn", text="batchedit is not on the PATH", advice=advice)
    else:
        yield Finding(name="path", level="ok", text=found)


def _folder(plan: Plan) -> Iterator[Finding]:
    root = plan.workspace.root
    base = next(folder for folder in (root, *root.parents) if folder.is_dir())
    kind = file_system(base) or "unknown"
    if kind in NETWORK:
        advice = "a local disk is safer and faster; never write to one ledger from two machines"
        yield Finding(name="file system", level="warn", text=f"{kind}, a network file system", advice=advice)
    else:
        yield Finding(name="file system", level="ok", text=f"{kind} ({base})")
    yield from _abilities(base)
    with suppress(OSError):
        free = shutil.disk_usage(base).free
        level = "fail" if free < _ROOM_FAIL else "warn" if free < _ROOM_WARN else "ok"
        yield Finding(
            name="disk",
            level=level,
            text=f"{free / 1e9:.1f} GB free",
            advice="" if level == "ok" else "make room: batchedit plan says how much a manifest needs",
            exit_code=ExitCode.STORAGE,
        )
    state = plan.workspace.state
    if state.is_dir():
        status = state.stat()
        if status.st_uid != os.geteuid():
            advice = "use a folder of your own"
            text = f"{state} belongs to somebody else"
            yield Finding(name="privacy", level="fail", text=text, advice=advice, exit_code=ExitCode.STORAGE)
        elif status.st_mode & 0o077:
            yield Finding(
                name="privacy", level="warn", text=f"others may look into {state}", advice=f"chmod 700 '{state}'"
            )
        else:
            yield Finding(name="privacy", level="ok", text=f"{state} is private")


def _abilities(base: Path) -> Iterator[Finding]:
    """Tried out, since names of file systems promise nothing."""
    try:
        with tempfile.TemporaryDirectory(prefix=".batchedit-doctor-", dir=base) as name:
            first, second = Path(name, "a"), Path(name, "b")
            first.write_bytes(b"x")
            yield _ability("links", lambda: os.link(first, second), "files are then named without that protection")
            with first.open("rb") as file:
                yield _ability("locks", lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), "", fatal=True)
    except OSError as error:
        text = f"{base} cannot be written to: {error.strerror}"
        yield Finding(name="folder", level="fail", text=text, advice="choose another --out", exit_code=ExitCode.STORAGE)


def _ability(name: str, work: object, advice: str, *, fatal: bool = False) -> Finding:
    try:
        work()  # type: ignore[operator]  # a callable
    except OSError as error:
        level = "fail" if fatal else "warn"
        advice = advice or "choose another --out: without locks two runs could write one ledger"
        text = f"not supported: {error.strerror}"
        return Finding(name=name, level=level, text=text, advice=advice, exit_code=ExitCode.STORAGE)
    return Finding(name=name, level="ok", text="supported")


def _ledger(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(name="ledger", level="ok", text="none yet: the first run makes one")
        return
    try:
        problems = examine(path)
    except (LedgerError, StorageError) as error:
        yield Finding(name="ledger", level="fail", text=error.message, advice=error.hint, exit_code=ExitCode.LEDGER)
        return
    if problems:
        advice = "nothing is sent with it; keep it, and restore a backup"
        yield Finding(
            name="ledger", level="fail", text="; ".join(problems[:3]), advice=advice, exit_code=ExitCode.LEDGER
        )
        return
    owner = lock_owner(lock_path(path))
    if owner:
        yield Finding(name="ledger", level="warn", text=f"in use by {owner}", advice="batchedit status --watch")
    else:
        yield Finding(name="ledger", level="ok", text=f"{path} is whole")


def _prices(plan: Plan, today: date) -> Iterator[Finding]:
    age = plan.prices.age(today)
    old = age > OLD_DAYS
    yield Finding(
        name="prices",
        level="warn" if old else "ok",
        text=f"{plan.prices.name}, {age} days old",
        advice="compare it with the provider's (batchedit prices)" if old else "",
    )


def ask(
    plan: Plan, options: RunOptions, *, environment: Mapping[str, str], effects: Effects | None = None,
    online: bool = True,
) -> Iterator[Finding]:  # fmt: skip
    """What the provider says about key, account and model; `online` as for `diagnose`."""
    effects = effects or Effects.real()
    settings = plan.settings
    form = "runs: lost answers can be found again"
    if settings.api == "run":
        form = "run: a lost answer can never be asked for, and stays unknown"
    yield Finding(
        name="api",
        level="ok" if settings.api == "runs" else "warn",
        text=f"{settings.name}, {form}",
        advice="" if settings.api == "runs" else "api: runs, unless you must",
    )
    if is_rehearsal(settings):
        yield Finding(name="key", level="ok", text="a rehearsal needs none, and no network")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            connected = connect(
                Setup(
                    settings=settings,
                    limits=plan.manifest.limits,
                    effects=effects,
                    state=Path(folder),
                    environment=environment,
                    places=key_places(plan, options),
                )
            )
        except BatchEditError as error:
            yield Finding(name="key", level="fail", text=error.message, advice=error.hint, exit_code=error.exit_code)
            return
        with closing(_Closing(connected)):
            yield Finding(name="key", level="ok", text=f"found in {connected.key_origin}")
            if online and connected.look is not None:
                before = effects.wall()
                account = anyio.run(_look, connected)
                yield from _account(account, (before + effects.wall()) / 2)


class _Closing:
    def __init__(self, connected: Connected) -> None:
        self.close = connected.close


async def _look(connected: Connected) -> Account:
    assert connected.look is not None
    async with Wire(connected.endpoint) as wire:
        return await drive(wire, connected.look(), _Quiet())


def _account(found: Account, now: float) -> Iterator[Finding]:
    if not found.works:
        told = found.works is False
        yield Finding(
            name="account",
            level="fail",
            text=found.trouble,
            advice="replace the key, or check the account at the provider" if told else "is the network there?",
            exit_code=ExitCode.ACCOUNT,
        )
    if found.server_time is not None:
        yield _clock(now - found.server_time)
    if not found.works:
        return
    yield Finding(name="account", level="ok", text=f"the key works{f' for {found.name}' if found.name else ''}")
    granted = ", ".join(name for name, has in found.scopes.items() if has)
    missing = [name for name, has in found.scopes.items() if not has]
    yield Finding(
        name="scopes",
        level="fail" if "runs:read" in missing else "warn" if missing else "ok",
        text=f"has {granted or 'none that can be seen'}"
        + (f"; lacks {', '.join(missing)}" if missing else "")
        + "; whether it may buy shows only when it buys",
        advice="make a key that has them" if missing else "",
        exit_code=ExitCode.ACCOUNT,
    )
    yield _balance(found)
    yield _model(found)


def _clock(skew: float) -> Finding:
    size = abs(skew)
    way = "ahead of" if skew > 0 else "behind"
    # The header has whole seconds.
    level = "fail" if size > _SKEW_FAIL else "warn" if size > _SKEW_WARN else "ok"
    text = f"{size:.0f} s {way} the provider's" if size > 1.5 else "agrees with the provider's"
    advice = "" if level == "ok" else "set it by NTP: signed addresses and windows go by it"
    return Finding(name="clock", level=level, text=text, advice=advice, exit_code=ExitCode.USAGE)


def _balance(found: Account) -> Finding:
    if found.balance is None:
        advice = "look at the provider's page"
        return Finding(name="balance", level="warn", text=f"not told: {found.balance_trouble}", advice=advice)
    if found.balance <= 0:
        return Finding(
            name="balance",
            level="fail",
            text=format_usd(found.balance),
            advice="add credit at the provider",
            exit_code=ExitCode.ACCOUNT,
        )
    low = found.balance < _LOW_BALANCE
    advice = "enough for the night? batchedit plan says what it takes" if low else ""
    return Finding(name="balance", level="warn" if low else "ok", text=format_usd(found.balance), advice=advice)


def _model(found: Account) -> Finding:
    """Whether the model takes what we send, and asks for nothing that we do not."""
    if not found.model_inputs:
        text = f"nothing is told about it: {found.model_trouble or 'the answer has no list of inputs'}"
        return Finding(name="model", level="warn", text=text, advice="buy a small pilot first")
    gone = sorted(FIELDS - found.model_inputs.keys())
    wanted = sorted(name for name, required in found.model_inputs.items() if required and name not in FIELDS)
    status = f", {found.model_status}" if found.model_status else ""
    if gone or wanted:
        said = [f"it knows {', '.join(gone)} no more"] if gone else []
        said += [f"it requires {', '.join(wanted)}, which is not sent"] if wanted else []
        advice = "the model has changed: look for a newer batchedit, and buy a small pilot first"
        level = "fail" if wanted or {"prompt", "image_urls"} & set(gone) else "warn"
        return Finding(name="model", level=level, text="; ".join(said), advice=advice, exit_code=ExitCode.USAGE)
    if found.model_status not in ("", "available"):
        advice = "ask the provider when it comes back"
        return Finding(name="model", level="warn", text=f"is {found.model_status}", advice=advice)
    return Finding(name="model", level="ok", text=f"takes the {len(FIELDS)} inputs that are sent{status}")


class _Quiet:
    """For flows of a few reads: no pace to keep, nothing to make durable."""

    async def before_read(self) -> None:
        """At once."""

    def answered_to(self, send: Send, sent: float, answer: Answer) -> None:
        """Nothing is learnt."""

    async def watch(self, step: Watch) -> bytes | None:
        """No run is followed."""
        return None

    def ended(self, step: Ended) -> None:
        """No run is followed."""

    async def accepted(self, step: Accepted) -> None:
        """Nothing is bought."""

    async def answered(self, step: Answered) -> None:
        """Nothing is bought."""
