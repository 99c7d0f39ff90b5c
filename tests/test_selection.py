"""The language of selections, and what it does to plans, runs, lists and reports."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit import load_manifest, make_plan, render_report
from batchedit.errors import NothingSelected, UsageError
from batchedit.ledger.listing import line_in
from batchedit.selecting import Sample
from batchedit.selection import parse_selection
from batchedit.selectors import BadSelector, parse
from tests.conftest import Result, Served, Shop, database

Cli = Callable[..., Result]
Serve = Callable[..., Served]


@dataclass
class Fake:
    """A task to be selected."""

    id: str = "BOOT-01"
    edit: str = "white"
    variant: str = "long"
    labels: Mapping[str, str] = field(default_factory=lambda: {"client": "acme", "season": "AW 25"})
    tags: Collection[str] = ("hero", "sale")
    line: int | None = 150
    status: str | None = "failed"
    code: str = "MODERATION"
    review: str = "rejected"
    review_reason: str = "halo"
    checks: tuple[tuple[str, str], ...] = (("fill", "warned"), ("white_border", "failed"))
    start: str = "replaced"
    cost: int = 200_000
    verdict: str | None = "in-flight"
    runs: tuple[int, ...] = (2, 3)

    def in_run(self, number: int | None) -> bool:
        return (3 if number is None else number) in self.runs


TASK = Fake()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("BOOT-01", True),
        ("BOOT-1", False),
        ("id:BOOT-*", True),
        ("id:boot-*", False),
        ("id:BOOT-0[1-3]", True),
        ("id:BOOT-0?", True),
        ("id:'BOOT-*'", False),
        ("edit:white", True),
        ("edit:gr?y|white", True),
        ("variant:short", False),
        ("client:acme", True),
        ("client:acm", False),
        ('season:"AW 25"', True),
        ("season:AW*", True),
        ("brand:*", False),
        ("tag:hero", True),
        ("tag:her", False),
        ("status:failed", True),
        ("status:done|failed", True),
        ("status:fail*", True),
        ("class:MODERATION", True),
        ("class:*", True),
        ("verdict:rejected", True),
        ("verdict:approved|none", False),
        ("reason:halo", True),
        ("reason:h*|crop", True),
        ("reason:crop", False),
        ("check:fill", True),
        ("check:white_*", True),
        ("check:not_blank", False),
        ("check:failed", True),
        ("check:warned,check:fill", True),
        ("status:waiting", False),
        ("state:in-flight", True),
        ("state:new|changed|done", False),
        ("run:last", True),
        ("run:2", True),
        ("run:1", False),
        ("line:150", True),
        ("line:120-180", True),
        ("line:151-", False),
        ("line:-150", True),
        ("line:1-9|150", True),
        ("cost:>0.20", False),
        ("cost:>=0.20", True),
        ("cost:$0.2", True),
        ("cost:<1", True),
        ("client:acme,edit:white", True),
        ("client:acme,edit:grey", False),
        ("client:acme,edit:grey BOOT-01", True),
        ("nobody client:other", False),
        ("  BOOT-01  ", True),
        ("@nightly", True),
        ("@nightly,variant:short", False),
        ("@both,variant:long", True),
    ],
)
def test_what_a_selector_means(text: str, meant: bool) -> None:
    """Terms are alternatives, conditions hold together, wildcards tell capitals from small letters."""
    named = {"nightly": ("client:acme,edit:white",), "both": ("nobody", "@nightly")}
    assert parse_selection([text], named=named).meant(TASK) is meant
    assert parse_selection((), [text], named=named).meant(TASK) is not meant


@pytest.mark.parametrize(
    ("text", "position", "message", "hint"),
    [
        ("status:fialed", 8, "there is no status 'fialed'", "Did you mean 'failed'?"),
        ("edit:white state:chnaged", 18, "there is no state 'chnaged'", "Did you mean 'changed'?"),
        ("line:abc", 6, "'abc' is no range of lines", "Such as: line:120-180"),
        ("line:9-3", 6, "'9-3' is no range of lines", "Such as: line:120-180"),
        ("line:-", 6, "'-' is no range of lines", "Such as: line:120-180"),
        ("cost:cheap", 6, "'cheap' is no comparison with an amount", "Such as: cost:>0.20"),
        ("cost:>1.2.3", 6, "'>1.2.3' is no comparison with an amount", "Such as: cost:>0.20"),
        ("run:next", 5, "'next' is no run", "It is last, or the number of a run"),
        ("run:0", 5, "'0' is no run", "It is last, or the number of a run"),
        ("id:", 3, "a value is missing", ""),
        ("edit:a||b", 8, "a value is missing", ""),
        ("edit:a,", 8, "a condition is missing beside the comma", ""),
        (",edit:a", 1, "a condition is missing beside the comma", ""),
        ("", 1, "it is empty", "Such as: client:acme,edit:white"),
        ("   ", 1, "it is empty", "Such as: client:acme,edit:white"),
        ("id:'BOOT", 4, "the quote ' is not closed", ""),
        ("1:x", 1, "'1' is no method", "Known are: id, edit, variant"),
        ("verdict:rejceted", 9, "there is no verdict 'rejceted'", "Did you mean 'rejected'?"),
        ("a,reason:", 9, "a value is missing", ""),
        ("@nihgtly", 1, "the manifest has no selector 'nihgtly'", "Did you mean 'nightly'?"),
        ("@loop", 1, "the selector @loop contains itself", ""),
    ],
)
def test_what_cannot_be_read_is_told_where(text: str, position: int, message: str, hint: str) -> None:
    """The character, what is wrong, and the near word."""
    with pytest.raises(BadSelector) as caught:
        parse(text, named={"nightly": ("a",), "loop": ("@loop",)})
    bad = caught.value
    assert (bad.position, bad.message) == (position, message)
    assert bad.hint.startswith(hint)
    assert bool(bad.hint) == bool(hint)


@given(st.text(max_size=40))
def test_any_string_is_read_or_refused(text: str) -> None:
    """Nothing else comes out, and a position lies within the string."""
    found: BadSelector | None = None
    try:
        terms = parse(text, named={})
    except BadSelector as bad:
        found = bad
    else:
        assert terms
        parse_selection([text], named={}).meant(TASK)
    assert found is None or 1 <= found.position <= len(found.text) + 1


@given(st.text(min_size=1, max_size=20).filter(lambda text: '"' not in text))
def test_a_quoted_text_stands_for_itself(text: str) -> None:
    """Whatever letters it has."""
    assert parse_selection([f'id:"{text}"']).meant(Fake(id=text)) is True
    assert parse_selection([f'id:"{text}"']).meant(Fake(id=text + "x")) is False


def test_what_hangs_on_a_verdict_is_not_decided_before_it() -> None:
    """Neither yes nor no, unless the rest decides."""
    unknown = Fake(verdict=None)
    for select, exclude, meant in (
        ("state:new", "", None),
        ("state:new,edit:grey", "", False),
        ("state:new edit:white", "", True),
        ("edit:white", "state:new", None),
        ("edit:white", "state:new,edit:grey", True),
        ("edit:white", "client:acme state:new", False),
    ):
        selection = parse_selection([select], [exclude] if exclude else [])
        assert selection.meant(unknown) is meant, (select, exclude)


@pytest.mark.parametrize(
    ("place", "line"), [("jobs.csv:12", 12), ("a:b.yaml:7:3", 7), ("in/a.png", None), ("C:in.png", None)]
)
def test_the_line_of_a_place(place: str, line: int | None) -> None:
    """Files may have colons in their names."""
    assert line_in(place) == line


# -- the commands ----------------------------------------------------------------------------------------------


ROWS = [
    {"id": "BOOT-01", "image": "in/mug.png", "label.client": "acme"},
    {"id": "BOOT-02", "image": "in/shoe.png", "label.client": "acme"},
    {"id": "HAT-01", "image": "in/lamp.png", "label.client": "zeta"},
]
HEAD = (
    "version: 1\nselectors: {nightly: 'client:acme', both: ['@nightly', HAT-01]}\n"
    "edits:\n  white: {prompt: on white}\n  grey: {prompt: grayscale}\n"
    "defaults: {quality: low, output: '{{ edit }}/{{ id }}.png'}\nsources: [{csv: rows.csv}]\n"
)


@pytest.fixture
def night(shop: Shop) -> Shop:
    """Six tasks."""
    shop.table("rows.csv", ROWS)
    shop.write("night.yaml", HEAD)
    return shop


def slots(cli: Cli, *more: str) -> list[str]:
    """What the ledger holds."""
    return [task["slot"] for task in cli("ls", "--json", "slot", *more).json()]


@pytest.mark.parametrize(
    ("flags", "tasks"),
    [
        (("--select", "client:acme"), 4),
        (("--select", "client:acme,edit:white"), 2),
        (("--select", "BOOT-* HAT-*"), 6),
        (("--select", "BOOT-01", "--select", "HAT-01"), 4),
        (("--exclude", "edit:grey"), 3),
        (("--select", "BOOT-*", "--exclude", "BOOT-02"), 2),
        (("--select", "@nightly"), 4),
        (("--select", "@both", "--exclude", "edit:grey"), 3),
        (("--select", "line:3-4"), 4),
        (("--select", "state:new"), 6),
        (("--exclude", "status:done"), 6),
        (("--sample", "2"), 2),
        (("--sample", "2", "--stratify", "client,edit", "--select", "edit:white"), 2),
    ],
)
def test_a_plan_of_a_part(cli: Cli, night: Shop, flags: tuple[str, ...], tasks: int) -> None:
    """Counts and money are those of what is meant; how much is left out is said."""
    plan = cli("plan", "night.yaml", "--json", *flags).json()
    assert (plan["tasks"], plan["not_selected"]) == (tasks, 6 - tasks)
    assert plan["requests_to_buy"] == tasks
    assert cli("plan", "night.yaml", *flags).code == 0


def test_the_library_takes_the_same_strings(night: Shop) -> None:
    """And what is in them is refused in the same way."""
    manifest = load_manifest("night.yaml")
    plan = make_plan(manifest, select=["client:acme"], exclude=["edit:grey"])
    assert (plan.figures.tasks, plan.choice.left_out) == (2, 4)
    assert make_plan(manifest, ids=["HAT-01"]).figures.tasks == 2
    assert make_plan(manifest, sample=Sample(size=3)).figures.tasks == 3
    with pytest.raises(UsageError, match="character 8"):
        make_plan(manifest, select=["status:fialed"])
    with pytest.raises(NothingSelected):
        make_plan(manifest, ids=["nobody"])


def test_a_run_of_a_part_buys_that_part(cli: Cli, night: Shop) -> None:
    """The rest is not even recorded; the next run buys it, and what is bought is not bought twice."""
    first = cli("run", "night.yaml", "--select", "edit:white", "--json").json()
    assert first["states"]["done"] == 3
    assert slots(cli) == ["BOOT-01/white", "BOOT-02/white", "HAT-01/white"]
    second = cli("run", "night.yaml", "--json").json()
    assert (second["states"]["done"], second["spent"]) == (6, first["spent"])
    assert cli("run", "night.yaml", "--json").json()["spent"] == "0.00"


def test_what_is_not_selected_stays_as_it_is(cli: Cli, night: Shop) -> None:
    """Its row in the ledger, its file, its place in the queue."""
    cli("run", "night.yaml", "--json", "--budget", "0.02")  # stops before the end: some wait
    with database("out/.batchedit/ledger.db") as db:
        before = db.execute("SELECT * FROM tasks WHERE item_id <> 'HAT-01' ORDER BY slot").fetchall()
        waiting = db.execute("SELECT count(*) FROM requests WHERE state = 'pending'").fetchone()[0]
    assert waiting > 2
    night.table("rows.csv", [*ROWS[:1], {**ROWS[1], "label.client": "other"}, ROWS[2]])
    result = cli("run", "night.yaml", "--json", "--select", "HAT-01")
    assert result.json()["states"]["done"] == 2
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT * FROM tasks WHERE item_id <> 'HAT-01' ORDER BY slot").fetchall() == before
        assert db.execute("SELECT count(*) FROM requests WHERE state = 'pending'").fetchone()[0] < waiting


def test_what_is_paid_is_followed_whatever_is_selected(cli: Cli, shop: Shop, serve: Serve) -> None:
    """A request that the provider has accepted is brought home by the next run of any part."""
    served = serve(latency=(30.0, 30.0))
    served.manifest(shop, limits="{timeout: 5, list_lag: 0, deadline: 1, poll: 0.1}")
    assert cli("run", "night.yaml", "--json", "--select", "mug").json()["states"]["accepted"] == 1
    result = cli("run", "night.yaml", "--json", "--select", "shoe").json()
    assert result["states"]["accepted"] == 2  # both are followed; neither ends within its second
    assert len(served.audit()["runs"]) == 2


def test_a_finished_part_is_not_a_finished_night(cli: Cli, shop: Shop) -> None:
    """The mark that spares reading the rows again is for whole manifests only, also when all was done before."""
    shop.write(
        "rows.csv", "id,image,prompt\na,https://example.com/a.jpg,on white\nb,https://example.com/b.jpg,on white\n"
    )
    shop.write("night.yaml", "version: 1\nsources: [{csv: rows.csv}]\n")
    assert cli("run", "night.yaml", "--json", "--select", "a").code == 0
    assert cli("plan", "night.yaml", "--json").json()["counts"]["new"] == 1
    assert cli("run", "night.yaml", "--json").code == 0
    part = cli("plan", "night.yaml", "--json", "--select", "a").json()
    assert (part["counts"]["done"], part["not_selected"]) == (1, 1)
    assert cli("plan", "night.yaml", "--json", "--select", "c").code == 5


def test_names_of_tasks_that_are_not_selected_stay_taken(cli: Cli, night: Shop) -> None:
    """Two tasks with one name are a problem, whichever is selected; a file of another task is not taken over."""
    night.write("clash.yaml", HEAD.replace("{{ edit }}/{{ id }}", "{{ id[:4] }}"))
    result = cli("plan", "clash.yaml", "--select", "BOOT-01,edit:white")
    assert result.code == 2
    assert "is also that of" in result.err
    assert cli("run", "night.yaml", "--json", "--select", "BOOT-01").code == 0
    night.write("two.yaml", HEAD.replace("{{ edit }}/{{ id }}", "{{ edit }}/{{ var_name }}"))
    names = {"BOOT-01": "other", "BOOT-02": "BOOT-01", "HAT-01": "hat"}
    night.table("rows.csv", [{**row, "var_name": names[row["id"]]} for row in ROWS])
    result = cli("plan", "two.yaml", "--select", "BOOT-02")
    assert result.code == 2
    assert "is that of the task BOOT-01/white, which is not selected, or not in this manifest" in result.err
    assert cli("plan", "two.yaml", "--json").json()["counts"]["render"] == 2


def test_pictures_of_tasks_that_are_not_selected_are_not_read(cli: Cli, night: Shop) -> None:
    """One that is no picture is no problem for the others; a verdict needs all of them."""
    (night.root / "in/lamp.png").write_text("no picture")
    assert cli("plan", "night.yaml", "--select", "client:acme", "--json").json()["tasks"] == 4
    assert cli("plan", "night.yaml", "--select", "state:new").code == 2


@pytest.mark.parametrize(("asked", "no_method"), [("client:acme", "client"), ("edti:white", "edti")])
def test_where_there_are_no_labels_nothing_is_guessed(cli: Cli, jobs: Path, asked: str, no_method: str) -> None:
    """Another word for a label is no slip in the name of a method; what can be asked is listed."""
    result = cli("plan", "jobs.csv", "--select", asked)
    assert result.code == 2
    assert f"no task has a label {no_method!r}\n  No task has any label; what can be asked is: id, edit," in result.err
    assert "Did you mean" not in result.err


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--select", "id:BOOT-1"), 5, ["none of the 6 tasks of night.yaml is selected", "nearest: id:BOOT-01"]),
        (("--select", "edit:whit"), 5, ["nearest: edit:white"]),
        (("--select", "client:acne"), 5, ["nearest: client:acme"]),
        (("--select", "status:done"), 5, ["none of the 6 tasks"]),
        (("--select", "BOOT-*", "--exclude", "client:acme"), 5, ["none of the 6 tasks"]),
        (("--select", "clinet:acme"), 2, ["character 1: no task has a label 'clinet'", "Did you mean 'client'?"]),
        (("--exclude", "BOOT-01,clinet:x"), 2, ["--exclude 'BOOT-01,clinet:x', character 9", "Did you mean 'client'?"]),
        (("--select", "status:fialed"), 2, ["--select 'status:fialed', character 8", "Did you mean 'failed'?"]),
        (("--select", "@nigthly"), 2, ["the manifest has no selector 'nigthly'", "Did you mean 'nightly'?"]),
        (("--sample", "2", "--stratify", "clinet"), 2, ["no task has a label 'clinet'", "Did you mean 'client'?"]),
        (("--stratify", "client"), 2, ["--stratify belongs to --sample"]),
        (("--ids-from", "nowhere.txt"), 2, ["--ids-from: nowhere.txt: No such file"]),
        (("--ids-from", "in/mug.png"), 2, ["--ids-from: in/mug.png is not UTF-8 text"]),
    ],
)
def test_a_slip_is_told(cli: Cli, night: Shop, flags: tuple[str, ...], code: int, words: list[str]) -> None:
    """Before anything is written."""
    for command in ("plan", "run"):
        result = cli(command, "night.yaml", *flags)
        assert result.code == code
        for word in words:
            assert word in result.err
    assert not Path("out").exists()


def test_ids_from_a_file_or_standard_input(cli: Cli, night: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """They narrow down whatever else is selected; those that nobody has are named."""
    night.write("ids.txt", "\ufeffBOOT-01\n\n  HAT-01  \nHAT-99\n")
    result = cli("plan", "night.yaml", "--ids-from", "ids.txt", "--select", "edit:white", "--json")
    assert result.json()["tasks"] == 2
    assert result.json()["warnings"][0]["message"] == "no item has the id 'HAT-99'"
    monkeypatch.setattr("sys.stdin", io.StringIO("BOOT-02\n"))
    assert cli("plan", "night.yaml", "--ids-from", "-", "--json").json()["tasks"] == 2


def test_a_sample_is_the_same_each_time_and_counts(cli: Cli, night: Shop) -> None:
    """Also in another order and with new rows, as long as none of those comes before; the full run goes on from it."""
    first = cli("run", "night.yaml", "--sample", "3", "--seed", "7", "--json").json()
    drawn = slots(cli)
    assert len(drawn) == first["states"]["done"] == 3
    night.table("rows.csv", [ROWS[2], ROWS[0], ROWS[1]])
    again = cli("plan", "night.yaml", "--sample", "3", "--seed", "7", "--json").json()
    assert (again["counts"]["done"], again["tasks"]) == (3, 3)
    assert cli("plan", "night.yaml", "--json").json()["counts"]["done"] == 3


def test_a_sample_that_is_too_large_is_pointed_out(cli: Cli, night: Shop) -> None:
    """It is all there is."""
    plan = cli("plan", "night.yaml", "--sample", "20", "--json").json()
    assert plan["tasks"] == 6
    assert "a sample of 20 is larger than what there is: 6" in plan["warnings"][0]["message"]


def test_strata_take_turns(night: Shop) -> None:
    """The rare ones are looked at too."""
    rows = [{"id": f"A{n}", "image": "in/mug.png", "label.client": "acme"} for n in range(60)]
    rows += [{"id": f"Z{n}", "image": "in/mug.png", "label.client": "zeta"} for n in range(2)]
    night.table("rows.csv", rows)
    tasks = list(load_manifest("night.yaml").tasks(make_plan(load_manifest("night.yaml")).findings))
    drawn = Sample(size=12, strata=("client", "edit")).draw(tasks)
    assert sum(slot.startswith("Z") for slot in drawn) == 4
    assert len(drawn) == 12
    more = Sample(size=12, seed="1").draw(tasks)
    assert more != Sample(size=12, seed="2").draw(tasks)
    # Rows that come later push out at most as many as there are.
    fewer = Sample(size=12, seed="1").draw(tasks[:-6])
    assert len(more - fewer) <= 6


def test_a_sample_of_what_is_new(cli: Cli, night: Shop) -> None:
    """Drawn from the verdicts, where the selection hangs on them."""
    cli("run", "night.yaml", "--select", "edit:white", "--json")
    plan = cli("plan", "night.yaml", "--select", "state:new", "--sample", "2", "--json").json()
    assert plan["counts"]["new"] == plan["tasks"] == 2
    assert plan["not_selected"] == 4


def test_a_duplicate_of_what_is_not_selected_is_bought_for_itself(cli: Cli, night: Shop) -> None:
    """Who bears the cost is decided among those that are meant."""
    night.table("rows.csv", [ROWS[0], {**ROWS[1], "image": "in/mug.png"}])
    plan = cli("plan", "night.yaml", "--json").json()
    assert (plan["counts"]["new"], plan["counts"]["duplicate"]) == (2, 2)
    for flags in (("--select", "BOOT-02"), ("--select", "BOOT-02,state:new")):
        plan = cli("plan", "night.yaml", "--json", *flags).json()
        assert (plan["counts"]["new"], plan["counts"]["duplicate"]) == (2, 0)


def test_after_a_run_the_ledger_can_be_asked(cli: Cli, night: Shop) -> None:
    """By state, run and cost, in plans and lists alike."""
    cli("run", "night.yaml", "--select", "client:acme", "--json")
    cli("run", "night.yaml", "--select", "HAT-01,edit:white", "--json")
    for flag, tasks in (("run:1", 4), ("run:last", 1), ("run:2", 1), ("status:done", 5), ("cost:>0", 5), ("cost:0", 1)):
        assert cli("plan", "night.yaml", "--json", "--select", flag).json()["tasks"] == tasks
        if flag != "cost:0":
            assert len(slots(cli, "--select", flag)) == tasks
    assert cli("run", "night.yaml", "--select", "run:last", "--json").json()["states"]["done"] == 1


def test_a_limit_leaves_the_rest_for_another_run(cli: Cli, night: Shop) -> None:
    """The first ones are bought, and the next run goes on after them; equal tasks count once."""
    night.table("rows.csv", [*ROWS, {**ROWS[0], "id": "TWIN"}])
    plan = cli("plan", "night.yaml", "--limit", "3", "--json").json()
    assert (plan["requests_to_buy"], plan["tasks"], plan["not_selected"]) == (3, 5, 3)
    assert "3  beyond --limit: left for another run" in cli("plan", "night.yaml", "--limit", "3").out
    assert cli("run", "night.yaml", "--limit", "3", "--json").json()["states"]["done"] == 3
    assert slots(cli) == ["BOOT-01/white", "BOOT-01/grey", "BOOT-02/white", "TWIN/white", "TWIN/grey"]
    second = cli("run", "night.yaml", "--limit", "2", "--json").json()
    assert second["spent"] == "0.018"
    assert len(slots(cli)) == 7
    assert cli("plan", "night.yaml", "--limit", "9", "--json").json()["requests_to_buy"] == 1
    assert make_plan(load_manifest("night.yaml"), limit=1).figures.purchases == 1


def test_a_limit_leaves_whole_chains(cli: Cli, shop: Shop) -> None:
    """What starts from a picture that is left for another run is left with it, so that plan and run say the same."""
    shop.write("chain.yaml", CHAIN + "limits: {rpm: none}\n")
    plan = cli("plan", "chain.yaml", "--json", "--limit", "1").json()
    assert (plan["tasks"], plan["not_selected"], plan["requests_to_buy"]) == (2, 4, 1)
    assert plan["counts"]["waiting for approval"] == 1
    run = cli("run", "chain.yaml", "--json", "--limit", "1").json()
    assert (run["exit_code"], run["spent"], run["waiting"]) == (0, "0.009", {"approval": 1})
    assert cli("run", "chain.yaml", "--json", "--limit", "5").json()["waiting"] == {"approval": 3}
    # A limit counts pictures, not chains: one may be cut in the middle.
    shop.write("chain.yaml", CHAIN.replace("when: approved, ", ""))
    plan = cli("plan", "chain.yaml", "--json", "--out", "other", "--limit", "3").json()
    assert (plan["requests_to_buy"], plan["not_selected"], plan["counts"]["waiting"]) == (3, 3, 1)
    run = cli("run", "chain.yaml", "--json", "--out", "other", "--limit", "3").json()
    assert (run["exit_code"], run["states"]["done"], run["waiting"]) == (0, 3, {})


def test_a_task_that_is_left_out_late_keeps_its_file(cli: Cli, night: Shop) -> None:
    """Also where its verdict had to be known first: its name is not handed over as long as it stays there."""
    assert cli("run", "night.yaml", "--json", "--select", "BOOT-01").code == 0
    night.write("two.yaml", HEAD.replace("{{ edit }}/{{ id }}", "{{ edit }}/{{ var_name }}"))
    names = {"BOOT-01": "other", "BOOT-02": "BOOT-01", "HAT-01": "hat"}
    night.table("rows.csv", [{**row, "var_name": names[row["id"]]} for row in ROWS])
    result = cli("plan", "two.yaml", "--select", "state:new")
    assert result.code == 2
    assert "is that of the task BOOT-01/white, which is not selected" in result.err
    assert cli("plan", "two.yaml", "--json", "--select", "state:new|render").json()["tasks"] == 6


# -- ls, show, report ---------------------------------------------------------------------------------------------


def test_ls_lists_tasks(cli: Cli, night: Shop) -> None:
    """As a table, or with chosen fields as JSON; the fields are listed on request."""
    cli("run", "night.yaml", "--json")
    table = cli("ls", "out", "--select", "HAT-01").out.splitlines()
    assert table[0].split() == ["state", "cost", "$", "task", "path"]
    assert table[1].split() == ["done", "0.009", "HAT-01/white", "white/HAT-01.png"]
    assert len(table) == 3
    listed = cli("ls", "--json", "id,status,cost_usd,labels", "--select", "HAT-01,edit:grey").json()
    assert listed == [{"id": "HAT-01", "status": "done", "cost_usd": "0.009", "labels": {"client": "zeta"}}]
    fields = cli("ls", "--json").out.split()
    assert cli("ls", "--json", ",".join(fields)).json()[0].keys() == set(fields)
    wrong = cli("ls", "--json", "id,statsu")
    assert wrong.code == 2
    assert "Did you mean 'status'?" in wrong.err


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (("--select", "state:new"), 2, "a plan's verdict needs the manifest; here status: asks"),
        (("--select", "tag:hero"), 5, "is selected"),
        (("--select", "@nightly"), 2, "there is no manifest here that names @nightly"),
        (("--select", "clinet:acme"), 2, "Did you mean 'client'?"),
        (("--select", "BOOT-1"), 5, "nearest: id:BOOT-01"),
    ],
)
def test_lists_and_reports_refuse_what_a_ledger_cannot_tell(
    cli: Cli, night: Shop, flags: tuple[str, ...], code: int, word: str
) -> None:
    """With the reason."""
    cli("run", "night.yaml", "--json", "--select", "BOOT-01")
    for command in ("ls", "report"):
        result = cli(command, "out", *flags)
        assert result.code == code
        assert word in result.err


def test_a_report_of_a_part(cli: Cli, night: Shop) -> None:
    """Its groups add up to its total, and the parts to the whole."""
    cli("run", "night.yaml", "--json")
    parts = [cli("report", "--json", "--select", f"client:{name}").json() for name in ("acme", "zeta")]
    assert [part["total"]["requests"] for part in parts] == [4, 2]
    assert parts[0]["by"]["client"].keys() == {"acme"}
    assert cli("report", "--json").json()["total"]["spent"] == "0.054"
    assert [part["total"]["spent"] for part in parts] == ["0.036", "0.018"]
    assert "total" in render_report("out", select=["edit:white"])


def test_show_tells_all_of_one_task(cli: Cli, night: Shop) -> None:
    """Prompt, pictures, attempts, files; by slot, or by the id of an item with one task."""
    cli("run", "night.yaml", "--json")
    shown = cli("show", "HAT-01/grey", "--json").json()
    assert (shown["prompt"], shown["status"], shown["labels"]) == ("grayscale", "done", {"client": "zeta"})
    assert shown["inputs"][0]["at"].endswith("in/lamp.png")
    (attempt,) = shown["attempt_list"]
    assert (attempt["outcome"], attempt["cost_usd"], attempt["run"]) == ("done", "0.009", 1)
    assert attempt["provider_run_id"]
    assert shown["files"] == [{"path": "grey/HAT-01.png", "sha256": shown["files"][0]["sha256"], "exists": True}]
    text = cli("show", "HAT-01/grey").out
    for word in ("grayscale", "client=zeta", "grey/HAT-01.png", attempt["provider_run_id"], "rows.csv:4"):
        assert word in text
    several = cli("show", "HAT-01")
    assert several.code == 2
    assert "HAT-01/white, HAT-01/grey" in several.err
    missing = cli("show", "HAT-1/grey")
    assert missing.code == 5
    assert "HAT-01/grey" in missing.err


def test_show_finds_the_only_task_of_an_item(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Its id is enough; a file that has gone is told."""
    cli("run", jobs, "--json")
    Path("out/mug.png").unlink()
    assert "mug.png  (is gone)" in cli("show", "0123_1").out


