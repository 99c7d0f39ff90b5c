"""What a job file says, as values. Amounts in micro-dollars; paths absolute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from batchedit.errors import Place
from batchedit.jobs.window import Window
from batchedit.money import MicroUSD

RUN, NIGHT, MONTH = "run", "night", "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    One manifest of a job.

    Attributes:
        manifest: As `load_manifest` takes it.
        shown: As the job says it.
        out: The output folder.
    """

    manifest: str
    shown: str
    place: Place
    out: Path
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most for one period (``run``, ``night`` or ``month``), for one value of a label or for all (both empty)."""

    period: str
    amount: MicroUSD
    place: Place
    label: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """
    A pilot and what it must show.

    Attributes:
        max_failed: Percent of the sample; None for any.
        max_cost: Of sample and rest together; None for any.
    """

    tasks: int
    strata: tuple[str, ...] = ()
    seed: str = "0"
    max_failed: int | None = None
    max_cost: MicroUSD | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    One way of telling somebody. Holds names of environment variables, never what is in them.

    Attributes:
        number: Its place in the file, from 1, for messages.
        events: When it is sent.
        timeout_seconds: How long sending may take.
    """

    via: str
    number: int
    events: frozenset[str]
    url_env: str = ""
    token_env: str = ""
    server: str = ""
    port: int | None = None
    security: str = "starttls"
    user_env: str = ""
    password_env: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    timeout_seconds: float = 10.0

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return tuple(name for name in (self.url_env, self.token_env, self.user_env, self.password_env) if name)

    def __str__(self) -> str:
        return f"notice {self.number} ({self.via})"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLog:
    """
    A log that a job keeps.

    Attributes:
        file: Its name, with variables.
        form: ``text`` or ``json``.
        every_change: It has every change of state, not only what somebody should look at.
        largest_bytes: It is moved aside before it grows larger; `kept` of those are kept.
    """

    file: str
    form: str = "text"
    every_change: bool = False
    largest_bytes: int = 10_000_000
    kept: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    A job file.

    Attributes:
        path: The file.
        shown: The path as the user typed it.
        does: ``run``, ``reconcile`` or ``report``.
        provider: Fields of `ProviderSettings` that are given, over those of the manifests.
        limits: Likewise of `Limits`.
        warn_at: Percent of each of its limits at which a notice is due.
        zone: Whose clock and calendar count.
        reports, exports: Form -> file name with variables.
        by: What reports are broken down by, None for the default.
        period: What reports are about.
        events: The file of changes of state, with variables; empty for none.
    """

    path: Path
    shown: str
    name: str
    does: str = "run"
    parts: tuple[Part, ...] = ()
    ledgers: tuple[Path, ...] = ()
    rehearse: bool = False
    provider: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    budget: tuple[Limit, ...] = ()
    warn_at: tuple[int, ...] = ()
    zone: tzinfo = UTC
    window: Window | None = None
    gate: Gate | None = None
    reports: Mapping[str, str] = field(default_factory=dict)
    by: tuple[str, ...] | None = None
    period: str = "all"
    exports: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    events: str = ""
    log: JobLog | None = None

    @property
    def folder(self) -> Path:
        """Where its relative paths start."""
        return self.path.parent
