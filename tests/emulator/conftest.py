"""Every emulator that a test opens is closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchedit.emulator.store import Store


@pytest.fixture(autouse=True)
def closed_books(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Newer Pythons complain of a database that nobody closed."""
    opened: list[Store] = []
    original = Store.__init__

    def remember(self: Store, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]  # whatever it takes is passed on
        opened.append(self)

    monkeypatch.setattr(Store, "__init__", remember)
    yield
    for store in opened:
        store.close()
