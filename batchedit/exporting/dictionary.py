"""
What each column of the ledger's views means, in one place: `docs/ledger.md`, Datasette and the tests read it here.

A line with bars is a column: name, unit, meaning. A line of names only stands for columns that several views share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view: its unit (or what kind of text it is) and what it means."""

    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """
    A view for others.

    Attributes:
        facets: Columns whose values are worth counting beside the rows.
        order: What to sort by, largest or latest first; empty for the ledger's own order.
    """

    title: str
    about: str
    columns: Mapping[str, Column]
    facets: tuple[str, ...]
    order: str


_SHARED = """
slot | text | the task's stable name: item/edit/variant, in which `/` and `%` of a part are escaped
item_id | text | the item: the row's id in the manifest
edit | text | the edit's name
variant | text | the variant's name, empty without one
labels | JSON object | name -> value of the task's labels
request_key | hex | SHA-256 of what is bought; equal tasks have the same
state | word | where the request stands: pending, sending, accepted, fetching, unknown, done, failed, suspect, lost
code | word | the class of what went wrong, empty if nothing did
reason | text | what went wrong, in words
retryable | 0 or 1 | whether `retry` may ask again
provider | text | who does the edits
model | text | the provider's name of the model
quality | word | low, medium or high
size | text | WIDTHxHEIGHT, a preset, or auto
format | word | png, jpeg or webp
samples | count | pictures wanted of one request
revision | count | 1, and one more each time the slot was deliberately bought again
place | text | file and line of the row
paths | JSON list | where its pictures shall go, below the output folder
run | id | the run that wanted it last, as in v_runs
created_at | ISO, UTC | when it was first recorded
changed_at | ISO, UTC | when the request's state last changed
quote_low_microusd | micro-dollars | the listed price, before it was bought
quote_high_microusd | micro-dollars | the worst price, which was reserved
spent_microusd | micro-dollars | what was billed, surplus runs included
spent_usd | dollars, text | the same, exact, with six decimals
at_risk_microusd | micro-dollars | what may still be billed: open at its worst price, and the open part of a price range
at_risk_usd | dollars, text | the same, exact, with six decimals
attempts | count | tries, refused and throttled ones included
throttled | count | of these, refused for their rate (429)
requests | count | requests whose first attempt is among them, so that each counts once
pictures | count | pictures that were kept
useful_microusd | micro-dollars | the part of spent for pictures that are wanted
wasted_microusd | micro-dollars | the rest of spent; v_waste has it one by one
basis | word | where the cost comes from: reported, computed, assumed, none; several with commas
outcome | word | how the attempt ended, open while it has not
day | ISO date, UTC | when the attempt ended, or began if it is open
position | number | the order in which they were first recorded
"""

