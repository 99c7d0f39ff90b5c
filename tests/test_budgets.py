"""The budget of one request, of one label's value and of one edit; notes on the way; and that no limit is ever passed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.budget import Account, Budget, Name
from batchedit.money import MicroUSD
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture
from tests.test_crash import wait_for

Cli = Callable[..., Result]
Serve = Callable[..., Served]
RUN = ("run", "night.yaml", "--out", "out", "--json", "--no-input")
NAMES: list[Name] = [
    ("client", "acme"), ("client", "globex"), ("edit", "white"), ("season", "AW"), ("", "", "the night"),
    ("client", "acme", "the night"),
]  # fmt: skip


def test_a_task_is_charged_to_everything_that_it_belongs_to() -> None:
    """Its edit and labels, alone and within each period, and to what is for everybody."""
    budget = Budget(accounts={name: Account() for name in [*NAMES, ("", "", "the month")]})
    assert set(budget.accounts_of({"client": "acme", "season": "SS"}, "white")) == {
        ("client", "acme"), ("edit", "white"), ("", "", "the night"), ("", "", "the month"),
        ("client", "acme", "the night"),
    }  # fmt: skip
    assert set(budget.wholes) == {("", "", "the night"), ("", "", "the month")}


# -- no interleaving passes any limit --------------------------------------------------------------------------------


@given(
    whole=st.none() | st.integers(0, 2_000),
    limits=st.lists(st.integers(0, 1_000), min_size=len(NAMES), max_size=len(NAMES)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reserve", "settle", "release", "lose", "again", "surplus"]),
            st.integers(0, 400),
            st.integers(0, 400),
            st.sets(st.sampled_from(NAMES)),
        ),
        max_size=80,
    ),
)
def test_no_order_of_events_passes_a_limit(
    whole: int | None, limits: list[int], steps: list[tuple[str, int, int, set[Name]]]
) -> None:
    """Each account equals what its own requests make of it, and stays within its limit, as does the whole."""
    accounts = {name: Account(limit=MicroUSD(limit)) for name, limit in zip(NAMES, limits, strict=True)}
    budget = Budget(limit=None if whole is None else MicroUSD(whole), accounts=accounts)
    in_flight: dict[str, tuple[int, tuple[Name, ...]]] = {}
    booked: list[tuple[int, int, tuple[Name, ...]]] = []  # cost, doubt
    surplus = 0
    for number, (event, price, cost, of) in enumerate(steps):
        key = f"k{number}"
        if event == "reserve":
            charged = tuple(sorted(of))
            if budget.reserve(MicroUSD(price), key, charged):
                in_flight[key] = (price, charged)
            else:
                full = [*([budget] if whole is not None else []), *(accounts[name] for name in charged)]
                assert any(a.limit is not None and a.spent + a.held + price > a.limit for a in full), "for nothing"
        elif in_flight and event != "surplus":
            key = next(iter(in_flight))
            price, charged = in_flight[key]
            if event == "lose":
                continue  # outcome unknown: it stays held
            del in_flight[key]
            if event == "settle":
                paid = min(cost, price)
                budget.settle(MicroUSD(price), MicroUSD(paid), key, doubt=MicroUSD(price - paid))
                booked.append((paid, price - paid, charged))
            else:
                budget.release(MicroUSD(price), key)
                if event == "again" and budget.reserve(MicroUSD(price), key, charged):
                    in_flight[key] = (price, charged)
        elif in_flight:
            key = next(iter(in_flight))
            budget.settle(
                MicroUSD(0), MicroUSD(cost), key
            )  # a double purchase that the provider made: nobody can stop it
            booked.append((cost, 0, in_flight[key][1]))
            surplus += cost
        for name, account in accounts.items():
            held = sum(p for p, of_ in in_flight.values() if name in of_) + sum(d for _, d, o in booked if name in o)
            assert (account.held, account.spent) == (held, sum(c for c, _, o in booked if name in o))
            assert account.limit is not None
            assert account.spent + account.held <= account.limit + surplus
        assert whole is None or budget.spent + budget.held <= whole + surplus
        assert budget.held == sum(p for p, _ in in_flight.values()) + sum(d for _, d, _ in booked)


@given(st.lists(st.integers(1, 30), max_size=40), st.sets(st.integers(1, 100), max_size=4))
def test_each_threshold_is_told_once(prices: list[int], percents: set[int]) -> None:
    """When it is crossed, highest first; never for what has not been reached."""
    budget = Budget(limit=MicroUSD(200), warn_at=tuple(sorted(percents)))
    told: list[str] = []
    for price in prices:
        if budget.reserve(MicroUSD(price)):
            told += map(str, budget.warnings())
            budget.settle(MicroUSD(price), MicroUSD(price))
            told += map(str, budget.warnings())
    crossed = {percent for percent in percents if 100 * budget.spent >= percent * 200}
    said = [int(text.split(" ")[0]) for text in told]
    assert said == sorted(set(said))
    assert set(said) <= crossed
    assert not crossed or max(said) == max(crossed)


# -- by the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def clients(shop: Shop) -> Shop:
    """Twelve pictures, half of them for each of two clients."""
    rows = []
    for number in range(12):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (20 * number, 90, 200 - 10 * number), side=64)
        client = ["acme", "globex"][number % 2]
        rows.append({"id": f"p{number:02}", "image": f"many/p{number:02}.png", "client": client})
    shop.table("rows.csv", rows)
    return shop


def manifest(shop: Shop, budget: str, more: str = "") -> Path:
    return shop.write(
        "night.yaml",
        "version: 1\ndefaults: {quality: low, prompt: grayscale, labels: {client: '{{ client }}'}}\n"
        f"budget: {budget}\nsources: [{{csv: rows.csv}}]\n{more}",
    )


def spent(by: str) -> dict[str, int]:
    """What was spent by a label, from the ledger."""
    with database("out/.batchedit/ledger.db") as db:
        column = "edit" if by == "edit" else f"json_extract(labels, '$.{by}')"
        return dict(
            db.execute(
                f"SELECT {column}, sum(cost_microusd + doubt_microusd) FROM attempts JOIN requests ON key = attempts.request_key"
                f" JOIN tasks ON slot = buyer_slot GROUP BY {column}"
            ).fetchall()
        )


def test_one_client_s_budget_stops_only_its_own_edits(clients: Shop, cli: Cli) -> None:
    """The others go on; exit code 6 with the label's name; raised, the same command goes on."""
    manifest(clients, "{run: 5, per: {client: {acme: 0.03}}}")
    result = cli(*RUN)
    assert result.code == 6, result.out
    assert (
        "the budget for client acme is used up: $0.003 is left, its next edit may cost up to $0.01"
        in (result.json()["reason"])
    )
    assert "its other edits wait for another run" in " ".join(result.json()["notes"])
    assert spent("client") == {"acme": 27_000, "globex": 54_000}
    assert result.json()["states"]["pending"] == 3
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["new"] == 3
    manifest(clients, "{run: 5, per: {client: {acme: 1}}}")
    result = cli(*RUN)
    assert result.code == 0, result.out
    assert spent("client") == {"acme": 54_000, "globex": 54_000}


