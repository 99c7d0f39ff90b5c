"""Switches and faults of the emulator from the command line: NAME=VALUE."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any

from batchedit.emulator import Emulator, Faults, Switches
from batchedit.errors import UsageError


def make_emulator(*, seed: str, state: Path | None, switches: tuple[str, ...], faults: tuple[str, ...]) -> Emulator:
    """
    The emulator that the flags describe.

    Raises:
        UsageError: for a name or a value that does not exist.
    """
    try:
        return Emulator(
            switches=Switches(**_values(Switches, switches, "switch")),
            faults=Faults(**_values(Faults, faults, "fault")),
            seed=seed,
            state_dir=state,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _values(kind: type[Switches] | type[Faults], pairs: tuple[str, ...], what: str) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(defaults)}"
            raise UsageError(f"there is no {what} {name!r}", hint=hint)
        values[name] = _convert(text, defaults[name], f"--{what} {name}")
    return values


def _convert(text: str, default: object, where: str) -> Any:
    try:
        match default:
            case bool():
                return text.lower() in ("1", "true", "yes", "on")
            case int():
                return int(text)
            case float():
                return float(text)
            case (float(), float()):
                low, _, high = text.partition(",")
                return float(low), float(high or low)
            case tuple():
                return tuple(part for part in text.split(",") if part)
            case _:
                return text
    except ValueError:
        raise UsageError(f"{where}: {text!r} is not a number") from None
