"""What was spent in a stretch of time, such as a night or a month, by the tasks that bear the cost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from batchedit.money import MicroUSD

_ENDED = "coalesce(ended_at, started_at)"
_MONEY = f"""
SELECT labels, edit, sum(in_period * (cost_microusd + surplus_microusd)) AS spent,
  sum(in_period * (doubt_microusd + surplus_doubt_microusd) + is_open * reserved_microusd) AS held
FROM (
  SELECT *, outcome IS NULL AS is_open, {_ENDED} >= ? AND {_ENDED} < ? AS in_period FROM attempts
) AS tries JOIN requests ON key = tries.request_key JOIN tasks ON slot = buyer_slot
WHERE in_period OR is_open GROUP BY labels, edit
"""


class LedgerPeriods:
    """The question, for whoever has a connection."""

    _connection: sqlite3.Connection

    def money_between(self, since: str, until: str) -> Iterator[tuple[dict[str, str], str, MicroUSD, MicroUSD]]:
        """
        What the attempts cost that ended from one ISO moment (UTC) to before another: (labels, edit, spent, held).

        Held is what those may have cost besides, and whatever may still be billed for any open attempt, whenever it was
        begun: unknown outcomes among them. Nothing may be written until the last one is taken.
        """
        for row in self._connection.execute(_MONEY, (since, until)):
            yield json.loads(row["labels"]), row["edit"], MicroUSD(row["spent"]), MicroUSD(row["held"])
