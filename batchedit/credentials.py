"""
Where an API key is found. Never in a flag, which every user of a machine can see, and never in a manifest.

First found wins: the file that BATCHEDIT_API_KEY_FILE names, BATCHEDIT_API_KEY, the provider's own variable; the same
three in `.env` beside the manifest, which only fills in what the environment lacks; `key_command`; the keyring. One in
`.env` beside a setting that names another place is an error: the file may have come with the manifest, and with it the
account that gets the pictures.

A key belongs to the origin that it was given for: the provider's own, or those that the user names outside of
manifests. Otherwise somebody else's manifest could have it sent to its own host, or to a server that somebody else
runs on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from batchedit.addresses import is_loopback
from batchedit.endpoint import Key, origin_of
from batchedit.errors import UsageError

FILE_VARIABLE = "BATCHEDIT_API_KEY_FILE"
VARIABLE = "BATCHEDIT_API_KEY"
ORIGIN_VARIABLE = "BATCHEDIT_KEY_ORIGIN"
LOOPBACK = "loopback"
"""In place of an origin: every server on this machine, such as the emulator."""
SERVICE = "batchedit"
"""Under this name a keyring has it; the user name is the provider's."""
COMMAND_SECONDS = 10.0
KEYRING_SECONDS = 5.0
_LARGEST = 64 * 1024
_USABLE = re.compile(r"[!-~]{1,4096}")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_KEYRING = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); import keyring;"
    " sys.stdout.write(keyring.get_password(sys.argv[1], sys.argv[2]) or '')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlaces:
    """
    Where to look besides the environment.

    Attributes:
        folder: Whose `.env` is read; None for none.
        command: A program and its arguments, run without a shell; it prints the key.
        keyring: Ask the system's keyring.
        may_ask: False where nobody can unlock a keyring.
        origins: Those that the key may go to, as in `read_origins`; none leaves it to the environment, and to the
            provider's own.
    """

    folder: Path | None = None
    command: str | None = None
    keyring: bool = False
    may_ask: bool = True
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """A key and, in words, where it was."""

    key: Key
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """
    What a provider wants a key for.

    Attributes:
        provider: Its name, for the keyring.
        variable: Its own one.
        home: The address that its keys are for.
        address: Where the key would be sent.
    """

    provider: str
    variable: str
    home: str
    address: str


def find_key(environment: Mapping[str, str], places: KeyPlaces, use: KeyUse) -> FoundKey | None:
    """
    The key for a provider, None if there is none anywhere.

    Args:
        environment: Variables.

    Raises:
        UsageError: if the key is not for where it would be sent; or if a place is named and does not give a key: a
            file that others may read, a command that fails, a keyring without it.
    """
    check_destination(environment, places, use)
    own, provider = use.variable, use.provider
    for variables, where, folder in _named(environment, places, own):
        found = _in_variables(variables, own, where, folder)
        if found is not None:
            _check_alone(found.origin, where, places)
            return found
    if places.command is not None:
        return _of_command(places.command, own)
    return _of_keyring(environment, places, provider) if places.keyring else None


def _check_alone(what: str, where: str, places: KeyPlaces) -> None:
    """Raises UsageError for a key that `.env` has, if the user's settings name another place of keys."""
    setting = "key_command" if places.command is not None else "keyring" if places.keyring else ""
    if where and setting:
        raise UsageError(
            f"two places name a key: {what}, and your setting {setting}",
            hint="take it out of .env, which may have come with the manifest; yours can be in the environment",
        )


def without_keys(environment: Mapping[str, str], *own: str) -> dict[str, str]:
    """
    The environment for a program of the user's: without the variables of keys, and whatever else holds the same.

    Args:
        own: The providers' own variables.
    """
    names = {FILE_VARIABLE, VARIABLE, *own}
    secrets = {environment[name].strip() for name in names if environment.get(name, "").strip()}
    return {name: text for name, text in environment.items() if name not in names and text.strip() not in secrets}