def test_every_edit_may_have_a_budget_and_so_may_a_chain(clients: Shop, cli: Cli) -> None:
    """`edit` is the edit's name; what starts from another edit is charged when it is bought."""
    more = "edits: {white: {}, scene: {from: white, prompt: warmer}}\n"
    manifest(clients, "{run: 5, per: {edit: {scene: 0.05}, client: {globex: 0.07}}}", more)
    result = cli(*RUN)
    assert result.code == 6, result.out
    by_edit, by_client = spent("edit"), spent("client")
    assert by_edit["scene"] <= 50_000
    assert by_client["globex"] <= 70_000
    assert (by_edit["white"], by_client["acme"]) == (108_000, sum(by_edit.values()) - by_client["globex"])
    assert "edit scene" in result.json()["reason"]
    # Two limits meet: whatever could still be afforded was bought.
    assert by_edit["scene"] > 40_000


def test_a_shared_request_is_charged_to_the_first_task(clients: Shop, cli: Cli) -> None:
    """As in the report: who comes first bears the cost."""
    clients.table(
        "rows.csv",
        [{"id": f"r{n}", "image": "many/p00.png", "client": client} for n, client in enumerate(("acme", "globex"))],
    )
    manifest(clients, "{run: 5, per: {client: {globex: 0}}}", "")
    text = Path("night.yaml").read_text().replace("prompt: gray", "output: '{{ id }}.png', prompt: gray")
    Path("night.yaml").write_text(text)
    result = cli(*RUN)
    assert (result.code, spent("client")) == (0, {"acme": 9_000}), result.out


def test_the_run_s_budget_still_holds_over_all(clients: Shop, cli: Cli) -> None:
    """A label's budget does not raise the whole one."""
    manifest(clients, "{run: 0.04, per: {client: {acme: 1}}}")
    result = cli(*RUN)
    assert result.code == 6
    assert sum(spent("client").values()) <= 40_000
    assert result.json()["reason"].startswith("the budget is used up")


