"""What earlier runs have read of the pictures on this machine, so that nobody need read them again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from batchedit.ledger.core import LedgerCore
from batchedit.ledger.records import Digest

_BATCH = 20_000


class LedgerDigests(LedgerCore):
    """The memory of digests. It saves work and decides nothing: whoever uses it looks at the file first."""

    def remember_digests(self, digests: Iterable[Digest]) -> int:
        """Note what was read; what was known of the same paths is replaced. Returns how many."""
        count, waiting = 0, iter(digests)
        while batch := [digest.row() for digest in islice(waiting, _BATCH)]:
            with self.transaction():
                self._connection.executemany(
                    "INSERT OR REPLACE INTO digests (path, size_bytes, modified_ns, changed_ns, inode, sha256, format,"
                    " located) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    batch,
                )
            count += len(batch)
        return count
