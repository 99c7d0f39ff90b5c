"""What can be wrong in a job file, with the exact words and the exact place; the schema agrees; nothing else comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from batchedit.errors import ManifestError
from batchedit.jobs import load_job
from batchedit.jobs.model import JobLog
from batchedit.jobs.schema import job_schema
from batchedit.jobs.vocabulary import JOB_KEYS
from batchedit.manifest.schema import value_schema
from batchedit.manifest.vocabulary import Key
from batchedit.manifest.yaml_tree import parse_yaml
from batchedit.money import MicroUSD
from tests.conftest import Result
from tests.manifest import fuzz
from tests.manifest.test_schema import as_written, keys_in

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(dict(job_schema()))
J = "job: 1\n"
M = "manifests: [m.yaml]\n"
N = J + M + "notify:\n  - "

WRONG: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["j.yaml:1:1: the key job is missing. Begin with: job: 1"]),
    "a list": ("- a\n", ["j.yaml:1:1: the job must be a mapping of keys and values, not a list"]),
    "a manifest": ("version: 1\n", ["j.yaml:1:1: the key job is missing. This is a manifest: batchedit run"]),
    "newer": ("job: 2\n" + M, ["j.yaml:1:6: \"job\": '2' needs a newer batchedit; this one reads version 1"]),
    "no number": ("job: night\n" + M, ["j.yaml:1:6: \"job\": 'night' is not a version; this one reads version 1"]),
    "version list": ("job: [1]\n" + M, ['j.yaml:1:6: "job": must be text, not a list']),
    "no manifests": (J, ["j.yaml:1:1: there are no manifests. Name them: manifests: [night.yaml]"]),
    "empty manifests": (J + "manifests: []\n", ['j.yaml:2:12: "manifests": there are no manifests']),
    "manifest text": (J + "manifests: m.yaml\n", ['j.yaml:2:12: "manifests": manifests must be a list, not text']),
    "manifest null": (J + "manifests: [~]\n", ['j.yaml:2:13: "manifests": must name a manifest']),
    "manifest without": (J + "manifests: [{out: o}]\n", ['j.yaml:2:13: "manifests": must name a manifest']),
    "unknown key": (J + M + "budgt: {}\n", ['j.yaml:3:1: "budgt": the job has no key \'budgt\'. Did you mean "budget"?']),
    "twice": (J + M + M, ["j.yaml:3:1: the key 'manifests' is already given in line 2"]),
    "a key": (J + M + "name: rf_live_abcdefgh12345678\n", [
        'j.yaml:3:7: "name": this looks like an API key; keys do not belong in a manifest.'
        " Take it out, replace it at the provider, and set it in the environment"]),
    "name": (J + M + 'name: ""\n', ['j.yaml:3:7: "name": a name has 1 to 200 printable characters']),
    "do": (J + M + "do: reconsile\n", [
        'j.yaml:3:5: "do": \'reconsile\' is not one of run, reconcile, report. Did you mean "reconcile"?']),
    "report with budget": (J + "do: report\nledgers: [out]\nbudget: {run: 1}\n", [
        'j.yaml:4:1: "budget": budget means nothing with do: report. It reads ledgers, and sends nothing']),
    "report without": (J + "do: report\n", ["j.yaml:1:1: there are no ledgers. Name them: ledgers: [../out]"]),
    "ledgers": (J + M + "ledgers: [out]\n", ['j.yaml:3:1: "ledgers": ledgers belong to do: report']),
    "reconcile with pilot": (J + M + "do: reconcile\npilot: {tasks: 3}\n", [
        'j.yaml:4:1: "pilot": pilot means nothing with do: reconcile. It buys nothing']),
    "model": (J + M + "provider: {name: runflow, model: x/y}\n", [
        'j.yaml:3:27: "model": provider has no key \'model\' in a job.'
        " The model changes what is bought: it belongs into the manifest"]),
    "base url": (J + M + "provider: {base_url: 'http://api.example.com'}\n", [
        "j.yaml:3:22: \"provider.base_url\": 'http://api.example.com' must be an https address"
        " (http is for this machine only)"]),
    "limit": (J + M + "limits: {rpm: fast}\n", [
        "j.yaml:3:15: \"limits.rpm\": 'fast' is not a positive number, auto or none"]),
    "budget": (J + M + "budget: {night: lots}\n", [
        "j.yaml:3:17: \"budget.night\": 'lots' is not an amount in dollars"]),
    "budget week": (J + M + "budget: {nigth: 1}\n", [
        'j.yaml:3:10: "nigth": budget has no key \'nigth\'. Did you mean "night"?']),
    "budget per": (J + M + "budget: {per: {client: {acme: {month: x}}}}\n", [
        "j.yaml:3:39: \"budget.per.client.acme.month\": 'x' is not an amount in dollars"]),
    "rehearse": (J + M + "rehearse: maybe\n", ["j.yaml:3:11: \"rehearse\": 'maybe' is neither true nor false"]),
    "window half": (J + M + "window: {from: '19:00'}\n", ['j.yaml:3:9: "window.until": the key until is missing']),
    "window time": (J + M + "window: {from: '25:00', until: '06:00'}\n", [
        "j.yaml:3:16: \"window.from\": '25:00' is no time of day. Write it as 19:00 or 06:30:00"]),
    "window empty": (J + M + "window: {from: '06:00', until: '06:00'}\n", [
        'j.yaml:3:32: "window.until": from and until are the same: nothing could ever be sent']),
    "window day": (J + M + "window: {from: '19:00', until: '06:00', days: [mon, tues]}\n", [
        "j.yaml:3:53: \"window.days\": 'tues' is not one of mon, tue, wed, thu, fri, sat, sun. Did you mean \"tue\"?"]),
    "window grace": (J + M + "window: {from: '19:00', until: '06:00', grace: -1}\n", [
        "j.yaml:3:48: \"window.grace\": '-1' is not a number of 0 or more"]),
    "zone": (J + M + "zone: Europe/Berlim\n", [
        'j.yaml:3:7: "zone": \'Europe/Berlim\' is no time zone. Did you mean "Europe/Berlin"?']),
    "pilot": (J + M + "pilot: {max_failed: 10}\n", ['j.yaml:3:8: "pilot.tasks": the key tasks is missing']),
    "pilot share": (J + M + "pilot: {tasks: 5, max_failed: 101}\n", [
        "j.yaml:3:31: \"pilot.max_failed\": '101' is not a whole number from 0 to 100"]),
    "report variable": (J + M + "report: {html: 'r/{{ nigth }}.html'}\n", [
        'j.yaml:3:16: "report.html": there is no variable \'nigth\' here. Did you mean "night"?']),
    "report marks": (J + M + "report: {html: '{% if x %}'}\n", ['j.yaml:3:16: "report.html": is no name of a file']),
    "report form": (J + M + "report: {htm: r.html}\n", [
        'j.yaml:3:10: "htm": report has no key \'htm\'. Did you mean "html"?']),
    "report null": (J + M + "report: {html: }\n", ['j.yaml:3:16: "report.html": must name a file']),
    "same file": (J + M + "report: {csv: a.csv}\nexport: {csv: a.csv}\n", [
        "j.yaml:4:1: \"csv\": two of its files have the name 'a.csv'. Give each a name of its own (2 rows, first shown)"]),
    "export of two": (J + "manifests: [{manifest: a, out: o}, {manifest: b, out: p}]\nexport: {csv: a.csv}\n", [
        'j.yaml:3:1: "export": there are several output folders, and an export is of one. Write a job for each of them']),
    "events folder": (J + "manifests: [a.yaml, {manifest: b.yaml, out: o}]\nevents: e.ndjson\n", [
        'j.yaml:3:1: "events": there are several output folders, and a file of events is of one. Write a job for each of them']),
    "events of a report": (J + "do: report\nledgers: [out]\nevents: e.ndjson\n", [
        'j.yaml:4:1: "events": events means nothing with do: report. It reads ledgers, and sends nothing']),
    "events empty": (J + M + 'events: ""\n', ['j.yaml:3:9: "events": must name a file']),
    "events name": (J + M + "events: '{{ nigt }}.ndjson'\n", [
        'j.yaml:3:9: "events": there is no variable \'nigt\' here. Did you mean "night"?']),
    "events and log": (J + M + "events: same\nlog: same\n", [
        'j.yaml:3:1: "events": two of its files have the name \'same\'. Give each a name of its own',
        'j.yaml:4:1: "log": two of its files have the name \'same\'. Give each a name of its own']),
    "log without": (J + M + "log: {format: json}\n", ['j.yaml:3:6: "log.file": must name a file']),
    "log null": (J + M + "log:\n", ['j.yaml:3:5: "log.file": must name a file']),
    "log list": (J + M + "log: [a.log]\n", ["j.yaml:3:6: log must be a mapping of keys and values, not a list"]),
    "log format": (J + M + "log: {file: a.log, format: jsn}\n", [
        'j.yaml:3:28: "log.format": \'jsn\' is not one of text, json. Did you mean "json"?']),
    "log size": (J + M + "log: {file: a.log, max_mb: 0, keep: 1001}\n", [
        "j.yaml:3:28: \"log.max_mb\": '0' is not a whole number of 1 or more",
        "j.yaml:3:37: \"log.keep\": '1001' is not a whole number from 1 to 1000"]),
    "log key": (J + M + "log: {file: a.log, rotate: daily}\n", ["j.yaml:3:20: \"rotate\": log has no key 'rotate'. Known are: file, format, every_change, max_mb, keep"]),
    "warn at": (J + M + "budget: {night: 1, warn_at: [50, 101]}\n", [
        "j.yaml:3:34: \"budget.warn_at\": '101' is not a whole number from 1 to 100, in percent"]),
    "warn at nothing": (J + M + "budget: {warn_at: 80}\n", [
        'j.yaml:3:1: "budget.warn_at": there is no limit to warn about. Name one: night: 40.00']),
    "notice without": (N + "{on: failed}\n", [
        "j.yaml:4:5: the key via is missing. Known are: webhook, slack, ntfy, smtp, exec, heartbeat, apprise"]),
    "notice way": (N + "{via: slak, url_env: X}\n", [
        'j.yaml:4:11: "notify.via": \'slak\' is not one of webhook, slack, ntfy, smtp, exec, heartbeat, apprise. Did you mean "slack"?']),
    "notice url": (N + "{via: slack, url_env: 'https://hooks.example.com/T0/secret'}\n", [
        'j.yaml:4:27: "notify.url_env": is not the name of an environment variable.'
        " Put the secret into the environment, and its variable's name here"]),
    "notice needs": (N + "{via: slack}\n", ['j.yaml:4:5: "notify.url_env": via: slack needs url_env']),
    "notice extra": (N + "{via: slack, url_env: X, to: a@b}\n", ['j.yaml:4:30: "notify.to": to means nothing with via: slack']),
    "notice on": (N + "{via: slack, url_env: X, on: [faild]}\n", [
        'j.yaml:4:35: "notify.on": \'faild\' is not one of finished, failed, limit, account, unknown, warning. Did you mean "failed"?']),
    "notice never": (N + "{via: slack, url_env: X, on: []}\n", ['j.yaml:4:34: "notify.on": it would never be sent']),
    "smtp plain": (N + "{via: smtp, server: mail.example.com, from: a@b, to: c@d, security: none}\n", [
        'j.yaml:4:73: "notify.security": security: none is for this machine only;'
        " a password or a name would cross the network in the clear"]),
    "smtp user": (N + "{via: smtp, server: localhost, from: a@b, to: c@d, user_env: U}\n", [
        'j.yaml:4:5: "notify.user_env": user_env and password_env go together']),
    "smtp address": (N + "{via: smtp, server: localhost, from: nobody, to: c@d}\n", [
        "j.yaml:4:42: \"notify.from\": 'nobody' is no from"]),
    "exec text": (N + "{via: exec, command: rm -rf}\n", [
        'j.yaml:4:26: "notify.command": notify.command must be a list, not text']),
    "heartbeat on": (N + "{via: heartbeat, url_env: X, on: failed}\n", [
        'j.yaml:4:34: "notify.on": on means nothing with via: heartbeat']),
    "timeout": (N + "{via: slack, url_env: X, timeout: 0}\n", ["j.yaml:4:39: \"notify.timeout\": '0' is no timeout"]),
}  # fmt: skip
OF_SHAPE = {"manifest null", "no number", "newer", "do", "unknown key", "limit", "budget", "budget week", "budget per",
            "rehearse", "window half", "window time", "window day", "window grace", "pilot", "pilot share", "report form",
            "notice without", "notice way", "notice url", "notice on", "smtp address", "exec text", "model", "manifest text",
            "manifest without", "a list", "events empty", "log without", "log null", "log list", "log format", "log size", "log key",
            "warn at"}  # fmt: skip
"""What keys, words and numbers alone tell, so that an editor marks it."""

RIGHT = b"""job: 1
name: nightly
manifests:
  - m.yaml
  - {manifest: "in/*.png", out: o2, select: "client:acme", exclude: [tag:later]}
