"""`doctor` and `auth check`, against a real server that is well and one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchedit.ledger import filesystem
from tests.conftest import KEY, Result, Served, Shop
from tests.middle import Middle
from tests.proof.scene import answer, edited

Cli = Callable[..., Result]
ACCOUNT, BALANCE, MODEL = "/v1/auth/me", "/v1/billing/balance", "/v1/models/.*"


def lines(result: Result) -> dict[str, dict[str, str]]:
    return {line["name"]: line for line in result.json()["findings"]}


def test_all_is_well(cli: Cli, shop: Shop, serve: Callable[..., Served]) -> None:
    """Everything is named, nothing is bought or left behind."""
    served = serve()
    result = cli("doctor", served.manifest(shop), "--json")
    found = lines(result)
    assert result.code == 0, result.out
    wanted = "sqlite path disk links locks ledger prices api key account scopes balance clock model"
    assert set(wanted.split()) <= set(found)
    assert found["key"]["text"] == "found in RUNFLOW_API_KEY"
    assert found["account"]["level"] == found["model"]["level"] == found["clock"]["level"] == "ok"
    assert "credit_balance:read" in found["scopes"]["text"]
    assert served.audit()["runs"] == []
    assert sorted(path.name for path in shop.root.iterdir()) == ["in", "night.yaml"]
    assert KEY not in result.out + result.err


def test_a_rehearsal_needs_no_key_and_a_ledger_is_examined(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Also as text; a damaged ledger is exit code 8."""
    assert cli("run", jobs).code == 0
    result = cli("doctor", jobs)
    assert result.code == 0
    assert "ok    key          a rehearsal needs none" in result.out
    assert "is whole" in result.out
    path = shop.root / "out" / ".batchedit" / "ledger.db"
    path.write_bytes(b"no ledger at all" * 300)
    result = cli("doctor", jobs, "--json")
    assert result.code == 8
    assert lines(result)["ledger"]["level"] == "fail"


def test_a_job_is_looked_at_as_it_would_be_run(cli: Cli, shop: Shop, serve: Callable[..., Served]) -> None:
    """With the provider that only the job names, all of its manifests, and what they share said once."""
    served = serve()
    shop.write("one.yaml", "version: 1\ndefaults: {prompt: grayscale}\nsources: [{glob: in/*.png}]\n")
    shop.write("two.yaml", "version: 1\ndefaults: {prompt: sepia}\nsources: [{glob: in/*.png}]\n")
    job = shop.write(
        "night-job.yaml",
        "job: 1\nmanifests: [{manifest: one.yaml, out: first}, {manifest: two.yaml, out: second}]\n"
        f"provider: {{name: runflow, base_url: '{served.url}'}}\nbudget: {{night: 5}}\n",
    )
    found = cli("doctor", job, "--json")
    assert found.code == 0, found.out
    named = [line["name"] for line in found.json()["findings"]]
    assert (named.count("account"), named.count("sqlite"), named.count("key")) == (1, 1, 1)
    (shop.root / "second/.batchedit").mkdir(parents=True)
    (shop.root / "second/.batchedit/ledger.db").write_bytes(b"no ledger at all" * 300)
    broken = cli("doctor", job)
    assert (broken.code, "second" in broken.out) == (8, True), broken.out
    checked = cli("auth", "check", job)
    assert (checked.code, "found in RUNFLOW_API_KEY" in checked.out) == (0, True)
    refused = cli("doctor", job, "--provider", "runflow")
    assert (refused.code, "a job says itself what its provider" in refused.err) == (2, True)
    report = shop.write("report.yaml", "job: 1\ndo: report\nledgers: [out]\nreport: {html: r.html}\n")
    assert "runs no manifest" in cli("doctor", report).err


