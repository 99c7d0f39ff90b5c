"""
The ledger's views: what other programs may rely on. The tables are ours and change; these keep their columns.

    v_tasks     a task         v_cost_day    a day                  v_failures  a reason why tasks are not done
    v_waiting   one that waits v_cost_label  a value of a label     v_waste     money that brought nothing wanted
    v_requests  a request      v_attempts    an attempt             v_runs      an execution
    v_checks    what a check has found about a delivered file
    v_decisions what somebody said about pictures

`docs/ledger.md` has every column; a test compares the two. The sums are those of `summary`; a test compares these too.
No view shows a key's print, an idempotency key or an answer of the provider.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping


def _usd(amount: str) -> str:
    """An amount as text in dollars: exact, with six decimals."""
    return f"printf('%d.%06d', ({amount}) / 1000000, ({amount}) % 1000000)"


VERDICT = (
    "(SELECT CASE decisions.verdict WHEN 'undecided' THEN NULL ELSE decisions.{column} END FROM decisions"
    " WHERE decisions.slot = t.slot AND decisions.request_key = r.key ORDER BY decisions.id DESC LIMIT 1)"
)
"""SQL: a column of what was last said about the pictures of the request `r` for the task `t`; NULL if taken back."""


IS_NOW = (
    "NOT EXISTS (SELECT 1 FROM tasks AS heir WHERE heir.was = {task}.slot AND heir.was <> ''"
    " AND heir.wanted_by > {task}.wanted_by)"
)
"""SQL: the task is not merely what another one was called before, which has its pictures and what was said of them."""


def money_use(verdict: str, *, renamed: bool = True) -> str:
    """
    SQL: what became of the money of the attempt `a` at the request `r`, whose cost the task `t` bears.

    Args:
        verdict: SQL for what was last said about its pictures.
        renamed: Tasks may have had other names; False if none has, or the ledger is of a version without renaming.
    """
    own, others = "t.request_key = r.key", "other.request_key = r.key AND other.slot <> t.slot"
    if renamed:
        own, others = f"{own} AND {IS_NOW.format(task='t')}", f"{others} AND {IS_NOW.format(task='other')}"
    others = f"SELECT 1 FROM tasks AS other WHERE {others}"
    others_said = verdict.replace("t.slot", "other.slot")
    return f"""CASE
    WHEN a.outcome IS NULL THEN 'open'
    WHEN a.outcome = 'done' OR (a.outcome = 'suspect' AND r.state = 'done')
      THEN CASE
        -- Useful to any of the equal tasks that have it now and do not reject it; of no use to all that have it.
        WHEN {own} AND coalesce({verdict}, '') <> 'rejected' THEN 'useful'
        WHEN EXISTS ({others} AND coalesce({others_said}, '') <> 'rejected') THEN 'useful'
        WHEN {own} OR EXISTS ({others}) THEN 'rejected' ELSE 'superseded' END
    WHEN a.outcome IN ('suspect', 'lost', 'written off') THEN a.outcome
    WHEN a.cost_microusd > 0 THEN 'failed but billed'
    ELSE 'nothing'
  END"""


FIRST_IN_RUN = (
    "(a.number = 1 OR NOT EXISTS (SELECT 1 FROM attempts AS before WHERE before.request_key = a.request_key"
    " AND before.number = a.number - 1 AND before.run_id = a.run_id))"
)
"""SQL: the attempt `a` is the first one at its request in its run."""

WAITED_SINCE = "max(r.created_at, (SELECT u.started_at FROM runs AS u WHERE u.id = a.run_id))"
"""SQL: when the run of the attempt `a` wanted the request `r`: it was recorded then, or known when the run began."""

SPENT = "a.cost_microusd + a.surplus_microusd"
RISK = "a.doubt_microusd + a.surplus_doubt_microusd + CASE WHEN a.outcome IS NULL THEN a.reserved_microusd ELSE 0 END"
"""SQL: what was billed for the attempt `a`, and what may still be."""
_OF_REQUEST = "(SELECT coalesce(sum({amount}), 0) FROM attempts AS a WHERE a.request_key = r.key)"
_LAST = "(SELECT {column} FROM attempts AS a WHERE a.request_key = r.key ORDER BY a.number DESC LIMIT 1)"
_FIRST_FILE = "(SELECT {column} FROM outputs WHERE outputs.slot = t.slot ORDER BY outputs.number LIMIT 1)"
_BORNE = "CASE WHEN t.slot = r.buyer_slot THEN {amount} ELSE 0 END"

_BASIS = (
    "coalesce((SELECT group_concat(DISTINCT a.cost_basis) FROM attempts AS a"
    " WHERE a.request_key = r.key AND a.cost_basis <> 'none'), 'none')"
)

_TASKS = f"""
SELECT t.rowid AS position, t.slot, t.item_id, t.edit, t.variant, t.labels, r.state,
  t.slot <> r.buyer_slot AS shared, t.request_key, t.revision, t.place, t.paths,
  {_FIRST_FILE.format(column="outputs.path")} AS file, {_FIRST_FILE.format(column="outputs.sha256")} AS sha256,
  (SELECT count(*) FROM outputs WHERE outputs.slot = t.slot) AS files,
  {VERDICT.format(column="verdict")} AS verdict, {VERDICT.format(column="reason")} AS verdict_reason,
  {VERDICT.format(column="decided_at")} AS decided_at,
  r.code, r.reason, r.retryable, r.provider, r.model, r.quality, r.size, r.format, r.samples,
  (SELECT count(*) FROM attempts AS a WHERE a.request_key = r.key) AS attempts, {_BASIS} AS basis,
  {_BORNE.format(amount=_OF_REQUEST.format(amount=SPENT))} AS spent_microusd,
  {_usd(_BORNE.format(amount=_OF_REQUEST.format(amount=SPENT)))} AS spent_usd,
  {_BORNE.format(amount=_OF_REQUEST.format(amount=RISK))} AS at_risk_microusd,
  {_usd(_BORNE.format(amount=_OF_REQUEST.format(amount=RISK)))} AS at_risk_usd,
  t.wanted_by AS run, t.created_at, r.changed_at