_VIEWS = """
# v_tasks | Tasks | One row for each task that has a request. | state,edit,verdict,model | position
position slot item_id edit variant labels state
shared | 0 or 1 | 1 if another task bears the cost of the request
request_key revision place paths
file | text | its first delivered picture, below the output folder; empty if there is none
sha256 | hex | of that picture's bytes
files | count | delivered pictures
verdict | word | approved or rejected, as last said about these pictures; empty if nobody has
verdict_reason | text | why
decided_at | ISO, UTC | when
code reason retryable provider model quality size format samples attempts basis
spent_microusd | micro-dollars | what was billed for its request; 0 if another task bears it
spent_usd
at_risk_microusd | micro-dollars | what may still be billed for it; 0 if another task bears it
at_risk_usd run created_at changed_at
# v_waiting | Waiting tasks | One row for each task that starts from a picture which is not there yet. | edit | position
position slot item_id edit variant labels
upstream | text | slot of the task whose picture it starts from
waits_until | word | done or approved: what must have become of that
place paths provider quote_low_microusd quote_high_microusd run created_at
# v_requests | Requests | One row for each different thing to buy. | state,outcome,basis,edit | position
position request_key
slot | text | the task that bears the cost
item_id edit variant labels state code reason retryable provider model quality size format
samples revision
tasks | count | tasks that it serves now
attempts
outcome | word | of the last attempt: open while it has not ended, empty if there was none
last_at | ISO, UTC | when that ended, or began if it is open
pictures basis spent_microusd spent_usd at_risk_microusd at_risk_usd quote_low_microusd quote_high_microusd run
created_at changed_at
# v_attempts | Attempts | One row for each try at a request. | outcome,money_use,day,edit | id
id | number | the attempt's own, in the order in which they began
request_key slot item_id edit variant labels provider model quality size
number | count | 1 for a request's first attempt
run | id | the run that made it, as in v_runs
started_at | ISO, UTC | before its first byte was sent
accepted_at | ISO, UTC | when the provider was known to have it
ended_at | ISO, UTC | when its outcome was known
day
seconds | seconds | from its beginning to its end
queue_seconds | seconds | from its request being wanted in that run to its beginning; empty but for the first in a run
outcome
money_use | word | useful, superseded, rejected, suspect, lost, written off, failed but billed, open or nothing
provider_run_id | text | the provider's own name for it
http_status | number | of the answer that decided it
code | word | the class of that answer
message | text | what it said, without secrets
pictures basis
cost_microusd | micro-dollars | what was billed for it
surplus_microusd | micro-dollars | what further runs of it cost that nobody wanted
spent_microusd spent_usd at_risk_microusd at_risk_usd
# v_cost_day | Cost by day | One row for each day (UTC) with attempts. | | day
day requests attempts throttled pictures spent_microusd spent_usd useful_microusd wasted_microusd at_risk_microusd
at_risk_usd
# v_cost_label | Cost by label | One row for each value of each label. | label | spent_microusd
label | text | the label's name; the rows of one label add up to the total
value | text | its value; (none) for tasks without this label
requests attempts throttled pictures spent_microusd spent_usd useful_microusd wasted_microusd at_risk_microusd
at_risk_usd
# v_waste | Waste | One row for each cost that brought nothing which is wanted. | kind,edit,day | amount_microusd
kind | word | rejected, superseded, suspect, lost, written off, failed but billed, or double (a run that nobody wanted)
attempt | number | id in v_attempts
request_key slot item_id edit variant labels run day outcome basis
amount_microusd | micro-dollars | what it cost
amount_usd | dollars, text | the same, exact, with six decimals
# v_failures | Failures | One row for each reason why tasks are not done. | state,code | tasks
state code reason retryable
tasks | count | tasks that it keeps from being done
spent_microusd spent_usd at_risk_microusd at_risk_usd
first_at | ISO, UTC | when the first of them came to this state
last_at | ISO, UTC | when the last of them did
example | text | slot of one of them
# v_runs | Runs | One row for each execution. | manifest,exit_code | run
run | number | its id
chain | number | the first of the runs that this one continues; its own id if it continues none
started_at | ISO, UTC | when it began
ended_at | ISO, UTC | when it ended; empty while it goes on, and for ever if it was killed
seconds | seconds | how long it took
manifest | text | the manifest's name
provider model
program | text | the version of batchedit
price_list | text | the version of the price list
exit_code | number | how it ended; the README has the codes
stop_reason | text | why it stopped before everything was done
budget_microusd | micro-dollars | the most that it might spend; empty without one
budget_usd | dollars, text | the same, exact, with six decimals
attempts
done | count | of these, those that ended with pictures
throttled spent_microusd spent_usd at_risk_microusd at_risk_usd
# v_checks | Checks | One row for each check of a delivered file. | name,verdict,edit | checked_at
slot item_id edit variant labels
number | count | which of the task's pictures
name | word | the check, as in the manifest; post if the file could not be made, or lost something on the way
verdict | word | passed, warned or failed
measured | text | what was found, in words
wanted | text | what it should be
file | text | the picture, below the output folder; empty if there is none
sha256 | hex | of the bytes that were looked at
checked_at | ISO, UTC | when
# v_decisions | Decisions | One row for each time that somebody said something about pictures. | verdict,reason,who | id
id | number | in the order in which they were said
slot item_id edit variant labels
request_key revision
decided_at | ISO, UTC | when
verdict | word | approved, rejected, or undecided: what was said before is taken back
reason | text | why, one of a few words
note | text | whatever else was said
who | text | the reviewer's name
holds | 0 or 1 | 1 for the latest one about the pictures that the task has now
"""


def _column(line: str) -> tuple[str, Column]:
    name, unit, meaning = (part.strip() for part in line.split("|", 2))
    return name, Column(unit, meaning)


def _parse() -> dict[str, View]:
    shared = dict(map(_column, _SHARED.strip().splitlines()))
    views: dict[str, View] = {}
    columns: dict[str, Column] = {}
    for line in _VIEWS.strip().splitlines():
        if line.startswith("# "):
            name, title, about, facets, order = (part.strip() for part in line.removeprefix("# ").split("|"))
            columns = {}
            views[name] = View(title, about, columns, tuple(facets.split(",")) if facets else (), order)
        elif "|" in line:
            columns.update([_column(line)])
        else:
            columns.update((name, shared[name]) for name in line.split())
    return views


VIEWS: Mapping[str, View] = _parse()
"""The views by name, with their columns in order."""


def as_markdown() -> str:
    """The views and their columns as tables, for `docs/ledger.md`."""
    parts = []
    for name, view in VIEWS.items():
        rows = [f"| `{column}` | {each.unit} | {each.meaning} |" for column, each in view.columns.items()]
        head = f"## {name}\n\n{view.about}\n\n| column | unit | meaning |\n| --- | --- | --- |\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)
