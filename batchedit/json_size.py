"""How large JSON is once it is read, told before it is read."""

from __future__ import annotations

MOST_OF_AN_ANSWER = 1_000_000
"""Values of a provider's answer that are read; a picture in base64 is one of them."""


def values_in(text: str | bytes) -> int:
    """
    At least as many as there are values. Empty ones need a hundred times the memory of their letters, so that its
    length says nothing.
    """
    if isinstance(text, str):
        return sum(map(text.count, "[{,"))
    return sum(map(text.count, (b"[", b"{", b",")))
