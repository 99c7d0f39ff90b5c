"""
How a person likes the program to behave: from flags, the environment, the manifest, and files of settings.

Closed list. Nothing in it decides what is bought, from whom, or for how much: model, prompt, quality, size, number,
provider, output, ledger, prices and budget come from a flag or the manifest, so that a manifest buys the same on every
machine.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchedit.credentials import read_origins
from batchedit.errors import UsageError
from batchedit.model import Limits
from batchedit.money import parse_usd
from batchedit.redaction import redact

PREFIX = "BATCHEDIT_"
FILE = "batchedit.toml"
KEY_VARIABLES = ("BATCHEDIT_API_KEY_FILE", "BATCHEDIT_API_KEY")
OTHER_VARIABLES = (*KEY_VARIABLES, "BATCHEDIT_CHROMIUM")
"""Of our prefix, and no settings."""

NOTICE_PREFIX = "BATCHEDIT_NOTICE_"
"""What programs that are told of a job's end are given; a batchedit that they start must not mind."""

_FROM_MANIFEST_ONLY = frozenset(
    {"model", "prompt", "quality", "size", "n", "samples", "format", "mask", "provider", "output", "out", "ledger",
     "prices", "budget", "base_url", "api", "on_unknown", "changed", "yes", "select", "sample"}
)  # fmt: skip
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_LARGEST_FILE = 1_000_000


def _rate(text: str) -> int | str:
    return text if text in ("auto", "none") else _whole(text, 1, " above 0, auto or none")


def _whole(text: str, least: int = 0, words: str = "") -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise ValueError(f"is not a whole number{words or f' of at least {least}'}")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise ValueError("is not a number of seconds")
    return float(text)


def _switch(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise ValueError("is neither true nor false")
    return text.lower() in _YES


def _verbosity(text: str) -> int:
    if text not in ("0", "1", "2"):
        raise ValueError("is not 0, 1 or 2")
    return int(text)


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("is neither text nor json")
    return text


def _origins(text: str) -> str:
    return " ".join(read_origins(text))


def _text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("is empty")
    return text


def _dollars(text: str) -> str:
    parse_usd(text)  # which says what is wrong with it
    return text


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One thing that can be set.

    Attributes:
        name: In files; the variable is ``BATCHEDIT_`` and the same in capitals.
        parse: Makes a value of a text; raises ValueError, which says what the text is not.
        default: Without any word about it.
        about: For people.
        fields: Of `model.Limits`, where a manifest can say the same.
        by_project: False where a project's file, which may come from anybody, must not say it.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    about: str
    fields: tuple[str, ...] = ()
    by_project: bool = True

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "rate", _rate, None, "most edits started per minute; auto or none", ("requests_per_minute", "learn_rate")
        ),
        Setting("concurrency", _positive, None, "most edits in flight", ("in_flight",)),
        Setting("max_fail", _positive, None, "stop after so many failed edits", ("max_failures",)),
        Setting("grace", _seconds, 60.0, "seconds that what is in flight may take after Ctrl-C"),
        # A folder that came from somebody else must not do away with the question.
        Setting("ask_above_edits", _whole, 50, "ask before more edits than this are bought", by_project=False),
        Setting("ask_above", _dollars, "5.00", "ask before more dollars than this are spent", by_project=False),
        Setting("no_input", _switch, False, "never ask"),
        Setting("quiet", _switch, False, "say only what somebody must do something about"),
        Setting("verbose", _verbosity, 0, "1 says more on stderr, 2 every change of state"),
        Setting("log_file", _text, None, "where the log goes", by_project=False),
        Setting("log_format", _log_format, "text", "text or json"),
        Setting("events", _text, None, "where changes of state go; - is stdout", by_project=False),
        Setting("otel", _switch, False, "spans and figures by OpenTelemetry, to where OTEL_* says", by_project=False),
        Setting("key_command", _text, None, "a program that prints the API key", by_project=False),
        Setting("keyring", _switch, False, "look into the system's keyring for the API key", by_project=False),
        Setting("allow_models", _text, None, "models that may be bought from; any if not set", by_project=False),
        Setting("max_request_cost", _dollars, None, "most dollars that one request may cost", by_project=False),
        Setting("key_origin", _origins, None, "origins that the API key is for", by_project=False),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """
    What a setting is.

    Attributes:
        origin: ``flag``, ``environment``, ``manifest``, ``project``, ``user`` or ``default``.
        where: The variable's name, or the file's; empty for flags and defaults.
    """

    name: str
    value: Any
    origin: str
    where: str = ""


class Configuration:
    """
    Everything that is set outside of flags and manifests.

    Args:
        layers: From high to low: origin, where, values by name.
    """

    def __init__(self, layers: Iterable[tuple[str, Mapping[str, Value]]]) -> None:
        self._layers = dict(layers)

    def get(self, name: str, *, flag: Any = None, manifest: Value | None = None) -> Value:
        """
        What is in force: flag, environment, manifest, project, user, default.

        Args:
            flag: As given on the command line, None if it was not.
            manifest: What the manifest says, None if nothing.
        """
        if flag is not None:
            return Value(name, flag, "flag")
        for value in (
            self._layers.get("environment", {}).get(name),
            manifest,
            self._layers.get("project", {}).get(name),
            self._layers.get("user", {}).get(name),
        ):
            if value is not None:
                return value
        return Value(name, SETTINGS[name].default, "default")