out: ../out
provider: {name: runflow, api: runs, base_url: 'https://api.example.com'}
rehearse: no
limits: {rpm: auto, concurrency: 4, timeout: 1.5}
budget: {run: 25.00, night: 40, warn_at: [80, 50], month: $500, per: {client: {acme: 15, b: {night: 1, month: 2.5}}, edit: {white: {run: 3}}}}
zone: Europe/Berlin
window: {from: "19:00", until: 06:00:30, days: [mon, fri], grace: 1.5}
pilot: {tasks: 20, by: client, seed: x, max_failed: 10, max_cost: 60}
log: {file: "l/{{ month }}.log", format: json, every_change: yes, max_mb: 3, keep: 7}
report: {html: "r/{{ night }}.html", text: "{{name}}.txt", by: [client, day], period: week}
notify:
  - {via: webhook, url_env: HOOK, token_env: TOKEN, on: [failed, limit], timeout: 3}
  - {via: smtp, server: mail.example.com, port: 465, security: tls, user_env: U, password_env: P, from: a@b.c, to: [d@e.f]}
  - {via: exec, command: [/bin/true, "a b"]}
  - {via: heartbeat, url_env: BEAT}
"""


def problems(text: str | bytes, folder: Path) -> list[str]:
    (folder / "j.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load_job("j.yaml", cwd=folder)
    except ManifestError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str) -> None:
    """Exactly this, and nothing besides; and the schema sees what is to be seen without knowing the world."""
    text, expected = WRONG[name]
    assert problems(text, tmp_path) == expected
    if name not in ("twice", "a key"):
        instance = as_written(parse_yaml(text, "j.yaml"))
        refused = [error.json_path for error in VALIDATOR.iter_errors(instance)]
        if name in OF_SHAPE:
            assert refused


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_jobs_pass_the_schema(path: Path) -> None:
    """As an editor reads them, and as we do."""
    text = path.read_text("utf-8")
    assert not list(VALIDATOR.iter_errors(yaml.safe_load(text)))
    assert not list(VALIDATOR.iter_errors(as_written(parse_yaml(text, "j.yaml"))))
    load_job(path)


def test_all_of_a_job(tmp_path: Path) -> None:
    """Nothing that is written is ignored."""
    assert problems(RIGHT, tmp_path) == []
    assert not list(VALIDATOR.iter_errors(as_written(parse_yaml(RIGHT.decode(), "j.yaml"))))
    job = load_job("j.yaml", cwd=tmp_path)
    assert [(part.shown, part.out.name, part.select, part.exclude) for part in job.parts] == [
        ("m.yaml", "out", (), ()),
        ("in/*.png", "o2", ("client:acme",), ("tag:later",)),
    ]
    assert dict(job.provider) == {"name": "runflow", "api": "runs", "base_url": "https://api.example.com"}
    assert dict(job.limits) == {"learn_rate": True, "in_flight": 4, "request_timeout_seconds": 1.5}
    assert job.warn_at == (50, 80)
    assert job.log == JobLog(file="l/{{ month }}.log", form="json", every_change=True, largest_bytes=3_000_000, kept=7)
    assert [(limit.period, limit.label, limit.value, limit.amount) for limit in job.budget] == [
        ("run", "", "", MicroUSD(25_000_000)), ("night", "", "", MicroUSD(40_000_000)),
        ("month", "", "", MicroUSD(500_000_000)), ("run", "client", "acme", MicroUSD(15_000_000)),
        ("night", "client", "b", MicroUSD(1_000_000)), ("month", "client", "b", MicroUSD(2_500_000)),
        ("run", "edit", "white", MicroUSD(3_000_000)),
    ]  # fmt: skip
    assert job.window is not None
    assert (job.window.days, job.window.grace_seconds, str(job.zone)) == (frozenset({0, 4}), 1.5, "Europe/Berlin")
    assert job.gate is not None
    assert (job.gate.tasks, job.gate.strata, job.gate.seed, job.gate.max_failed) == (20, ("client",), "x", 10)
    assert (job.by, job.period, set(job.reports)) == (("client", "day"), "week", {"html", "text"})
    assert [(notice.via, notice.variables) for notice in job.notices] == [
        ("webhook", ("HOOK", "TOKEN")), ("smtp", ("U", "P")), ("exec", ()), ("heartbeat", ("BEAT",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "key"), [*keys_in(JOB_KEYS)], ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_key_has_an_example_that_passes(path: str, key: Key) -> None:
    """And says what it means; the manual tells of it."""
    assert len(key.means) > 5
    Draft202012Validator(value_schema(key.value)).validate(key.example)
    manual = (ROOT / "docs" / "jobs.md").read_text("utf-8")
    if not path.startswith((".limits.", ".provider.")):
        assert re.search(rf"`{key.name}\b|\b{key.name}: ", manual)


def test_the_command_prints_the_schema(cli: Callable[..., Result]) -> None:
    """For an editor to be pointed at."""
    assert json.loads(cli("schema", "--of", "job").out) == json.loads(json.dumps(job_schema()))


def test_the_other_command_is_named(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is given to `run` is no manifest."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "j.yaml").write_text(J + M)
    result = cli("run", "j.yaml")
    assert result.code == 2
    assert "j.yaml:1:1: this is a job. Start it with: batchedit job run j.yaml" in result.err


@pytest.mark.parametrize("block", range(4))
def test_stirred_jobs_end_in_our_own_words(tmp_path: Path, block: int) -> None:
    """Nothing but our own errors, no key in any message, and each end occurs."""
    ends = set()
    for number in range(200):
        random = Random(f"job/{block}/{number}")
        data = fuzz.stir(random, RIGHT)
        found = "\n".join(problems(data, tmp_path))
        assert not re.search(r"(?<![A-Za-z0-9])rf_live_abcdefgh12345678", found), data
        ends.add(bool(found))
    assert ends == {True, False}


def values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=20)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(JOB_KEYS.names), values(), max_size=6))
def test_any_values_are_read_or_refused(tmp_path: Path, found: dict[str, Any]) -> None:
    """A job whose keys are known and whose values are anything."""
    text = yaml.safe_dump({**found, "job": 1}, allow_unicode=True)
    for problem in problems(text, tmp_path):
        assert problem.startswith("j.yaml:")
