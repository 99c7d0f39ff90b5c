"""The command line's edges: consent, streams, codes, nothing heavy, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx
import pytest

from batchedit import load_manifest, make_plan, run_plan
from batchedit.cli.consent import agree
from batchedit.effects import Effects
from batchedit.errors import ConsentMissing
from batchedit.money import MicroUSD
from tests.conftest import KEY, Result, Served, Shop, command

Cli = Callable[..., Result]
Serve = Callable[..., Served]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_library_runs_on_both_backends(shop: Shop, jobs: Path, backend: str) -> None:
    """The same plan, the same result, whatever drives the event loop."""
    plan = make_plan(load_manifest(jobs), out=shop.root / backend)
    summary = anyio.run(lambda: run_plan(plan, effects=Effects(seed="1")), backend=backend)
    assert (summary.exit_code, summary.spent) == (0, 399_000)
    assert len(shop.outputs(backend)) == 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_backends_over_a_real_socket(shop: Shop, serve: Serve, backend: str) -> None:
    """Also when connections are real."""
    served = serve()
    served.manifest(shop)
    plan = make_plan(load_manifest("night.yaml"), out=backend)
    summary = anyio.run(lambda: run_plan(plan), backend=backend)
    assert summary.exit_code == 0
    assert served.audit()["billed_runs_total"] == 3


def test_names_that_are_not_valid_unicode_can_be_said(shop: Shop, cli: Cli) -> None:
    """A file from elsewhere is refused with its name escaped, also as JSON; no traceback."""
    os.replace(shop.root / "in/mug.png", os.fsencode(shop.root) + b"/in/\xff.png")
    shop.write("m.yaml", "version: 1\nsources: [{glob: 'in/[!a-z]*', id: x, output: x.png, prompt: pp}]\n")
    plain = cli("plan", "m.yaml", "--rehearse")
    assert (plain.code, "is not valid UTF-8; rename it" in plain.err) == (2, True)
    (problem,) = cli("check", "m.yaml", "--rehearse", "--json").json()
    assert problem["code"] == "missing-image"


def test_nobody_agreed_and_nobody_can_be_asked(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Without a terminal it never asks: exit code 2, the flag to add, and nothing was sent."""
    served = serve()
    path = served.manifest(shop)
    path.write_text(path.read_text().replace("budget: {run: 50}\n", ""))
    result = cli("run", path, "--out", "out")
    assert result.code == 2
    assert "--budget 0.03" in result.err
    assert "--yes" in result.err
    assert served.audit()["runs"] == []
    assert cli("run", path, "--out", "out", "--yes").code == 0


def test_without_a_budget_the_quote_is_the_limit(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Every run has a limit: what was agreed to."""
    served = serve()
    path = served.manifest(shop)
    path.write_text(path.read_text().replace("budget: {run: 50}\n", ""))
    assert cli("run", path, "--out", "out", "--yes", "--json").json()["budget"] == "0.03"


@pytest.mark.parametrize(("requests", "high", "limit", "yes"), [(9999, 10**9, 10**6, False), (9999, 10**9, None, True)])
def test_a_limit_or_yes_is_consent(requests: int, high: int, limit: int | None, yes: bool) -> None:
    """Then nobody is asked, however much it is."""
    agree(
        requests=requests,
        high=MicroUSD(high),
        to="api.example",
        limit=None if limit is None else MicroUSD(limit),
        yes=yes,
        may_ask=False,
    )


def test_consent_is_needed_without_a_terminal() -> None:
    """Standard input is no terminal here."""
    with pytest.raises(ConsentMissing):
        agree(requests=1, high=MicroUSD(1), to="api.example", limit=None, yes=False, may_ask=True)


def test_a_missing_key_is_explained(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Exit code 2, the name of the variable, and the free way."""
    result = cli("run", jobs, "--out", "out", "--provider", "runflow", "--yes")
    assert result.code == 2
    assert "RUNFLOW_API_KEY is not set" in result.err
    assert "--rehearse" in result.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("run", "jobs.csv", "--budget", "lots"), "--budget: 'lots' is not an amount"),
        (("run", "jobs.csv", "--provider", "runflo", "--yes"), "did you mean 'runflow'?"),
        (("plan", "nothing.csv"), "nothing.csv: there is no such file"),
        (("run", "jobs.csv", "--quality", "huge"), "'huge' is not one of"),
        (("frobnicate",), "No such command"),
        (("emulate", "--switch", "latenzy=3"), "did you mean latency?"),
        (("emulate", "--fault", "answer_lost=often"), "'often' is not a number"),
        (("emulate", "--switch", "prices=free"), "allowed are listed, raised"),
    ],
)
def test_usage_errors_are_sentences(cli: Cli, shop: Shop, jobs: Path, arguments: tuple[str, ...], word: str) -> None:
    """Exit code 2, what is wrong, what to do, no traceback."""
    result = cli(*arguments)
    assert result.code == 2
    assert word in result.err
    assert "Traceback" not in result.err


def test_a_manifest_without_tasks(cli: Cli, shop: Shop) -> None:
    """Nothing selected is not success."""
    shop.write("empty.csv", "id,image,prompt\na,,xx\n")
    result = cli("plan", "empty.csv")
    assert result.code == 5
    assert "1 rows were skipped" in result.err


def test_plan_says_whether_there_is_work(cli: Cli, shop: Shop, jobs: Path) -> None:
    """For schedulers: 10 before, 0 after."""
    assert cli("plan", jobs, "--out", "out", "--exit-code").code == 10
    cli("run", jobs, "--out", "out")
    assert cli("plan", jobs, "--out", "out", "--exit-code").code == 0


def test_answers_go_to_stdout_and_talk_to_stderr(shop: Shop, jobs: Path) -> None:
    """In a real process: JSON is all there is on stdout."""
    process = command("run", "jobs.csv", "--out", "out", "--json", cwd=shop.root)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("{")
    assert err == ""


def test_a_full_disk_for_the_outputs_stops_the_spending(cli: Cli, shop: Shop, jobs: Path) -> None:
    """An output folder that cannot be written is found before anything is sent."""
    shop.write("out", "a file where the folder should be")
    result = cli("run", jobs, "--out", "out")
    assert result.code == 9
    assert "cannot make the folder" in result.err


def test_the_module_can_be_run(shop: Shop) -> None:
    """`python -m batchedit --version`."""
    done = subprocess.run([sys.executable, "-m", "batchedit", "--version"], capture_output=True, text=True, check=True)
    assert "0.1.0" in done.stdout


def test_emulate_serves_and_stops(shop: Shop) -> None:
    """In a process of its own: says where, answers, keeps its bill, ends cleanly on SIGTERM."""
    process = command("emulate", "--port", "0", "--switch", "latency=0.01,0.02", "--state", "books", cwd=shop.root)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/v1/health").json()["status"] == "ok"
        assert httpx.get(f"{url}/emulator/audit").json()["runs"] == []
        text = (
            f"version: 1\nprovider: {{name: runflow, base_url: '{url}'}}\nlimits: {{poll: 0.1}}\nbudget: {{run: 9}}\n"
            "defaults: {prompt: grayscale, quality: low}\nsources:\n  - glob: in/*.png\n"
        )
        shop.write("night.yaml", text)
        run = command("run", "night.yaml", "--out", "out", "-q", cwd=shop.root, key=KEY)
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err + out
        assert httpx.get(f"{url}/emulator/audit").json()["billed_runs_total"] == 3
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert (shop.root / "books" / "emulator.db").exists()
