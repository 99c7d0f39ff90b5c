"""What Datasette is told about a ledger: titles, meanings of columns, facets, ready questions."""

from __future__ import annotations

from typing import Any

from batchedit.exporting.dictionary import VIEWS

TABLES = (
    "attempts", "checks", "comparisons", "decisions", "digests", "events", "job_starts", "job_warnings", "meta",
    "outputs", "overrides", "paces", "raws", "recipes", "renders", "requests", "runs", "tasks", "uploads", "waiting",
    "wishes", "_sqlite_migrations",
)  # fmt: skip
"""What is hidden: it is no contract, and the views say the same."""

_QUERIES: dict[str, tuple[str, str, str]] = {
    "cost_by_label": (
        "Cost by one label",
        "Such as client or season: its values, the dearest first.",
        "SELECT value, requests, pictures, spent_usd, at_risk_usd, wasted_microusd FROM v_cost_label"
        " WHERE label = :label ORDER BY spent_microusd DESC",
    ),
    "waste_by_kind": (
        "Waste by kind",
        "What was paid for pictures that nobody wants, or for none.",
        "SELECT kind, count(*) AS costs, sum(amount_microusd) AS amount_microusd,"
        " printf('%d.%06d', sum(amount_microusd) / 1000000, sum(amount_microusd) % 1000000) AS amount_usd"
        " FROM v_waste GROUP BY kind ORDER BY amount_microusd DESC",
    ),
    "dearest_items": (
        "The dearest items",
        "All edits, variants and revisions of an item together.",
        "SELECT item_id, sum(requests) AS requests, sum(spent) AS spent_microusd,"
        " printf('%d.%06d', sum(spent) / 1000000, sum(spent) % 1000000) AS spent_usd FROM ("
        " SELECT item_id, 1 AS requests, spent_microusd AS spent FROM v_requests)"
        " GROUP BY item_id ORDER BY spent_microusd DESC LIMIT 50",
    ),
    "approval_by_edit": (
        "Approval by edit",
        "Reviewed and approved tasks, those approved at their first revision, and dollars for each approved one.",
        "SELECT edit, count(verdict) AS reviewed, sum(verdict = 'approved') AS approved,"
        " sum(verdict = 'approved' AND revision = 1) AS approved_at_once,"
        " sum(verdict IS NULL AND revision > 1 AND slot IN (SELECT slot FROM v_decisions WHERE verdict = 'rejected'))"
        " AS undecided_again,"
        " round(sum(spent_microusd) / 1e6 / nullif(sum(verdict = 'approved'), 0), 6) AS usd_per_approved"
        " FROM v_tasks GROUP BY edit ORDER BY edit",
    ),
    "tasks_of_a_failure": (
        "Tasks that failed for a reason",
        "The class of a failure, as v_failures has it; empty for all.",
        "SELECT slot, state, code, reason, attempts, spent_usd, place FROM v_tasks"
        " WHERE state <> 'done' AND reason <> '' AND (:code = '' OR code = :code) ORDER BY position",
    ),
    "throttled_by_hour": (
        "Refused for their rate, by hour",
        "Attempts and 429s in each hour (UTC).",
        "SELECT substr(started_at, 1, 13) || ':00Z' AS hour, count(*) AS attempts,"
        " sum(outcome = 'throttled') AS throttled, sum(outcome = 'done') AS done FROM v_attempts"
        " GROUP BY hour ORDER BY hour",
    ),
}


def metadata(database: str = "ledger") -> dict[str, Any]:
    """
    What Datasette reads with ``--metadata``.

    Args:
        database: The served file's name without its extension.
    """
    tables: dict[str, Any] = {name: {"hidden": True} for name in TABLES}
    for name, view in VIEWS.items():
        tables[name] = {
            "title": view.title,
            "description": view.about,
            "columns": {column: f"{each.meaning} ({each.unit})" for column, each in view.columns.items()},
            "facets": list(view.facets),
            # Only a sort that is named keeps pages apart.
            **({"sort": "position"} if view.order == "position" else {"sort_desc": view.order}),
            "size": 100,
        }
    return {
        "title": "batchedit",
        "description": "Where the money went. Amounts: whole micro-dollars (_microusd), and dollars as text (_usd).",
        "databases": {
            database: {
                "tables": tables,
                "queries": {
                    name: {"title": title, "description": about, "sql": sql}
                    for name, (title, about, sql) in _QUERIES.items()
                },
            }
        },
    }


def metadata_yaml(database: str = "ledger") -> str:
    """The same as YAML, with how to use it on top."""
    import yaml

    text = yaml.safe_dump(metadata(database), sort_keys=False, allow_unicode=True, width=120)
    how = (
        f"# batchedit ledger backup out {database}.db\n"
        f"# datasette {database}.db --metadata metadata.yaml --setting truncate_cells_html 200\n"
    )
    return how + str(text)
