"""
The provider's API with its own bill, its own faults and real pixels; never the network.

Written from provider-api.md alone: nothing here knows the client, so that one misreading cannot cancel another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from batchedit.emulator.app import App
from batchedit.emulator.audit import audit
from batchedit.emulator.chance import Script
from batchedit.emulator.service import Service
from batchedit.emulator.settings import Faults, Switches
from batchedit.emulator.storage import Offload
from batchedit.emulator.store import Store
from batchedit.emulator.wire import ConnectionCut

T = TypeVar("T")

__all__ = ["ConnectionCut", "Emulator", "Faults", "Offload", "Script", "Switches"]


async def _in_thread(work: Callable[[], T], /) -> T:
    import anyio.to_thread

    return await anyio.to_thread.run_sync(work)


class Emulator:
    """
    One emulated provider.

    Args:
        switches: How the API behaves.
        faults: What goes wrong, and how often.
        seed: Decides every draw, every id and every picture.
        state_dir: Where to keep the books, so that a later emulator goes on with them; None for in memory.
        clock: Unix time in seconds.
        offload: Where pictures are rendered; a simulation renders inline.
    """

    def __init__(
        self,
        *,
        switches: Switches | None = None,
        faults: Faults | None = None,
        seed: str = "0",
        state_dir: Path | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251  the emulator's one source of time
        offload: Offload = _in_thread,
    ) -> None:
        self._store = Store(state_dir)
        self._service = Service(
            switches=switches or Switches(),
            faults=faults or Faults(),
            seed=seed,
            store=self._store,
            clock=clock,
            offload=offload,
        )
        self.app = App(self._service)

    def audit(self) -> dict[str, Any]:
        """Who was billed for what, as `GET /emulator/audit`."""
        return audit(self._service)

    def script(self, fault: str, *, times: int = 1, match: dict[str, str] | None = None, **options: Any) -> None:
        """
        Order a fault for the next requests that match, as `POST /emulator/faults`.

        Raises:
            ValueError: if there is no such fault or no such match.
        """
        self._service.chance.scripts.append(Script(fault=fault, times=times, match=match or {}, options=options))

    def close(self) -> None:
        """Close the books."""
        self._store.close()
