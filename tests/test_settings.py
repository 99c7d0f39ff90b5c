"""Settings and keys: who wins, what is refused, and where a key is looked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit import credentials
from batchedit.configuration import SETTINGS
from batchedit.credentials import KeyPlaces, KeyUse, find_key
from batchedit.errors import UsageError
from tests.conftest import KEY, Result, Served, Shop, database

Cli = Callable[..., Result]
ROOT = Path(__file__).parents[1]
HOME = "https://api.runflow.io"


@pytest.fixture
def home(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file of settings, and none of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shop.root / "xdg"))
    for name in list(os.environ):
        if name.startswith("BATCHEDIT_"):
            monkeypatch.delenv(name)
    path = shop.root / "xdg" / "batchedit" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def setting(result: Result, name: str) -> tuple[object, str]:
    assert result.code == 0, result.err
    found = result.json()["settings"][name]
    return found["value"], found["origin"]


def test_the_higher_layer_wins(cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, manifest, project, user, built in: each is what counts once those above it say nothing."""
    manifest = shop.write(
        "n.yaml", "version: 1\nlimits: {rpm: 30}\ndefaults: {prompt: x}\nsources: [{glob: in/*.png}]\n"
    )
    silent = shop.write("s.yaml", "version: 1\ndefaults: {prompt: x}\nsources: [{glob: in/*.png}]\n")
    assert setting(cli("config", "show", "--json"), "rate") == (None, "default")
    home.write_text("rate = 10\ngrace = 5")
    assert setting(cli("config", "show", "--json"), "rate") == (10, "user")
    shop.write("batchedit.toml", "rate = 20")
    assert setting(cli("config", "show", silent, "--json"), "rate") == (20, "project")
    assert setting(cli("config", "show", silent, "--json"), "grace") == (5.0, "user")
    assert setting(cli("config", "show", manifest, "--json"), "rate") == (30, "manifest")
    monkeypatch.setenv("BATCHEDIT_RATE", "auto")
    assert setting(cli("config", "show", manifest, "--json"), "rate") == ("auto", "environment")
    shown = cli("config", "show", manifest, "--origin").out
    assert "environment (BATCHEDIT_RATE)" in shown
    assert f"user ({home})" in shown


def test_a_run_obeys_and_the_ledger_says_who_wanted_it(
    cli: Cli, shop: Shop, home: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed is what a run does, flags over everything."""
    shop.write("batchedit.toml", "concurrency = 2\nmax_fail = 7")
    monkeypatch.setenv("BATCHEDIT_RATE", "900")
    assert cli("run", jobs, "--max-fail", "9").code == 0
    with database(shop.root / "out" / ".batchedit" / "ledger.db") as db:
        facts = json.loads(db.execute("SELECT facts FROM runs").fetchone()[0])
    found = {name: (value, origin) for name, value, origin in facts["settings"]}
    assert found["in flight"] == ("2", "project")
    assert found["requests per minute"] == ("900", "environment")
    assert found["max failures"] == ("9", "flag")


def test_a_pyproject_counts_and_only_with_its_table(cli: Cli, shop: Shop, home: Path) -> None:
    """Somebody else's pyproject.toml is no file of ours, and ends no search."""
    shop.write("batchedit.toml", "rate = 20")
    shop.write("below/pyproject.toml", "[tool.other]\nx = 1 # tool.batchedit")
    os.chdir(shop.root / "below")
    assert setting(cli("config", "show", "--json"), "rate") == (20, "project")
    shop.write("below/pyproject.toml", "[tool.batchedit]\nrate = 40")
    assert setting(cli("config", "show", "--json"), "rate") == (40, "project")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rat = 3", ["batchedit.toml: rat is no setting", "did you mean rate?"]),
        ("max-fail = 3", ["did you mean max_fail?"]),
        ("quality = 'high'", ["quality is no setting", "by a flag or the manifest only"]),
        ("budget = 5", ["by a flag or the manifest only"]),
        ("api_key = 'x'", ["keys are not kept in settings"]),
        ("rate = 0", ["batchedit.toml: rate", "is not a whole number above 0, auto or none"]),
        ("rate = [1]", ["must be a text, a number, true or false"]),
        ("keyring = true", ["cannot be set by a project's file", "BATCHEDIT_KEYRING"]),
        ("key_command = 'rm -rf /'", ["cannot be set by a project's file"]),
        ("log_file = '.bashrc'", ["cannot be set by a project's file"]),
        ("rate = ", ["batchedit.toml is not TOML"]),
        ("ask_above = '100000'", ["cannot be set by a project's file"]),
        ("ask_above_edits = 100000", ["cannot be set by a project's file"]),
        (f"log_format = '{KEY}'", ["looks like an API key"]),
        (f"{KEY} = 1", ["is no setting"]),
        ("a = " + "[" * 5000, ["is not TOML"]),
    ],
)
def test_a_wrong_file_is_refused(cli: Cli, shop: Shop, home: Path, text: str, words: list[str]) -> None:
    """Exit code 2, the place, what to do; and never a key."""
    shop.write("batchedit.toml", text)
    result = cli("config", "show")
    assert result.code == 2
    assert all(word in result.err for word in words), result.err
    assert KEY not in result.err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BATCHEDIT_RAET", "3", ["BATCHEDIT_RAET, which is no setting", "did you mean BATCHEDIT_RATE?"]),
        ("BATCHEDIT_MODEL", "x", ["by a flag or the manifest only"]),
        ("BATCHEDIT_PROVIDER", "x", ["by a flag or the manifest only"]),
        ("BATCHEDIT_GRACE", "soon", ["BATCHEDIT_GRACE: the value is not a number of seconds"]),
        ("BATCHEDIT_QUIET", "2", ["is neither true nor false"]),
    ],
)
def test_a_wrong_variable_is_refused(
    cli: Cli, home: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: list[str]
) -> None:
    """Also by commands that would not have used it; nothing was sent."""
    monkeypatch.setenv(name, text)
    result = cli("run", jobs)
    assert result.code == 2
    assert all(word in result.err for word in words), result.err


