"""Finding a provider by name and getting it ready: adapter, endpoint, and what it changes in the defaults."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from batchedit.credentials import KeyPlaces
from batchedit.effects import Effects
from batchedit.endpoint import Endpoint
from batchedit.errors import UsageError
from batchedit.model import Limits, ProviderSettings
from batchedit.providers.account import Account
from batchedit.providers.base import Flow, Provider

GROUP = "batchedit.providers"


def _nothing() -> None:
    """Nothing to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """
    What a provider may use to get ready.

    Attributes:
        limits: As the manifest sets them.
        state: A folder of its own beside the ledger; it may not exist yet.
        environment: For keys.
        places: Where keys may be besides.
    """

    settings: ProviderSettings
    limits: Limits
    effects: Effects
    state: Path
    environment: Mapping[str, str]
    places: KeyPlaces = KeyPlaces()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    Where requests would go, and in words where their key is; empty if there is none.
    """

    origin: str
    key_place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """
    A provider ready for a run.

    Attributes:
        world: ``real`` or ``rehearsal``: whether its money is.
        limits: Fields of `model.Limits` that it sets where the user has not.
        key_origin: Where the key was found, in words; empty without one.
        look: Makes a flow that asks, for free, about key, account and model; None if there is nobody to ask.
        close: Called when the run is over.
    """

    provider: Provider
    endpoint: Endpoint
    world: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    key_origin: str = ""
    look: Callable[[], Flow[Account]] | None = None
    close: Callable[[], None] = _nothing


def connect(setup: Setup) -> Connected:
    """
    The provider that the settings name.

    Raises:
        UsageError: if there is none of that name, or it lacks its key.
    """
    create: Callable[[Setup], Connected] = _entry(setup.settings.name).load()
    return create(setup)


def destination(settings: ProviderSettings, environment: Mapping[str, str], places: KeyPlaces) -> Destination | None:
    """
    Where a provider would send requests and the key; None for one that does not say, such as a rehearsal.

    A provider says so by a function of this name and form beside its entry point.

    Raises:
        UsageError: if there is no provider of that name, or the key is not for where it would go.
    """
    told = getattr(import_module(_entry(settings.name).module), "destination", None)
    found: Destination | None = None if told is None else told(settings, environment, places)
    return found


def check_name(name: str) -> None:
    """
    Make sure that there is a provider of this name.

    Raises:
        UsageError: if there is none.
    """
    _entry(name)


def _entry(name: str) -> EntryPoint:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        raise UsageError(
            f"there is no provider {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(found))}",
        )
    return found[name]


def key_variables() -> tuple[str, ...]:
    """The variables of the environment in which installed providers look for keys: ``NAME_API_KEY`` for each."""
    return tuple(f"{entry.name.upper().replace('-', '_')}_API_KEY" for entry in entry_points(group=GROUP))


def is_rehearsal(settings: ProviderSettings) -> bool:
    """True if the settings name the built-in provider whose money is not real."""
    return settings.name == "rehearsal"
