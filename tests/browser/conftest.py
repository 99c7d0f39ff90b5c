"""A real browser for the pages: Debian's Chromium, or the one that BATCHEDIT_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """
    A headless browser without any window yet. Not for longer than a module: while Playwright is there, its event loop
    counts as running in this thread, where other tests start their own.
    """
    api = pytest.importorskip("playwright.sync_api", reason='no Playwright: pip install "batchedit[browser]"')
    path = os.environ.get("BATCHEDIT_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium fonts-dejavu-core, or set BATCHEDIT_CHROMIUM")
    # Chromium refuses to lock itself up when root starts it, as in a container.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()
