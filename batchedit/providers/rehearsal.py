"""
The built-in provider: the same adapter over the emulator in process. No key, no network, no real money.

The emulator keeps its own books in a folder beside the ledger, so that a rehearsal that was killed can be resumed.
"""

from __future__ import annotations

from dataclasses import replace

from batchedit.emulator import Emulator
from batchedit.endpoint import Endpoint, Key
from batchedit.providers.registry import Connected, Setup
from batchedit.providers.runflow import Runflow

ORIGIN = "https://rehearsal.invalid"
"""A name that can never be reached by accident (RFC 2606): everything is answered in process."""

_POLL_SECONDS = 0.1
_LIMITS = {
    "request_timeout_seconds": 8.0,
    "list_lag_seconds": 0.0,
    "in_flight": 8,
    "learn_rate": False,
    "poll_seconds": _POLL_SECONDS,
}
"""The emulator dies with the run, so nothing can be accepted long after an answer was lost."""


class Rehearsal(Runflow):
    """Runflow's adapter under another name."""

    name = "rehearsal"


def create(setup: Setup) -> Connected:
    """Entry point of the provider ``rehearsal``."""
    settings = replace(setup.settings, base_url=ORIGIN)
    setup.state.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(
        seed=setup.effects.seed,
        state_dir=setup.state,
        clock=setup.effects.wall,
        offload=setup.effects.offload,
    )
    return Connected(
        provider=Rehearsal(settings, poll_seconds=_POLL_SECONDS),
        endpoint=Endpoint(base_url=ORIGIN, key=Key("rf_live_rehearsal"), app=emulator.app, timeout_seconds=60.0),
        world="rehearsal",
        limits=_LIMITS,
        close=emulator.close,
    )