def load_configuration(environment: Mapping[str, str], folder: Path) -> Configuration:
    """
    Read what is set in the environment and in the files.

    Args:
        folder: Where to look for the project's file, and then in the folders above it.

    Raises:
        UsageError: for a variable or key that there is not, or a value that it cannot have.
    """
    check_variables(environment)
    layers = [("environment", _of_environment(environment))]
    project = project_file(folder)
    if project is not None:
        layers.append(("project", _of_file(project, "project")))
    user = user_file(environment)
    if user is not None and user.is_file():
        layers.append(("user", _of_file(user, "user")))
    return Configuration(layers)


def check_variables(environment: Mapping[str, str]) -> None:
    """
    Refuse variables of our prefix that mean nothing: a word misspelt must not be silently ignored.

    Raises:
        UsageError: for the first one.
    """
    known = [*(setting.variable for setting in SETTINGS.values()), *OTHER_VARIABLES]
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and not variable.startswith(NOTICE_PREFIX):
            bought = variable.removeprefix(PREFIX).lower()
            hint = _near(variable, known) or f"known are: {', '.join(known)}"
            if bought in _FROM_MANIFEST_ONLY:
                hint = "what is bought is said by a flag or the manifest only"
            raise UsageError(f"the environment has {variable}, which is no setting", hint=hint)


def _of_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    values = {}
    for setting in SETTINGS.values():
        text = environment.get(setting.variable, "")
        if text:
            value = _parsed(setting, text, setting.variable)
            values[setting.name] = Value(setting.name, value, "environment", setting.variable)
    return values


def project_file(folder: Path) -> Path | None:
    """The nearest `batchedit.toml`, or `pyproject.toml` with ``[tool.batchedit]``, in a folder or above it."""
    for base in (folder, *folder.parents):
        if (base / FILE).is_file():
            return base / FILE
        other = base / "pyproject.toml"
        if other.is_file() and b"tool.batchedit" in _bytes(other) and _table(other) is not None:
            return other
    return None


def user_file(environment: Mapping[str, str]) -> Path | None:
    """Where the user's own settings are; None without a home."""
    base = environment.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(base):  # as the standard says, others are to be ignored
        return Path(base, "batchedit", "config.toml")
    home = environment.get("HOME", "")
    return Path(home, ".config", "batchedit", "config.toml") if home else None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise UsageError(f"{path} is too large for a file of settings")
    return data


def _table(path: Path) -> Mapping[str, Any] | None:
    """The file's settings; None for a pyproject.toml that has none."""
    try:
        data = tomllib.loads(_bytes(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # tomllib's own error is one
        raise UsageError(f"{path} is not TOML: {error}") from None
    if path.name != "pyproject.toml":
        return data
    tool = data.get("tool")
    found = tool.get("batchedit") if isinstance(tool, dict) else None
    if found is not None and not isinstance(found, dict):
        raise UsageError(f"{path}: tool.batchedit must be a table")
    return found


def _of_file(path: Path, origin: str) -> dict[str, Value]:
    values = {}
    for key, given in (_table(path) or {}).items():
        setting = SETTINGS.get(key)
        where = f"{path}: {_shown(key)}"
        if setting is None:
            hint = _near(key, SETTINGS) or f"known are: {', '.join(SETTINGS)}"
            if key.replace("-", "_") in SETTINGS:
                hint = f"did you mean {key.replace('-', '_')}?"
            elif key in _FROM_MANIFEST_ONLY:
                hint = "what is bought is said by a flag or the manifest only"
            elif "key" in key.lower() or "token" in key.lower():
                hint = "keys are not kept in settings: see BATCHEDIT_API_KEY_FILE and key_command in docs/settings.md"
            raise UsageError(f"{where} is no setting", hint=hint)
        if origin == "project" and not setting.by_project:
            hint = f"set it in the environment ({setting.variable}) or in your own file of settings"
            raise UsageError(f"{where} cannot be set by a project's file", hint=hint)
        values[key] = Value(key, _parsed(setting, _as_text(given, where), where), origin, str(path))
    return values


def _as_text(given: Any, where: str) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str) and redact(given) != given and not given.startswith("http"):
        hint = "take it out, replace it at the provider, and see docs/settings.md for where keys are looked for"
        raise UsageError(f"{where} looks like an API key", hint=hint)
    if isinstance(given, (str, int, float)):
        return str(given)
    raise UsageError(f"{where} must be a text, a number, true or false")


def _parsed(setting: Setting, text: str, where: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: the value {redact(str(error))}", hint=f"{setting.name}: {setting.about}") from None


def _near(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"did you mean {found[0]}?" if found else ""


def _shown(key: str) -> str:
    return redact(key if len(key) <= 60 else key[:57] + "...")


def of_manifest(name: str, limits: Limits, given: frozenset[str], where: str) -> Value | None:
    """What a manifest's limits say about a setting, None if nothing."""
    for field in SETTINGS[name].fields:
        if field in given:
            value: Any = getattr(limits, field)
            if field == "learn_rate":
                value = "auto" if value else "none"
            return Value(name, value, "manifest", where)
    return None