@pytest.mark.parametrize("flag", [(), ("--budget", "5")])
def test_notes_on_the_way(clients: Shop, cli: Cli, flag: tuple[str, ...]) -> None:
    """Half and most of it, said once each, while it happens and at the end."""
    manifest(clients, "{run: 0.12, per: {client: {acme: 0.06}}, warn_at: [50, 80]}", "limits: {concurrency: 1}\n")
    result = cli("run", "night.yaml", "--out", "out", "--no-input", *flag)
    assert result.code == 0, result.err
    notes = [line for line in result.out.splitlines() if " is spent or held: " in line]
    expected = [
        *(["50 % of the budget", "80 % of the budget"] if not flag else []),
        "50 % of the budget for client acme",
        "80 % of the budget for client acme",
    ]
    assert sorted(note.split(" is ")[0] for note in notes) == sorted(expected)
    assert all(f"note: {note}" in result.err for note in notes)


def test_a_crash_does_not_refill_a_client_s_budget(clients: Shop, serve: Serve, cli: Cli) -> None:
    """What an interrupted run spent on a label counts in the run that goes on with it; so does what is in flight."""
    served = serve(latency=(0.2, 0.4))
    provider = f"provider: {{name: runflow, base_url: '{served.url}'}}\n"
    limits = "limits: {timeout: 5, list_lag: 0, deadline: 20, poll: 0.1, concurrency: 2}\n"
    manifest(clients, "{run: 5, per: {client: {acme: 0.04}}}", provider + limits)
    process = command(*RUN, cwd=clients.root, key=KEY)
    wait_for(lambda: len(served.audit()["starts"]) >= 5)
    process.kill()
    process.communicate()
    result = cli(*RUN)
    assert result.code == 6, result.out
    assert spent("client") == {"acme": 36_000, "globex": 54_000}
    assert served.audit()["billed_microusd_total"] == 90_000


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            "{run: 5, per: {client: {acmee: 1}}}",
            'night.yaml:3:33: "budget.per.client": no task has the client \'acmee\'. Did you mean "acme"?',
        ),
        (
            "{run: 5, per: {cleint: {acme: 1}}}",
            'night.yaml:3:33: "budget.per.cleint": no task has a label \'cleint\'. Did you mean "client"?',
        ),
        (
            "{run: 5, per: {edit: {whiet: 1}}}",
            "night.yaml:3:31: \"budget.per.edit\": no task has the edit 'whiet'",
        ),
        (
            "{run: 5, per_request: 0.005}",
            (
                'rows.csv:2: "budget.per_request": this may cost up to $0.01, and one request may cost $0.005.'
                " Choose a lower quality, a smaller size or fewer pictures, or raise budget.per_request"
                " (12 rows, first shown)"
            ),
        ),
    ],
)
def test_a_budget_that_cannot_be_meant(clients: Shop, cli: Cli, budget: str, message: str) -> None:
    """Refused by `plan` and by `run`, before anything is sent."""
    manifest(clients, budget)
    for arguments in (("plan", "night.yaml", "--out", "out"), RUN):
        result = cli(*arguments)
        assert result.code == 2
        assert message in result.err
    assert not Path("out").exists()


def test_what_is_bought_already_may_have_been_dearer(clients: Shop, cli: Cli) -> None:
    """The price of one request is a limit on what is to be bought, not on what is done."""
    manifest(clients, "{run: 5}")
    assert cli(*RUN).code == 0
    manifest(clients, "{run: 5, per_request: 0.005}")
    assert cli(*RUN).code == 0


def test_the_plan_names_the_budgets(clients: Shop, cli: Cli) -> None:
    """For people, ten of them."""
    manifest(clients, "{run: 5, per: {client: {acme: 1, globex: 0.5}}}")
    text = cli("plan", "night.yaml", "--out", "out").out
    assert (
        "  budget   $5.00\n           at most $1.00 for client acme\n           at most $0.50 for client globex" in text
    )


def test_the_plan_says_which_budget_of_its_own_may_not_be_enough(clients: Shop, cli: Cli) -> None:
    """As it says of the whole one, and first among many; what is bought already needs nothing."""
    manifest(clients, "{run: 5, per: {client: {acme: 1, globex: 0.005}, edit: {edit: 5}}}")
    short = "at most $0.005 for client globex (may not be enough: up to $"
    lines = cli("plan", "night.yaml", "--out", "out").out.splitlines()
    assert lines[-3].strip().startswith(short)
    assert [line.strip() for line in lines[-2:]] == ["at most $1.00 for client acme", "at most $5.00 for edit edit"]
    manifest(clients, "{run: 5}")
    assert cli(*RUN).code == 0
    manifest(clients, "{run: 5, per: {client: {acme: 1, globex: 0.005}}}")
    assert "may not be enough" not in cli("plan", "night.yaml", "--out", "out").out