FROM tasks AS t CROSS JOIN requests AS r ON r.key = t.request_key
"""

_WAITING = """
SELECT w.rowid AS position, w.slot, w.item_id, w.edit, w.variant, w.labels, w.upstream, w.gate AS waits_until,
  w.place, w.paths, w.provider, w.quote_low_microusd, w.quote_high_microusd, w.wanted_by AS run, w.created_at
FROM waiting AS w
"""

_REQUESTS = f"""
SELECT r.rowid AS position, r.key AS request_key, r.buyer_slot AS slot, t.item_id, t.edit, t.variant, t.labels,
  r.state, r.code, r.reason, r.retryable, r.provider, r.model, r.quality, r.size, r.format, r.samples, r.revision,
  (SELECT count(*) FROM tasks WHERE tasks.request_key = r.key) AS tasks,
  (SELECT count(*) FROM attempts AS a WHERE a.request_key = r.key) AS attempts,
  CASE WHEN {_LAST.format(column="a.number")} IS NULL THEN ''
    ELSE coalesce({_LAST.format(column="a.outcome")}, 'open') END AS outcome,
  coalesce({_LAST.format(column="coalesce(a.ended_at, a.started_at)")}, '') AS last_at,
  (SELECT count(*) FROM raws WHERE raws.request_key = r.key) AS pictures,
  {_BASIS} AS basis,
  {_OF_REQUEST.format(amount=SPENT)} AS spent_microusd, {_usd(_OF_REQUEST.format(amount=SPENT))} AS spent_usd,
  {_OF_REQUEST.format(amount=RISK)} AS at_risk_microusd, {_usd(_OF_REQUEST.format(amount=RISK))} AS at_risk_usd,
  r.quote_low_microusd, r.quote_high_microusd, r.wanted_by AS run, r.created_at, r.changed_at
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot
"""

# CROSS JOIN keeps the order in which rows lie in the file; see `ledger.books`, which adds up in the same way.
_ATTEMPTS = f"""
SELECT a.id, a.request_key, r.buyer_slot AS slot, t.item_id, t.edit, t.variant, t.labels,
  r.provider, r.model, r.quality, r.size, a.number, a.run_id AS run, a.started_at, a.accepted_at, a.ended_at,
  substr(coalesce(a.ended_at, a.started_at), 1, 10) AS day,
  round((julianday(a.ended_at) - julianday(a.started_at)) * 86400, 3) AS seconds,
  CASE WHEN {FIRST_IN_RUN}
    THEN max(0, round((julianday(a.started_at) - julianday({WAITED_SINCE})) * 86400, 3)) END AS queue_seconds,
  coalesce(a.outcome, 'open') AS outcome,
  {money_use(VERDICT.format(column="verdict"))} AS money_use,
  a.provider_run_id, a.http_status, a.code, a.message,
  (SELECT count(*) FROM raws WHERE raws.request_key = r.key AND raws.attempt_id = a.id) AS pictures,
  a.cost_basis AS basis, a.cost_microusd, a.surplus_microusd,
  {SPENT} AS spent_microusd, {_usd(SPENT)} AS spent_usd, {RISK} AS at_risk_microusd, {_usd(RISK)} AS at_risk_usd