def test_ls_of_an_empty_ledger(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Nothing selected."""
    assert cli("ls", "out").code == 8
    cli("run", jobs, "--json", "--budget", "0")
    with database("out/.batchedit/ledger.db") as db:
        db.execute("DELETE FROM tasks")
    assert cli("ls", "out").code == 5


def test_a_list_is_one_json_document(cli: Cli, night: Shop) -> None:
    """However it is streamed."""
    cli("run", "night.yaml", "--json")
    assert len(json.loads(cli("ls", "--json", "id").out)) == 6


def test_what_most_tasks_do_not_have_is_not_meant_by_a_star() -> None:
    """``class:*`` and ``reason:*`` ask for those that have one."""
    bare = Fake(code="", review="none", review_reason="")
    for text in ("class:*", "reason:*"):
        selection = parse_selection([text])
        assert selection.meant(TASK) is True
        assert selection.meant(bare) is False


CHAIN = """\
version: 1
defaults: {quality: low, tags: hero}
edits:
  white: {prompt: on white}
  scene: {from: white, when: approved, prompt: "on a table", tags: "later|hero"}
sources: [{glob: in/*.png}]
"""


@pytest.fixture
def reviewed(cli: Cli, shop: Shop) -> Shop:
    """Three pictures: one approved, one rejected, one that nobody has looked at; what starts from them waits."""
    shop.write("chain.yaml", CHAIN)
    assert cli("run", "chain.yaml", "--json").code == 0
    shop.table(
        "said.csv",
        [
            {"slot": "mug/white", "verdict": "rejected", "reason": "halo"},
            {"slot": "shoe/white", "verdict": "rejected", "reason": "crop"},
        ],
    )
    assert cli("verdicts", "import", "said.csv", "out").code == 0
    shop.table("said.csv", [{"slot": "shoe/white", "verdict": "approved", "reason": ""}])
    assert cli("verdicts", "import", "said.csv", "out").code == 0  # the last word counts
    return shop


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("verdict:rejected", {"mug/white"}),
        ("verdict:approved", {"shoe/white"}),
        ("verdict:none,edit:white", {"lamp/white"}),
        ("verdict:approved|rejected", {"mug/white", "shoe/white"}),
        ("reason:halo", {"mug/white"}),
        ("reason:*", {"mug/white"}),
        ("tag:later", {"mug/scene", "shoe/scene", "lamp/scene"}),
        ("tag:hero,verdict:approved", {"shoe/white"}),
        ("status:waiting", {"mug/scene", "shoe/scene", "lamp/scene"}),
    ],
)
def test_reviews_tags_and_what_waits_can_be_asked_for_everywhere(
    cli: Cli, reviewed: Shop, selector: str, expected: set[str]
) -> None:
    """In lists, in plans and in reports."""
    assert set(slots(cli, "--select", selector)) == expected
    plan = cli("plan", "chain.yaml", "--json", "--select", selector).json()
    assert plan["tasks"] == len(expected)
    done = [slot for slot in expected if slot.endswith("/white")]
    if done:
        assert cli("report", "--json", "--select", selector).json()["total"]["requests"] == len(done)


def test_a_run_of_what_starts_from_approved_pictures(cli: Cli, reviewed: Shop) -> None:
    """`run` takes the same words; a rejected one alone gives it nothing to buy."""
    assert cli("run", "chain.yaml", "--json", "--select", "verdict:rejected").json()["spent"] == "0.00"
    assert cli("run", "chain.yaml", "--json", "--select", "tag:later").json()["states"]["done"] == 1
    assert set(slots(cli, "--select", "edit:scene,status:done")) == {"shoe/scene"}


def test_a_verdict_is_of_the_pictures_that_a_task_has(cli: Cli, reviewed: Shop) -> None:
    """What was said of an older picture is not said of the new one."""
    reviewed.write("chain.yaml", CHAIN.replace("on white", "pure white background"))
    assert cli("run", "chain.yaml", "--json", "--changed", "--select", "mug,edit:white").code == 0
    assert cli("ls", "--json", "verdict,verdict_reason", "--select", "mug,edit:white").json() == [
        {"verdict": "none", "verdict_reason": ""}
    ]


def test_lists_hold_what_waits_and_what_was_said(cli: Cli, reviewed: Shop) -> None:
    """`ls` and `show` know tasks that have no request yet, and why."""
    asked = cli("ls", "--json", "slot,status,tags,verdict,verdict_reason,reason,key", "--select", "mug").json()
    bought, waiting = asked
    assert bought["key"]
    assert {**bought, "key": ""} == {
        "slot": "mug/white", "status": "done", "tags": ["hero"], "verdict": "rejected", "verdict_reason": "halo",
        "reason": "", "key": "",
    }  # fmt: skip
    assert waiting == {
        "slot": "mug/scene", "status": "waiting", "tags": ["hero", "later"], "verdict": "none", "verdict_reason": "",
        "reason": "waits for approval of mug/white", "key": "",
    }  # fmt: skip
    shown = cli("show", "mug/scene").out
    assert "state     waiting: waits for approval of mug/white" in shown
    assert "prompt    on a table" in shown
    assert "request " not in shown
    assert "review    rejected: halo" in cli("show", "mug/white").out
    assert "mug/white, mug/scene" in cli("show", "mug").err
