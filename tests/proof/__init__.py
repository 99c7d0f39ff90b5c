"""
The proof that nothing is paid twice, lost, torn or overspent: one module for each layer.

    python -m pytest tests/proof                     the reduced counts that every change must pass
    PROOF=full python -m pytest tests/proof          the full ones
"""

from __future__ import annotations

import os

FULL = os.environ.get("PROOF") == "full"


def workers() -> int:
    """How many things a test may do at once: one if the tests themselves run in parallel."""
    return 1 if "PYTEST_XDIST_WORKER" in os.environ else 2


def count(reduced: int, full: int) -> int:
    """How many to do this time."""
    return full if FULL else reduced