FROM requests AS r CROSS JOIN tasks AS t ON t.slot = r.buyer_slot CROSS JOIN attempts AS a ON a.request_key = r.key
"""

_USEFUL = "CASE WHEN money_use = 'useful' THEN cost_microusd ELSE 0 END"
_SUMS = f"""
  sum(number = 1) AS requests, count(*) AS attempts, sum(outcome = 'throttled') AS throttled, sum(pictures) AS pictures,
  sum(spent_microusd) AS spent_microusd, {_usd("sum(spent_microusd)")} AS spent_usd,
  sum({_USEFUL}) AS useful_microusd, sum(spent_microusd) - sum({_USEFUL}) AS wasted_microusd,
  sum(at_risk_microusd) AS at_risk_microusd, {_usd("sum(at_risk_microusd)")} AS at_risk_usd
"""

_COST_DAY = f"SELECT day, {_SUMS} FROM v_attempts GROUP BY day"

# Added up by whole sets of labels first: there are few of those, and each attempt is looked at once.
_COST_LABEL = f"""
WITH
  sets AS (
    SELECT labels, sum(number = 1) AS requests, count(*) AS attempts, sum(outcome = 'throttled') AS throttled,
      sum(pictures) AS pictures, sum(spent_microusd) AS spent, sum({_USEFUL}) AS useful, sum(at_risk_microusd) AS risk
    FROM v_attempts GROUP BY labels
  ),
  names AS (SELECT DISTINCT each.key AS label FROM sets, json_each(sets.labels) AS each),
  told AS (
    SELECT names.label, sets.*,
      coalesce((SELECT each.value FROM json_each(sets.labels) AS each WHERE each.key = names.label), '(none)') AS value
    FROM names CROSS JOIN sets
  )
SELECT label, value, sum(requests) AS requests, sum(attempts) AS attempts, sum(throttled) AS throttled,
  sum(pictures) AS pictures, sum(spent) AS spent_microusd, {_usd("sum(spent)")} AS spent_usd,
  sum(useful) AS useful_microusd, sum(spent) - sum(useful) AS wasted_microusd,
  sum(risk) AS at_risk_microusd, {_usd("sum(risk)")} AS at_risk_usd
FROM told GROUP BY label, value
"""

_WASTE = f"""
SELECT money_use AS kind, id AS attempt, request_key, slot, item_id, edit, variant, labels, run, day, outcome, basis,
  cost_microusd AS amount_microusd, {_usd("cost_microusd")} AS amount_usd
FROM v_attempts WHERE money_use <> 'useful' AND cost_microusd > 0
UNION ALL
SELECT 'double', id, request_key, slot, item_id, edit, variant, labels, run, day, outcome, basis,
  surplus_microusd, {_usd("surplus_microusd")}
FROM v_attempts WHERE surplus_microusd > 0
"""

_FAILURES = f"""
SELECT state, code, reason, retryable, count(*) AS tasks,
  sum(spent_microusd) AS spent_microusd, {_usd("sum(spent_microusd)")} AS spent_usd,
  sum(at_risk_microusd) AS at_risk_microusd, {_usd("sum(at_risk_microusd)")} AS at_risk_usd,
  min(changed_at) AS first_at, max(changed_at) AS last_at, min(slot) AS example