def test_without_a_key_it_says_so(
    cli: Cli, shop: Shop, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, as a run would."""
    manifest = serve().manifest(shop)
    monkeypatch.delenv("RUNFLOW_API_KEY")
    result = cli("auth", "check", manifest)
    assert result.code == 2
    assert "RUNFLOW_API_KEY is not set" in result.out


@pytest.mark.parametrize(
    ("path", "change", "name", "level", "words", "code"),
    [
        (ACCOUNT, answer(401, "UNAUTHENTICATED"), "account", "fail", "HTTP 401", 4),
        (ACCOUNT, answer(403), "account", "fail", "HTTP 403", 4),
        (ACCOUNT, answer(503), "account", "fail", "HTTP 503", 4),
        (BALANCE, edited(lambda data: {**data, "balance": "0.00"}), "balance", "fail", "$0.00", 4),
        (BALANCE, edited(lambda data: {**data, "balance": "-1.50"}), "balance", "fail", "1.50", 4),
        (BALANCE, edited(lambda data: {"balance_cents": 123}), "balance", "warn", "$1.23", 0),
        (BALANCE, answer(403), "balance", "warn", "not told", 0),
        (MODEL, answer(404), "model", "warn", "HTTP 404", 0),
        (MODEL, edited(lambda data: {**data, "availability_status": "retired"}), "model", "warn", "is retired", 0),
        (MODEL, edited(lambda data: {**data, "inputs": data["inputs"][1:]}), "model", "fail", "knows prompt no more", 2),
        (
            MODEL,
            edited(lambda data: {**data, "inputs": [*data["inputs"], {"name": "seed", "is_required": True}]}),
            "model", "fail", "requires seed", 2,
        ),
        (MODEL, edited(lambda data: [7]), "model", "warn", "no list of inputs", 0),
    ],
)  # fmt: skip
def test_trouble_is_named(
    cli: Cli, shop: Shop, tampered: Callable[..., tuple[Served, Middle]], path: str, change: Any, name: str,
    level: str, words: str, code: int,
) -> None:  # fmt: skip
    """Each kind on its own line, with advice and the exit code that a run would have."""
    served, proxy = tampered()
    proxy.alter("GET", path, change, times=9)
    result = cli("doctor", served.manifest(shop), "--json")
    found = lines(result)[name]
    assert (result.code, found["level"]) == (code, level), found
    assert words in found["text"]
    assert found["advice"]


def test_a_clock_that_is_off_is_seen(cli: Cli, shop: Shop, tampered: Callable[..., tuple[Served, Middle]]) -> None:
    """By the server's own Date."""
    served, proxy = tampered()
    old = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "content-type": "application/json"}
    proxy.alter("GET", ACCOUNT, lambda reply: reply.but(headers=old))
    found = lines(cli("doctor", served.manifest(shop), "--json"))["clock"]
    assert found["level"] == "fail"
    assert "ahead of" in found["text"]


def test_nobody_there(cli: Cli, shop: Shop, serve: Callable[..., Served]) -> None:
    """Exit code 4; --offline does not even try."""
    served = serve()
    manifest = served.manifest(shop)
    manifest.write_text(manifest.read_text().replace(served.url, "http://127.0.0.1:9"))
    assert lines(cli("doctor", manifest, "--json"))["account"]["level"] == "fail"
    offline = cli("doctor", manifest, "--offline", "--json")
    assert offline.code == 0
    assert "account" not in lines(offline)


def test_what_the_disk_cannot_do_is_said(cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network, no links, no room."""

    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    class Usage:
        free = 1000

    mounts = shop.write("mounts", "1 0 0:1 / / rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    result = cli("doctor", jobs, "--json")
    found = lines(result)
    assert result.code == 9
    assert found["file system"]["level"] == "warn"
    assert "nfs4" in found["file system"]["text"]
    assert found["links"]["level"] == "warn"
    assert found["disk"]["level"] == "fail"


def test_a_folder_that_others_may_read_is_pointed_out(cli: Cli, shop: Shop, jobs: Path) -> None:
    """State is private; who opened it up should know."""
    cli("run", jobs)
    (shop.root / "out" / ".batchedit").chmod(0o755)
    assert lines(cli("doctor", jobs, "--json"))["privacy"]["level"] == "warn"