def test_what_is_documented_is_what_there_is() -> None:
    """docs/settings.md has each setting."""
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in SETTINGS)


# Keys


def find(environment: dict[str, str], **places: object) -> str:
    use = KeyUse(provider="runflow", variable="RUNFLOW_API_KEY", home=HOME, address=HOME)
    found = find_key(environment, KeyPlaces(**places), use)  # type: ignore[arg-type]
    return "" if found is None else f"{found.key.reveal()} from {found.origin}"


def secret(folder: Path, text: str, mode: int = 0o600, name: str = "key") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_first_place_that_has_a_key_counts(tmp_path: Path) -> None:
    """File, variable, the provider's variable, .env, command."""
    path = secret(tmp_path, "k-file\n")
    secret(tmp_path, "# keys\nexport RUNFLOW_API_KEY='k-env' # mine\nOTHER=1\n", name=".env")
    command = f"{sys.executable} -c 'print(\"k-command\")'"
    everything = {"BATCHEDIT_API_KEY_FILE": str(path), "BATCHEDIT_API_KEY": "k-ours", "RUNFLOW_API_KEY": "k-theirs"}
    places = {"folder": tmp_path, "command": command}
    assert find(everything, **places) == f"k-file from the file of BATCHEDIT_API_KEY_FILE ({path})"
    del everything["BATCHEDIT_API_KEY_FILE"]
    assert find(everything, **places) == "k-ours from BATCHEDIT_API_KEY"
    del everything["BATCHEDIT_API_KEY"]
    assert find(everything, **places) == "k-theirs from RUNFLOW_API_KEY"
    with pytest.raises(
        UsageError, match=r"two places name a key: RUNFLOW_API_KEY in .*\.env, and your setting key_command"
    ):
        find({}, **places)
    assert find({}, folder=tmp_path) == f"k-env from RUNFLOW_API_KEY in {tmp_path / '.env'}"
    assert find({"RUNFLOW_API_KEY": ""}, **places) == "k-command from key_command"
    assert find({}, command=command) == "k-command from key_command"
    assert find({}) == ""


def test_a_dotenv_may_name_a_file_beside_it(tmp_path: Path) -> None:
    """Relative paths start where the file is."""
    secret(tmp_path, "k-file")
    secret(tmp_path, "BATCHEDIT_API_KEY_FILE=key", name=".env")
    assert find({}, folder=tmp_path).startswith("k-file from")


