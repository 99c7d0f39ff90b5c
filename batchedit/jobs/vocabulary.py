"""What may stand in a job file; one list for the reader, the JSON Schema and the manual, as for manifests."""

from __future__ import annotations

from batchedit.manifest.vocabulary import (
    LIMIT_KEYS,
    PROVIDER_KEYS,
    Choice,
    Flag,
    Key,
    Keys,
    ListOf,
    MapOf,
    Money,
    Number,
    Text,
)

TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,99}"
"""The name of an environment variable."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DOES = ("run", "reconcile", "report")
PERIODS = ("all", "night", "week", "month")
EVENTS = ("finished", "failed", "limit", "account", "unknown", "warning")
WAYS = ("webhook", "slack", "ntfy", "smtp", "exec", "heartbeat", "apprise")
EXPORTS = ("results", "csv", "ndjson", "parquet", "imagefolder", "prometheus")
REPORTS = ("html", "markdown", "csv", "json", "text")

MANIFEST_KEYS = (
    Key("manifest", Text(), "its file, or a table, a folder, a glob", "autumn.yaml"),
    Key("out", Text(), "its output folder; default: the job's", "out-autumn"),
    Key("select", ListOf(Text(), or_one=True), "only these tasks, as `--select`", ["client:acme"]),
    Key("exclude", ListOf(Text(), or_one=True), "not these tasks, as `--exclude`", ["tag:later"]),
)
SELLER_KEYS = tuple(key for key in PROVIDER_KEYS if key.name != "model")
"""What may be said of a provider: not the model, which changes what is bought."""
CAP_KEYS = (
    Key("run", Money(), "the most that one start may spend and have at risk, in dollars", "25.00"),
    Key("night", Money(), "the most in one night, however often the job starts in it", "40.00"),
    Key("month", Money(), "the most in one calendar month", "500.00"),
)
BUDGET_KEYS = (
    *CAP_KEYS,
    Key("per", MapOf(MapOf(Keys(CAP_KEYS, instead=Money()))), "label, or `edit` -> value -> the most for it: an amount"
        " for one start, or `run`, `night` and `month`", {"client": {"acme": {"night": "10.00", "month": "150.00"}}}),
    Key("warn_at", ListOf(Number(most=100), or_one=True), "percent of each of these limits at which a notice is sent,"
        " once in its period", [50, 80]),
)  # fmt: skip
WINDOW_KEYS = (
    Key("from", Text(TIME), "when nights begin, by the clock of `zone`", "19:00"),
    Key("until", Text(TIME), "when nothing new is sent any more; earlier than `from`: on the next morning", "06:00"),
    Key("days", ListOf(Choice(DAYS), or_one=True), "days on which nights begin; default: all", ["mon", "tue", "wed"]),
    Key("grace", Number(whole=False, least=0), "seconds that what is in flight at `until` may go on; default 600", 600),
)
PILOT_KEYS = (
    Key("tasks", Number(), "how many tasks the sample has", 20),
    Key("by", ListOf(Text(), or_one=True), "labels whose combinations take their turns", ["client"]),
    Key("seed", Text(), "decides which tasks; default 0", "autumn"),
    Key("max_failed", Number(most=100, least=0), "go on only if no larger share of the sample failed, in percent", 10),
    Key("max_cost", Money(), "go on only if sample and rest together will hardly cost more, in dollars", "60.00"),
)
REPORT_KEYS = (
    *(Key(form, Text("(?:.|\\n)+"), f"the report as {form}", f"reports/{{{{ night }}}}.{form}") for form in REPORTS),
    Key("by", ListOf(Text(), or_one=True), "what it is broken down by, as `report --by`", ["client", "edit"]),
    Key("period", Choice(PERIODS), "what it is about: `all` (default), this `night`, the last 7 days (`week`), this"
        " `month`", "week"),
)  # fmt: skip
EXPORT_KEYS = tuple(
    Key(form, Text("(?:.|\\n)+"), f"the ledger as `export {form}` writes it", f"exports/{{{{ night }}}}-{form}")
    for form in EXPORTS
)
LOG_KEYS = (
    Key("file", Text("(?:.|\\n)+"), "its name, as those of reports", "logs/{{ month }}.log"),
    Key("format", Choice(("text", "json")), "lines of text (default), or an object of JSON on each", "json"),
    Key("every_change", Flag(), "`true`: every change of state, not only what somebody should look at", True),
    Key("max_mb", Number(), "it is moved aside before it grows larger, in megabytes; default 10", 50),
    Key("keep", Number(most=1000), "so many of those are kept; default 5", 12),
)
NOTIFY_KEYS = (
    Key("via", Choice(WAYS), "how it is sent", "slack"),
    Key("on", ListOf(Choice(EVENTS), or_one=True), "when: `finished`, `failed`, `limit`, `account`, `unknown`,"
        " `warning`; default: always", ["failed", "account"]),
    Key("url_env", Text(VARIABLE), "environment variable that holds the URL, which is a secret", "SLACK_WEBHOOK_URL"),
    Key("token_env", Text(VARIABLE), "for `ntfy` and `webhook`: variable with a bearer token", "NTFY_TOKEN"),
    Key("server", Text("[A-Za-z0-9.:_-]{1,255}"), "for `smtp`: its host", "mail.example.com"),
    Key("port", Number(most=65535), "for `smtp`; default 587, 465 with `tls`, 25 with `none`", 587),
    Key("security", Choice(("starttls", "tls", "none")), "for `smtp`: `starttls` (default), `tls`, or `none`, which is"
        " for this machine only", "starttls"),
    Key("user_env", Text(VARIABLE), "for `smtp`: variable with the user's name", "SMTP_USER"),
    Key("password_env", Text(VARIABLE), "for `smtp`: variable with the password", "SMTP_PASSWORD"),
    Key("from", Text("[^\\s@]+@[^\\s@]+"), "for `smtp`: who sends", "batchedit@example.com"),
    Key("to", ListOf(Text("[^\\s@]+@[^\\s@]+"), or_one=True), "for `smtp`: who receives", ["ops@example.com"]),
    Key("command", ListOf(Text()), "for `exec`: the program and its arguments; no shell. The notice is its standard"
        " input, as JSON", ["/usr/local/bin/page", "--team", "studio"]),
    Key("timeout", Number(whole=False), "seconds that sending may take; default 10", 10),
)  # fmt: skip

JOB_KEYS = Keys(
    (
        Key("job", Number(most=1), "always 1: that this is a job, and no manifest", 1),
        Key("name", Text(), "what it is called in notices; default: the file's name", "nightly-catalog"),
        Key("do", Choice(DOES), "`run` (default); `reconcile`: bring home what is paid, buy nothing; `report`: only"
            " write reports and exports", "run"),
        Key("manifests", ListOf(Keys(MANIFEST_KEYS, required=("manifest",), instead=Text())),
            "what is to be done, one after the other", ["autumn.yaml"]),
        Key("ledgers", ListOf(Text(), or_one=True), "with `do: report`: ledgers or output folders", ["../out"]),
        Key("out", Text("(?:.|\\n)+"), "output folder of manifests that name none; default `out`", "../out"),
        Key("provider", Keys(SELLER_KEYS, instead=Text()), "who does the edits, instead of what manifests say",
            "runflow"),
        Key("rehearse", Flag(), "`true`: the built-in provider and a tree of its own, as `--rehearse`", True),
        Key("limits", Keys(LIMIT_KEYS), "as in a manifest, and before what it says", {"rpm": 60}),
        Key("budget", Keys(BUDGET_KEYS), "how much may be spent; the smallest of all limits holds", {"night": "40.00"}),
        Key("zone", Text("(?:.|\\n)+"), "the time zone whose clock and calendar count, for window, nights, months and"
            " reports; default UTC", "Europe/Berlin"),
        Key("window", Keys(WINDOW_KEYS, required=("from", "until")), "when it may send",
            {"from": "19:00", "until": "06:00"}),
        Key("pilot", Keys(PILOT_KEYS, required=("tasks",)), "a sample that is bought first, and what it must show"
            " before the rest is", {"tasks": 20, "max_failed": 10}),
        Key("report", Keys(REPORT_KEYS), "files that are written when it ends; `{{ night }}`, `{{ month }}` and"
            " `{{ name }}` may stand in their names", {"html": "reports/{{ night }}.html"}),
        Key("export", Keys(EXPORT_KEYS), "likewise, of the ledger", {"csv": "exports/{{ night }}.csv"}),
        Key("events", Text("(?:.|\\n)+"), "file of every change of state, a line of JSON each, as `run --events`; its"
            " name as those of reports", "events/{{ night }}.ndjson"),
        Key("log", Keys(LOG_KEYS, required=("file",), instead=Text("(?:.|\\n)+")), "what happened, in a file that is"
            " moved aside before it grows too large", "logs/{{ month }}.log"),
        Key("notify", ListOf(Keys(NOTIFY_KEYS, required=("via",))), "who is told how it ended", [{"via": "slack",
            "url_env": "SLACK_WEBHOOK_URL"}]),
    ),
    required=("job",),
)  # fmt: skip
