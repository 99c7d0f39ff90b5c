"""Names of files as careful file systems see them."""

from __future__ import annotations

import unicodedata


def collision_key(path: str) -> str:
    """
    The path as a file system that folds case and width sees it: equal keys may be one file.

    NFKC, then full case folding, then NFKC again, since folding can undo the first.
    """
    folded = unicodedata.normalize("NFKC", path).casefold()
    return unicodedata.normalize("NFKC", folded)