def test_a_dotenv_names_no_file_elsewhere(tmp_path: Path) -> None:
    """It may have come with the manifest, whose address would then get the file."""
    path = secret(tmp_path, "k-file")
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(path)
    for name in (str(path), "../key", "link"):
        secret(work, f"BATCHEDIT_API_KEY_FILE={name}", name=".env")
        with pytest.raises(UsageError, match="names a file outside its folder"):
            find({}, folder=work)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_no_place_for_a_key(tmp_path: Path, mode: int) -> None:
    """It says so, with the command that helps."""
    path = secret(tmp_path, KEY, mode)
    with pytest.raises(UsageError, match=f"mode 0{mode:o}") as caught:
        find({"BATCHEDIT_API_KEY_FILE": str(path)})
    assert "chmod 600" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "k\u00e9y", "x" * 70_000])
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    """A header could not hold it."""
    path = secret(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        find({"BATCHEDIT_API_KEY_FILE": str(path)})
    assert not text or text not in str(caught.value)


def test_a_pipe_or_a_folder_is_no_file(tmp_path: Path) -> None:
    """And does not make anybody wait."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", ".", "missing"):
        with pytest.raises(UsageError):
            find({"BATCHEDIT_API_KEY_FILE": str(tmp_path / name)})


def test_a_command_that_fails_or_waits_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors are not shown, what it started is ended, and it gets no input."""
    monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.5)
    with pytest.raises(UsageError, match="exit code 3") as caught:
        find({}, command=f"sh -c 'echo {KEY} >&2; exit 3'")
    assert KEY not in str(caught.value)
    with pytest.raises(UsageError, match=r"no key within 0\.5 seconds"):
        find({}, command="sh -c 'sleep 60; echo x'")
    with pytest.raises(UsageError, match="cannot be started"):
        find({}, command="/nowhere/at-all")
    with pytest.raises(UsageError, match="is empty"):
        find({}, command="cat")
    with pytest.raises(UsageError, match="taken apart"):
        find({}, command="'")


_BACKEND = """
import keyring.backend, time
class Backend(keyring.backend.KeyringBackend):
    priority = 9
    def get_password(self, service, user):
        time.sleep({sleep})
        return {{("batchedit", "runflow"): "k-ring"}}.get((service, user))
    def set_password(self, service, user, text): pass
    def delete_password(self, service, user): pass
"""


def test_the_keyring_comes_last_and_never_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real keyring package with a backend of ours."""
    (tmp_path / "ring.py").write_text(_BACKEND.format(sleep=0))
    (tmp_path / "slow.py").write_text(_BACKEND.format(sleep=60))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "ring.Backend")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "keyring.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", ["", str(elsewhere), *sys.path])
    assert find({}, keyring=True) == "k-ring from the keyring (batchedit, runflow)"
    assert find({"RUNFLOW_API_KEY": "k"}, keyring=True) == "k from RUNFLOW_API_KEY"
    if sys.platform == "linux":
        with pytest.raises(UsageError, match="there is no session"):
            find({}, keyring=True, may_ask=False)
    assert find({"DBUS_SESSION_BUS_ADDRESS": "x"}, keyring=True, may_ask=False).startswith("k-ring")
    (tmp_path / "bare.py").write_text(_BACKEND.format(sleep=0).replace("k-ring", ""))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "bare.Backend")
    with pytest.raises(UsageError, match=r"the keyring has no key \(batchedit, runflow\)"):
        find({}, keyring=True)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "slow.Backend")
    monkeypatch.setattr(credentials, "KEYRING_SECONDS", 1.0)
    with pytest.raises(UsageError, match="no key within 1 seconds"):
        find({}, keyring=True)
    assert not (elsewhere / "ran").exists()


def test_a_run_takes_its_key_from_beside_the_manifest(
    cli: Cli, shop: Shop, home: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is started from elsewhere."""
    served = serve()
    monkeypatch.delenv("RUNFLOW_API_KEY")
    manifest = served.manifest(shop)
    (shop.root / "elsewhere").mkdir()
    assert cli("run", manifest, "--yes").code == 2
    shop.write(".env", f"RUNFLOW_API_KEY={KEY}\n")
    monkeypatch.chdir(shop.root / "elsewhere")
    assert cli("run", manifest, "--yes", "--out", shop.root / "out").code == 0
    assert served.audit()["billed_runs_total"] == 3


def test_settings_in_dotenv_are_not_silently_ignored(tmp_path: Path) -> None:
    """They would work in the environment, and do not here."""
    secret(tmp_path, "BATCHEDIT_RATE=3", name=".env")
    with pytest.raises(UsageError, match=r"\.env:1: BATCHEDIT_RATE has no effect here"):
        find({}, folder=tmp_path)


