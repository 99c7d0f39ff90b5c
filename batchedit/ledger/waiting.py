"""Tasks that wait for another one's picture: what they wait for, asked of any connection to a ledger."""

from __future__ import annotations

import sqlite3
from collections import Counter

APPROVAL = "approval"
"""What a task waits for whose picture to start from is there, and has not been approved."""

FAILED = "failed"
"""What a task waits for whose picture to start from will not come by itself."""

ABSENT = "absent"
"""What a task waits for whose picture to start from is that of a task which the ledger does not know."""

# From the tasks whose own upstream waits for nobody, down to those that wait for them.
_WHY = """
WITH RECURSIVE why (slot, reason) AS (
  SELECT waiting.slot,
    CASE
      WHEN requests.state = 'done' AND gate = 'approved' THEN 'approval'
      WHEN requests.state IN ('failed', 'suspect', 'lost') THEN 'failed'
      ELSE coalesce(requests.state, 'absent')
    END
  FROM waiting
    LEFT JOIN tasks ON tasks.slot = waiting.upstream
    LEFT JOIN requests ON requests.key = tasks.request_key
  WHERE (:run IS NULL OR waiting.wanted_by = :run)
    AND NOT EXISTS (SELECT 1 FROM waiting AS above WHERE above.slot = waiting.upstream
                    AND (:run IS NULL OR above.wanted_by = :run))
  UNION ALL
  SELECT waiting.slot, why.reason FROM why JOIN waiting ON waiting.upstream = why.slot
  WHERE :run IS NULL OR waiting.wanted_by = :run
)
SELECT reason, count(*) FROM why JOIN waiting ON waiting.slot = why.slot WHERE 1{only} GROUP BY reason
"""


def waiting_by_reason(connection: sqlite3.Connection, run_id: int | None = None, *, only: str = "") -> Counter[str]:
    """
    How many tasks wait, by what for: `APPROVAL`, `FAILED`, ``absent`` or the state of what they start from.

    Args:
        run_id: Only those that this run wants; None for all.
        only: More conditions on the table `waiting`, as SQL; which of them wait for each other is found without these.
    """
    if not has_table(connection, "waiting"):
        return Counter()
    return Counter({str(row[0]): int(row[1]) for row in connection.execute(_WHY.format(only=only), {"run": run_id})})


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """False for what an older ledger, opened for reading, does not have yet."""
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (name,)).fetchone() is not None


def has_column(connection: sqlite3.Connection, table: str, name: str) -> bool:
    """False likewise."""
    sql = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return connection.execute(sql, (table, name)).fetchone() is not None
