"""Seeded chance and scripted faults: the same seed draws the same, whatever the order of arrival."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from batchedit.emulator.settings import FAULT_NAMES, Faults


@dataclass(slots=True, kw_only=True)
class Script:
    """
    A fault ordered by name for requests that match.

    Attributes:
        match: Any of ``method``, ``path_contains``, ``client_ref``, ``prompt_contains``; all given ones must fit.
        times: How many more times it fires.
        options: Such as ``status`` for the error faults.
    """

    fault: str
    match: dict[str, str] = field(default_factory=dict)
    times: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def fits(self, occasion: dict[str, str]) -> bool:
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
    All draws of one emulator.

    Args:
        seed: Decides them.
        faults: Probabilities.
    """

    def __init__(self, seed: str, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._seen: Counter[tuple[str, str]] = Counter()
        self.scripts: list[Script] = []
        self.fired: Counter[str] = Counter()

    def script(self, script: Script) -> None:
        """
        Order a fault.

        Raises:
            ValueError: if there is no fault of that name.
        """
        if script.fault not in FAULT_NAMES:
            raise ValueError(f"there is no fault {script.fault!r}; known are {', '.join(FAULT_NAMES)}")
        self.scripts.append(script)

    def draw(self, role: str, key: str, number: int = 0) -> random.Random:
        """A generator of its own for one draw site."""
        return random.Random(f"{self._seed}/{role}/{key}/{number}")

    def strikes(self, fault: str, identity: str, occasion: dict[str, str]) -> dict[str, Any] | None:
        """
        Whether a fault happens now: its options if it does, None if not.

        Args:
            identity: What the draw is keyed by, with how often this was asked for it before.
            occasion: What scripts are matched against.
        """
        for script in self.scripts:
            if script.fault == fault and script.times > 0 and script.fits(occasion):
                script.times -= 1
                self.fired[fault] += 1
                return script.options
        number = self._seen[fault, identity]
        self._seen[fault, identity] += 1
        probability = getattr(self._faults, fault)
        if probability and self.draw(f"fault {fault}", identity, number).random() < probability:
            self.fired[fault] += 1
            return {}
        return None

    def uuid7(self, kind: str, number: int, now: float) -> str:
        """An id of the form of a UUIDv7, from the seed, a counter and the clock."""
        bits = self.draw(f"id {kind}", str(number)).getrandbits(74)
        value = (int(max(now, 0) * 1000) & ((1 << 48) - 1)) << 80
        value |= 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | (bits & ((1 << 62) - 1))
        return str(uuid.UUID(int=value))