def check_destination(environment: Mapping[str, str], places: KeyPlaces, use: KeyUse) -> None:
    """
    Make sure that a key is for the origin that it would be sent to.

    Raises:
        UsageError: if it is not, or no origin at all.
    """
    try:
        target, named = origin_of(use.address), places.origins or read_origins(environment.get(ORIGIN_VARIABLE, ""))
    except ValueError as error:
        raise UsageError(f"base_url or {ORIGIN_VARIABLE} {error}") from None
    allowed = named or (origin_of(use.home),)
    is_here = is_loopback(urlsplit(target).hostname or "")
    if target in allowed or (is_here and LOOPBACK in allowed):
        return
    whom = "the emulator, or whatever runs there," if is_here else "that host"
    raise UsageError(
        f"the key is for {' and '.join(allowed)}, and base_url would send it to {target}",
        hint=f"do you trust {whom} with a key? Then say so outside of the manifest:"
        f" {ORIGIN_VARIABLE}={LOOPBACK if is_here else target}",
    )


def read_origins(text: str) -> tuple[str, ...]:
    """
    Origins that are separated by spaces, each written in one way, or `loopback`.

    Raises:
        ValueError: for one that is none, or has more to it.
    """
    return tuple(LOOPBACK if word == LOOPBACK else _origin(word) for word in text.split())


def _origin(word: str) -> str:
    origin, parts = origin_of(word), urlsplit(word)
    is_safe = parts.scheme.lower() == "https" or is_loopback(parts.hostname or "")
    if not is_safe or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("is not an origin such as https://api.example.com")
    return origin


def place_of_key(environment: Mapping[str, str], places: KeyPlaces, use: KeyUse) -> str:
    """
    In words the first place that names a key, without looking at the key, and without starting anything; empty if none.

    Raises:
        UsageError: if `.env` cannot be read, or names one beside a setting that does.
    """
    for found, where, _ in _named(environment, places, use.variable):
        for name in (FILE_VARIABLE, VARIABLE, use.variable):
            if found.get(name, "").strip():
                place = f"the file of {name}{where}" if name == FILE_VARIABLE else f"{name}{where}"
                _check_alone(place, where, places)
                return place
    if places.command is not None:
        return "key_command"
    return f"the keyring ({SERVICE}, {use.provider})" if places.keyring else ""


def _named(
    environment: Mapping[str, str], places: KeyPlaces, own: str
) -> Iterator[tuple[Mapping[str, str], str, Path]]:
    """The variables that may name a key, where they are in words, and where the files lie that they name."""
    yield environment, "", Path()
    if places.folder is not None:
        path = places.folder / ".env"
        # A variable that is there and empty is not missing: that is how one switches the file off.
        missing = {name: text for name, text in _dotenv(path, own).items() if name not in environment}
        yield missing, f" in {path}", places.folder


def _in_variables(variables: Mapping[str, str], own: str, where: str, folder: Path) -> FoundKey | None:
    name = variables.get(FILE_VARIABLE, "")
    if name:
        # The environment is the user's own; a `.env` may have come with the manifest, and must not send other files.
        if where and not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"{FILE_VARIABLE}{where} names a file outside its folder",
                hint=f"put the file below {folder}, or set the variable in the environment",
            )
        return _of_file(folder / name, f"the file of {FILE_VARIABLE}{where}")
    for variable in (VARIABLE, own):
        text = variables.get(variable, "").strip()
        if text:
            return _usable(text, f"{variable}{where}")
    return None


def _of_file(path: Path, origin: str) -> FoundKey:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{origin}, {path}, is no file")
            # A secret that a cluster mounts belongs to root and is read through the group.
            others = stat.S_IRWXO | stat.S_IRWXG
            allowed = stat.S_IRGRP if status.st_uid == 0 and os.geteuid() != 0 else 0
            if status.st_mode & others & ~allowed:
                raise UsageError(
                    f"{origin}, {path}, can be read or changed by others (mode {stat.S_IMODE(status.st_mode):04o})",
                    hint=f"chmod 600 {shlex.quote(str(path))}; if others have seen the key, replace it at the provider",
                )
            if status.st_uid not in (0, os.geteuid()):
                raise UsageError(f"{origin}, {path}, belongs to somebody else")
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{origin}, {path}, cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > _LARGEST:
        raise UsageError(f"{origin}, {path}, is too large for a key")
    return _usable(data.decode("utf-8", "replace").strip(), f"{origin} ({path})")