# Whose key it is


OTHER = "https://gateway.example"


def elsewhere(shop: Shop, address: str, name: str = "m.yaml") -> Path:
    """A manifest of somebody else's, with an address of the API of his own."""
    head = f"version: 1\nprovider: {{name: runflow, base_url: '{address}'}}\nlimits: {{attempts: 1, timeout: 2}}\n"
    return shop.write(name, f"{head}defaults: {{prompt: grayscale}}\nsources: [{{glob: in/*.png}}]\n")


@pytest.mark.parametrize(
    "address",
    [OTHER, "https://api.runflow.io.gateway.example", "https://api.runflow.io:8443", "https://api.runflow.io.",
     "https://runflow.io", "https://api-runflow.io/v1", "https://127.0.0.1.gateway.example", "https://[2001:db8::1]",
     "http://127.0.0.1:9", "https://localhost", "http://[::1]:9"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["RUNFLOW_API_KEY", "BATCHEDIT_API_KEY", "BATCHEDIT_API_KEY_FILE", ".env"])
def test_a_manifest_cannot_have_the_key_sent_elsewhere(
    cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, address: str, place: str
) -> None:
    """Refused before anybody looks at the key or for the host, naming both; `.env` beside a manifest counts as well."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("somebody looked up a host"))
    if place == ".env":
        secret(shop.root, f"RUNFLOW_API_KEY={KEY}", name=".env")
    else:
        value = str(secret(shop.root, KEY)) if place.endswith("FILE") else KEY
        monkeypatch.setenv(place, value)
    manifest = elsewhere(shop, address)
    for words in (["run", manifest, "--yes"], ["plan", manifest], ["plan", manifest, "--json"]):
        result = cli(*words)
        assert result.code == 2
        assert f"the key is for {HOME}, and base_url would send it to http" in result.err
        is_here = address.startswith("http:") or "localhost" in address
        assert f"BATCHEDIT_KEY_ORIGIN={'loopback' if is_here else 'https://'}" in result.err
        assert KEY not in result.out + result.err
    assert shop.outputs() == []


def test_a_command_for_the_key_is_not_started_for_another_host(
    cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would fetch the key is not even asked, and a project's file or `.env` cannot allow a host."""
    monkeypatch.setenv("BATCHEDIT_KEY_COMMAND", f"touch {shop.root / 'started'}")
    manifest = elsewhere(shop, OTHER)
    assert cli("run", manifest, "--yes").code == 2
    assert not (shop.root / "started").exists()
    shop.write("batchedit.toml", f"key_origin = '{OTHER}'")
    result = cli("run", manifest, "--yes")
    assert (result.code, "key_origin cannot be set by a project's file" in result.err) == (2, True)
    (shop.root / "batchedit.toml").unlink()
    monkeypatch.delenv("BATCHEDIT_KEY_COMMAND")
    secret(shop.root, f"RUNFLOW_API_KEY={KEY}\nBATCHEDIT_KEY_ORIGIN={OTHER}", name=".env")
    result = cli("run", manifest, "--yes")
    assert (result.code, f"the key is for {HOME}, and" in result.err) == (2, True)


@pytest.mark.parametrize("where", ["variable", "file"])
def test_whoever_owns_the_key_says_where_it_may_go(
    cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Then it goes there and no longer to the provider's own origin; plan names host and place of the key."""
    monkeypatch.setenv("RUNFLOW_API_KEY", KEY)
    if where == "variable":
        monkeypatch.setenv("BATCHEDIT_KEY_ORIGIN", OTHER.upper() + ":443/")
    else:
        home.write_text(f"key_origin = '{OTHER} https://second.example'")
    shown = cli("plan", elsewhere(shop, OTHER + "/v9/"))
    assert shown.code == 0, shown.err
    assert f"sent to  {OTHER}, with the key from RUNFLOW_API_KEY" in shown.out
    assert KEY not in shown.out + shown.err
    told = cli("plan", elsewhere(shop, OTHER), "--json").json()["destination"]
    assert told == {"origin": OTHER, "key_from": "RUNFLOW_API_KEY"}
    assert cli("plan", elsewhere(shop, "https://third.example")).code == 2
    assert cli("plan", elsewhere(shop, HOME)).code == 2


@pytest.mark.parametrize(
    "text", ["gateway.example", "http://gateway.example", f"{OTHER}/v1", "https://u@gateway.example", "*"]
)
def test_an_origin_that_is_none_is_refused(
    cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("BATCHEDIT_KEY_ORIGIN", text)
    result = cli("plan", elsewhere(shop, OTHER))
    assert result.code == 2
    assert "is not an origin such as" in result.err or "is not an address such as" in result.err


@pytest.mark.parametrize("word", ["loopback", "{url}", "https://gateway.example {url}/"])
def test_the_emulator_on_this_machine_takes_any_key(
    cli: Cli, shop: Shop, home: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """Where its user says so, as docs/emulator.md does; the plan names the address."""
    served = serve()
    monkeypatch.setenv("BATCHEDIT_KEY_ORIGIN", word.format(url=served.url))
    shown = cli("plan", served.manifest(shop))
    assert f"sent to  {served.url}, with the key from RUNFLOW_API_KEY" in shown.out


def test_a_server_on_this_machine_gets_no_key_unasked(
    cli: Cli, shop: Shop, home: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may run it, and have sent the manifest that names it."""
    served = serve()
    monkeypatch.delenv("BATCHEDIT_KEY_ORIGIN")
    result = cli("run", served.manifest(shop), "--yes")
    assert (result.code, "BATCHEDIT_KEY_ORIGIN=loopback" in result.err) == (2, True)
    assert not any(name.startswith(("POST", "GET /v1")) for name in served.audit()["requests"])


@pytest.mark.parametrize("name", ["key_command", "keyring"])
def test_a_key_that_came_with_a_manifest_does_not_win_silently(
    cli: Cli, shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither is it used, nor is what the user's settings name started; a key in the environment needs no choice."""
    started = shop.root / "started"
    home.write_text("keyring = true" if name == "keyring" else f"key_command = 'touch {started}'")
    secret(shop.root, f"RUNFLOW_API_KEY={KEY}", name=".env")
    manifest = elsewhere(shop, HOME)
    for words in (["plan", manifest], ["run", manifest, "--yes"], ["doctor", manifest]):
        result = cli(*words)
        assert result.code == 2, words
        told = f"two places name a key: RUNFLOW_API_KEY in {shop.root / '.env'}, and your setting {name}"
        assert told in result.out + result.err
    assert not started.exists()
    monkeypatch.setenv("RUNFLOW_API_KEY", KEY)
    assert "with the key from RUNFLOW_API_KEY" in cli("plan", manifest).out


# What may be bought at all


@pytest.mark.parametrize("start", ["plan", "run", "pilot", "job"])
def test_settings_allow_models_and_a_price_of_one_request(
    cli: Cli, shop: Shop, home: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Whatever a manifest says, with the place, and before anything is sent; a rehearsal is not held to it."""
    served = serve()
    manifest = served.manifest(shop, defaults="{prompt: grayscale, quality: high}")
    shop.write("job.yaml", f"job: 1\nmanifests: [{manifest.name}]\nbudget: {{night: 9}}\n")
    words = {
        "plan": ("plan", str(manifest)),
        "run": ("run", str(manifest), "--yes"),
        "pilot": ("pilot", str(manifest), "--yes"),
        "job": ("job", "run", "job.yaml"),
    }[start]
    home.write_text("allow_models = 'openai/gpt-image-1/* other'")
    result = cli(*words)
    assert result.code == 2
    assert "night.yaml: the model openai/gpt-image-2/edit is not among those that your settings allow" in (
        result.out + result.err
    )
    assert f"allow_models (user: {home})" in result.out + result.err
    home.write_text("allow_models = 'openai/gpt-image-2/*'\nmax_request_cost = '0.10'")
    result = cli(*words)
    assert result.code == 2
    assert "in/lamp.png: one request may cost $" in result.out + result.err
    assert "and your settings allow $0.10" in result.out + result.err
    monkeypatch.setenv("BATCHEDIT_MAX_REQUEST_COST", "5")
    shop.write("batchedit.toml", "max_request_cost = '99'")
    refused = cli(*words)
    assert (refused.code, "cannot be set by a project's file" in refused.err) == (2, True)
    (shop.root / "batchedit.toml").unlink()
    assert served.audit()["billed_runs_total"] == 0
    assert cli("plan", manifest).code == 0
    home.write_text("allow_models = 'other'")
    assert cli("run", manifest, "--rehearse", "--yes").code == 0
