"""A short run of the fuzzer; `python -m tests.manifest.fuzz --minutes 10` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.manifest import fuzz


@pytest.mark.parametrize("block", range(8))
def test_stirred_manifests_end_in_our_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Nothing but our own errors, and each of the three ends occurs."""
    fuzz.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = {fuzz.one(tmp_path, f"ci/{block}/{number}") for number in range(150)}
    assert found == {"refused", "problems", "right"}


def test_the_fuzzer_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not ours does not pass."""
    monkeypatch.setattr(fuzz, "load_manifest", lambda *_, **__: 1 / 0)
    with pytest.raises(AssertionError, match="seed x"):
        fuzz.one(tmp_path, "x")