FROM v_tasks WHERE state <> 'done' AND reason <> '' GROUP BY state, code, reason, retryable
"""

_RUNS = f"""
SELECT u.id AS run, u.chain, u.started_at, u.ended_at,
  round((julianday(u.ended_at) - julianday(u.started_at)) * 86400, 3) AS seconds,
  u.manifest, u.provider, u.model, u.program, u.price_list, u.exit_code, u.stop_reason,
  u.budget_microusd,
  CASE WHEN u.budget_microusd IS NOT NULL THEN {_usd("u.budget_microusd")} END AS budget_usd,
  coalesce(sums.attempts, 0) AS attempts, coalesce(sums.done, 0) AS done, coalesce(sums.throttled, 0) AS throttled,
  coalesce(sums.spent, 0) AS spent_microusd, {_usd("coalesce(sums.spent, 0)")} AS spent_usd,
  coalesce(sums.risk, 0) AS at_risk_microusd, {_usd("coalesce(sums.risk, 0)")} AS at_risk_usd
FROM runs AS u LEFT JOIN (
  SELECT a.run_id, count(*) AS attempts, sum(a.outcome IS 'done') AS done, sum(a.outcome IS 'throttled') AS throttled,
    sum({SPENT}) AS spent, sum({RISK}) AS risk
  FROM attempts AS a GROUP BY a.run_id
) AS sums ON sums.run_id = u.id
"""

_CHECKS = """
SELECT c.slot, t.item_id, t.edit, t.variant, t.labels, c.number, c.name, c.verdict, c.measured, c.wanted,
  coalesce((SELECT path FROM outputs WHERE outputs.slot = c.slot AND outputs.number = c.number), '') AS file,
  c.sha256, c.checked_at
FROM checks AS c CROSS JOIN tasks AS t ON t.slot = c.slot
"""

_DECISIONS = """
SELECT d.id, d.slot, t.item_id, t.edit, t.variant, t.labels, d.request_key, r.revision, d.decided_at, d.verdict,
  d.reason, d.note, d.who,
  d.id = (SELECT max(other.id) FROM decisions AS other WHERE other.slot = d.slot AND other.request_key = d.request_key)
    AND d.request_key = t.request_key AS holds
FROM decisions AS d JOIN tasks AS t ON t.slot = d.slot JOIN requests AS r ON r.key = d.request_key
"""

VIEWS: Mapping[str, str] = {
    "v_tasks": _TASKS,
    "v_waiting": _WAITING,
    "v_requests": _REQUESTS,
    "v_attempts": _ATTEMPTS,
    "v_cost_day": _COST_DAY,
    "v_cost_label": _COST_LABEL,
    "v_waste": _WASTE,
    "v_failures": _FAILURES,
    "v_runs": _RUNS,
    "v_checks": _CHECKS,
    "v_decisions": _DECISIONS,
}
"""Name -> query; a view uses only those above it."""

# What a ledger lacks that no newer program has opened for writing; nothing is in them.
_LATER_TABLES = {
    "waiting": "slot, item_id, edit, variant, labels, place, paths, upstream, gate, provider, spec,"
    " quote_low_microusd, quote_high_microusd, wanted_by, created_at",
    "decisions": "id INTEGER PRIMARY KEY, slot, request_key, decided_at, verdict, reason, note, who",
    "checks": "slot, number, name, sha256, verdict, measured, wanted, checked_at",
    "renders": "sha256, raw_sha256, width, height, size_bytes",
}


def create_views() -> list[str]:
    """The statements that make the views in a ledger, in place of those of an older one."""
    dropped = [f"DROP VIEW IF EXISTS {name}" for name in reversed([*VIEWS])]
    return dropped + [f"CREATE VIEW {name} AS {query.strip()}" for name, query in VIEWS.items()]


def ensure_views(connection: sqlite3.Connection) -> None:
    """Give a connection that only reads the views of this program, whatever its ledger has: they are its own."""
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for name, columns in _LATER_TABLES.items():
        if name not in present:
            connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
    can_rename = any(row[1] == "was" for row in connection.execute("PRAGMA table_info(tasks)"))
    for name, query in VIEWS.items():
        for task in () if can_rename else ("t", "other"):
            query = query.replace(IS_NOW.format(task=task), "1")
        connection.execute(f"CREATE TEMP VIEW {name} AS {query.strip()}")
