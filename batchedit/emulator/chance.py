"""Seeded chance and scripted faults: the same seed draws the same, whatever the order of arrival."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchedit.emulator.settings import FAULT_NAMES, Faults
from batchedit.emulator.store import Store

MATCHES = ("method", "path", "client_ref", "prompt")
"""What a script can be matched against: equal under the bare name, part of it under ``NAME_contains``."""


@dataclass(slots=True, kw_only=True)
class Script:
    """
    A fault ordered by name for requests that match. Scripts are orders to this process and do not outlive it.

    Attributes:
        match: Any of ``method``, ``path``, ``client_ref``, ``prompt``, each also with ``_contains``; all must fit.
        times: How many more times it fires.
        options: ``status`` and ``code`` for the error faults, ``seconds`` for the delays, ``length`` for `throttle`.

    Raises:
        ValueError: if there is no such fault or no such match, or `times` is below 1.
    """

    fault: str
    match: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fault not in FAULT_NAMES:
            raise ValueError(f"there is no fault {self.fault!r}; known are {', '.join(FAULT_NAMES)}")
        for name in self.match:
            if name.removesuffix("_contains") not in MATCHES:
                raise ValueError(f"there is no match {name!r}; known are {', '.join(MATCHES)}, and NAME_contains")
        if self.times < 1:
            raise ValueError(f"times is {self.times!r}; allowed is 1 or more")

    @property
    def aimed(self) -> bool:
        """True if it names a method or a path, so that it may mean any call, not only a creation."""
        return any(name.startswith(("method", "path")) for name in self.match)

    def fits(self, occasion: Mapping[str, str]) -> bool:
        """True if the occasion is one of those meant."""
        for name, wanted in self.match.items():
            if name.endswith("_contains"):
                if wanted not in occasion.get(name.removesuffix("_contains"), ""):
                    return False
            elif occasion.get(name) != wanted:
                return False
        return True


class Chance:
    """
    All draws of one emulator. How often an identity was seen is kept in the books, so a restart draws on.

    Args:
        seed: Decides them.
        faults: Probabilities.
        store: The books.
    """

    def __init__(self, seed: str, faults: Faults, store: Store) -> None:
        self._seed, self._faults, self._store = seed, faults, store
        self.scripts: list[Script] = []

    def draw(self, role: str, key: str, number: int = 0) -> random.Random:
        """A generator of its own for one draw site."""
        return random.Random(f"{self._seed}/{role}/{key}/{number}")

    def draw_next(self, role: str, key: str) -> random.Random:
        """The same, numbered by how often this was drawn for the key before."""
        return self.draw(role, key, self._store.bump(f"seen/{role}/{key}") - 1)

    def scripted(self, fault: str, occasion: Mapping[str, str], *, aimed: bool = False) -> Mapping[str, Any] | None:
        """
        The options of a script that orders this fault for this occasion, None if there is none.

        Args:
            aimed: Only scripts that name a method or a path.
        """
        for script in self.scripts:
            if script.fault == fault and (script.aimed or not aimed) and script.fits(occasion):
                script.times -= 1
                if script.times == 0:
                    self.scripts.remove(script)
                self._store.bump(f"fired/{fault}")
                return script.options
        return None

    def strikes(self, fault: str, identity: str, occasion: Mapping[str, str]) -> Mapping[str, Any] | None:
        """
        Whether a fault happens now: its options if it does, None if not.

        Args:
            identity: What the draw is keyed by, with how often this was asked for it before.
            occasion: What scripts are matched against.
        """
        options = self.scripted(fault, occasion)
        probability: float = getattr(self._faults, fault)
        if options is None and probability and self.draw_next(f"fault {fault}", identity).random() < probability:
            self._store.bump(f"fired/{fault}")
            options = {}
        return options

    def uuid7(self, kind: str, number: int, now: float) -> str:
        """An id of the form of a UUIDv7, from the seed, a counter and the clock."""
        bits = self.draw(f"id {kind}", str(number)).getrandbits(74)
        value = (int(max(now, 0) * 1000) & ((1 << 48) - 1)) << 80
        value |= 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | (bits & ((1 << 62) - 1))
        return str(uuid.UUID(int=value))