def _without_waiting(path: str, flags: int) -> int:
    """So that a pipe without a writer does not stop everything."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _dotenv(path: Path, own: str) -> dict[str, str]:
    """The variables in a file of lines NAME=VALUE that are about keys; those of others are left alone."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            text = file.read(_LARGEST).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None or line.lstrip().startswith("#"):
            continue
        name, value = match[1], match[2].strip()
        if name in (FILE_VARIABLE, VARIABLE, own):
            values[name] = _unquoted(value)
        elif name.startswith("BATCHEDIT_"):
            hint = "settings are in the environment, batchedit.toml, or your own file of settings"
            raise UsageError(f"{path}:{number}: {name} has no effect here; only keys are read from .env", hint=hint)
    return values


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] in "\"'":
        end = value.find(value[0], 1)
        return value[1:end] if end > 0 else value
    return value.split(" #", 1)[0].strip()


def _of_command(command: str, own: str) -> FoundKey:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"key_command cannot be taken apart: {error}") from None
    if not arguments:
        raise UsageError("key_command is empty")
    return _usable(_output(arguments, COMMAND_SECONDS, "key_command", own), "key_command")


def _of_keyring(environment: Mapping[str, str], places: KeyPlaces, provider: str) -> FoundKey:
    if not places.may_ask and sys.platform == "linux" and not environment.get("DBUS_SESSION_BUS_ADDRESS"):
        # It could only wait for somebody who is not there.
        raise UsageError(
            "the keyring is not asked for a key: there is no session (DBUS_SESSION_BUS_ADDRESS) and nobody to ask",
            hint=f"for a scheduler put the key into a file that only you can read: {FILE_VARIABLE}=...",
        )
    from importlib.util import find_spec

    if find_spec("keyring") is None:
        raise UsageError(
            "the setting keyring needs the package keyring", hint='pip install "batchedit[keyring]", or take it out'
        )
    # In a process of its own, which can be ended: backends wait for dialogues and buses as long as they like.
    # It imports from where this program does, and nothing from the folder that it happens to be started in.
    here = {"", ".", os.getcwd()}
    paths = json.dumps([path for path in sys.path if path not in here])
    arguments = [sys.executable, "-I", "-c", _KEYRING, SERVICE, provider, paths]
    text = _output(arguments, KEYRING_SECONDS, "the keyring", "")
    if not text:
        raise UsageError(
            f"the keyring has no key ({SERVICE}, {provider})",
            hint=f"keyring set {SERVICE} {provider}, or take the setting out",
        )
    return _usable(text, f"the keyring ({SERVICE}, {provider})")


def _output(arguments: list[str], seconds: float, what: str, own: str) -> str:
    """What a program prints. Its errors are not shown: they may hold what must not be seen."""
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=without_keys(os.environ, own),
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"{what} cannot be started: {error.strerror}") from None
    with process:
        try:
            data, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise UsageError(
                f"{what} gave no key within {seconds:g} seconds", hint="does it wait for somebody?"
            ) from None
    if process.returncode:
        raise UsageError(f"{what} failed (exit code {process.returncode})", hint="run it by hand to see why")
    return data[:_LARGEST].decode("utf-8", "replace").strip()


def _usable(text: str, origin: str) -> FoundKey:
    if not _USABLE.fullmatch(text):
        why = "is empty" if not text else "holds spaces, several lines, or what is no ASCII"
        raise UsageError(f"the key from {origin} {why}")
    return FoundKey(key=Key(text), origin=origin)
