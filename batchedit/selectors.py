"""
The language of `--select` and `--exclude`: what is asked of a task.

    selection   terms, separated by white space or given one by one: any of them
    term        conditions, separated by commas: all of them
    condition   method:value, or a value alone for id:value; value|value: either; @name: a selector of the manifest

    "client:acme,edit:white id:BOOT-*"      acme's white edits, and everything whose id begins with BOOT-

Values take the wildcards * ? [abc] and tell capitals from small letters. Within single or double quotes everything
stands for itself. A method that is none of ours is the name of a label. Pure.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Protocol

from batchedit.lifecycle import State
from batchedit.money import parse_usd
from batchedit.plan import Verdict
from batchedit.recipe import CHECK_NAMES, POST, TRAILING

METHODS: Mapping[str, str] = {
    "id": "the item's id",
    "edit": "the edit's name",
    "variant": "the variant's name",
    "tag": "one of its tags",
    "line": "the line of its row: 120, 120-180, 120-, -180",
    "status": "where its request stands in the ledger",
    "state": "the plan's verdict on it",
    "class": "the code of what went wrong",
    "verdict": "what a person has said about its pictures: approved, rejected, or none",
    "reason": "why they were approved or rejected",
    "check": "a check of its files that was not passed, by name; or warned, failed, for any",
    "made-from": "what has become of the picture that it started from: rejected, replaced",
    "run": "last, or the number of a run that worked on it",
    "cost": "what it has cost in dollars: >0.20, <=1, 0",
}
"""What can be asked of a task, besides the names of labels."""

STATUSES = (*(str(state) for state in State), "waiting")
REVIEWS = ("approved", "rejected", "none")
STARTS = ("rejected", "replaced")
CHECKS = (*CHECK_NAMES, POST, TRAILING, "warned", "failed")
VERDICTS = tuple(str(verdict).replace(" ", "-") for verdict in Verdict)

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq, "": operator.eq,
}  # fmt: skip
_COST = re.compile(r"(>=|<=|>|<|=|)\$?([0-9.]+)")
_LINES = re.compile(r"([0-9]{1,9})?(-)?([0-9]{1,9})?")
_METHOD = re.compile(r"[^\W\d][\w.-]*")


class Candidate(Protocol):
    """A task that may be meant."""

    @property
    def id(self) -> str:
        """Its item's id."""

    @property
    def edit(self) -> str:
        """Its edit's name."""

    @property
    def variant(self) -> str:
        """Its variant's name, empty without one."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def tags(self) -> Collection[str]:
        """Its tags."""

    @property
    def line(self) -> int | None:
        """The line of its row, None where there are no lines."""

    @property
    def status(self) -> str | None:
        """The state of its request, ``waiting`` without one, None if the ledger does not know the task."""

    @property
    def code(self) -> str:
        """What went wrong, empty if nothing did."""

    @property
    def review(self) -> str:
        """What a person has said about the pictures that it has, in the words of `REVIEWS`."""

    @property
    def review_reason(self) -> str:
        """Why, empty if nobody has said."""

    @property
    def checks(self) -> Collection[tuple[str, str]]:
        """(name, ``warned`` or ``failed``) of the checks of its files that were not passed."""

    @property
    def start(self) -> str:
        """What has become of the picture that it started from, in the words of `STARTS`; empty if that still counts."""

    @property
    def cost(self) -> int:
        """What it has cost, in micro-dollars."""

    @property
    def verdict(self) -> str | None:
        """The plan's verdict in the words of `VERDICTS`, None as long as it is not known."""

    def in_run(self, number: int | None) -> bool:
        """True if this run worked on it; None is the last one."""


_TEXT_OF: Mapping[str, Callable[[Candidate], str]] = {
    "id": lambda task: task.id,
    "edit": lambda task: task.edit,
    "variant": lambda task: task.variant,
    "class": lambda task: task.code,
    "verdict": lambda task: task.review,
    "reason": lambda task: task.review_reason,
    "status": lambda task: task.status or "",
    "state": lambda task: task.verdict or "",
    "made-from": lambda task: task.start,
}


_OF_SOME = ("class", "reason", "made-from")
"""What most tasks do not have: ``class:*`` asks for those that have it."""


class BadSelector(Exception):
    """
    A selector that cannot be read.

    Attributes:
        text: All of it.
        position: Of the character where it goes wrong, starting at 1.
    """

    def __init__(self, text: str, position: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.text, self.position, self.message, self.hint = text, position, message, hint


Test = Callable[[Candidate], bool | None]


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was written, without quotes, and the pattern that it stands for."""

    text: str
    pattern: str
    position: int

    @property
    def is_wild(self) -> bool:
        """True if it may stand for several texts."""
        return any(letter in self.pattern.replace("[[]", "").replace("[*]", "").replace("[?]", "") for letter in "*?[")


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One thing that is asked of a task.

    Attributes:
        method: One of `METHODS`, or the name of a label.
        source: The whole text that it is part of, with `position` in it.
        test: True, False, or None if the task does not tell yet.
    """

    method: str
    values: tuple[Value, ...]
    source: str
    position: int
    test: Test = field(compare=False, repr=False)

    @property
    def is_label(self) -> bool:
        """True if a label is asked for."""
        return self.method not in METHODS

    def __str__(self) -> str:
        return f"{self.method}:{'|'.join(value.text for value in self.values)}"


Term = tuple[Condition, ...]


def parse(
    text: str,
    *,
    named: Mapping[str, Sequence[str]] | None = None,
    without: Mapping[str, str] | None = None,
    _within: tuple[str, ...] = (),
) -> tuple[Term, ...]:
    """
    The terms of one string; as `parse_selection`.

    Raises:
        BadSelector: if it cannot be read.
    """
    terms: list[Term] = []
    for words in _split(text):
        alternatives: list[Term] = [()]
        for position, word in words:
            if not word:
                raise BadSelector(text, position, "a condition is missing beside the comma")
            if word[0] == ("@", False):
                name = "".join(letter for letter, _ in word[1:])
                inner = _named(text, position, name, named, without, _within)
                alternatives = [(*term, *more) for term in alternatives for more in inner]
            else:
                condition = _condition(text, position, word, without or {})
                alternatives = [(*term, condition) for term in alternatives]
        terms += alternatives
    if not terms:
        raise BadSelector(text, 1, "it is empty", "Such as: client:acme,edit:white")
    return tuple(terms)


Word = list[tuple[str, bool]]
"""Letters, each with whether it was quoted."""


def _split(text: str) -> Iterator[list[tuple[int, Word]]]:
    """[(position, condition), ...] for each term."""
    words: list[tuple[int, Word]] = []
    quote, opened = "", 0
    for position, letter in enumerate(text, 1):
        if quote:
            if letter == quote:
                quote = ""
            else:
                words[-1][1].append((letter, True))
        elif letter.isspace():
            if words:
                yield words
            words = []
        else:
            if not words:
                words = [(position, [])]
            if letter in "\"'":
                quote, opened = letter, position
            elif letter == ",":
                words.append((position + 1, []))
            else:
                words[-1][1].append((letter, False))
    if quote:
        raise BadSelector(text, opened, f"the quote {quote} is not closed")
    if words:
        yield words


def _named(
    text: str,
    position: int,
    name: str,
    named: Mapping[str, Sequence[str]] | None,
    without: Mapping[str, str] | None,
    within: tuple[str, ...],
) -> tuple[Term, ...]:
    if named is None:
        raise BadSelector(
            text, position, f"there is no manifest here that names @{name}", "Use it with `plan` or `run`"
        )
    if name not in named:
        known = f"Known are: {', '.join('@' + entry for entry in named)}" if named else "It has no key `selectors`"
        raise BadSelector(text, position, f"the manifest has no selector {name!r}", did_you_mean(name, named) or known)
    if name in within:
        raise BadSelector(text, position, f"the selector @{name} contains itself")
    terms: list[Term] = []
    for entry in named[name]:
        terms += parse(entry, named=named, without=without, _within=(*within, name))
    return tuple(terms)


def _condition(text: str, position: int, word: Word, without: Mapping[str, str]) -> Condition:
    colon = next((n for n, letter in enumerate(word) if letter == (":", False)), None)
    method, rest, start = "id", word, position
    if colon is not None:
        method = "".join(letter for letter, _ in word[:colon])
        rest, start = word[colon + 1 :], position + colon + 1
        if not _METHOD.fullmatch(method):
            hint = f"Known are: {_known()}. For an id with a colon write id:..."
            raise BadSelector(text, position, f"{method!r} is no method", hint)
    if method in without:
        raise BadSelector(text, position, without[method])
    values = tuple(_values(text, start, rest))
    return Condition(method, values, text, position, _test(text, method, values))


def _known() -> str:
    return ", ".join(METHODS) + ", and the names of labels"


def _values(text: str, start: int, rest: Word) -> Iterator[Value]:
    letters: Word = []
    for offset, letter in enumerate([*rest, ("|", False)]):
        if letter != ("|", False):
            letters.append(letter)
            continue
        plain = "".join(entry for entry, _ in letters)
        if not letters:
            raise BadSelector(text, min(start + offset, len(text)), "a value is missing")
        pattern = "".join(f"[{entry}]" if quoted and entry in "*?[" else entry for entry, quoted in letters)
        yield Value(plain, pattern, start + offset - len(letters))
        letters = []


def _test(text: str, method: str, values: tuple[Value, ...]) -> Test:
    match method:
        case "line":
            return _either([_lines(text, value) for value in values])
        case "cost":
            return _either([_cost(text, value) for value in values])
        case "run":
            return _either([_run(text, value) for value in values])
        case "status":
            return _words(text, method, values, STATUSES, lambda task: task.status or "")
        case "state":
            return _words(text, method, values, VERDICTS, lambda task: task.verdict)
        case "verdict":
            return _words(text, method, values, REVIEWS, lambda task: task.review)
        case "made-from":
            _refuse_unknown(text, method, values, STARTS)
            return _texts(method, _matcher(values))
        case "check":
            _refuse_unknown(text, method, values, CHECKS)
            return _texts(method, _matcher(values))
        case _:
            return _texts(method, _matcher(values))


def _texts(method: str, match_one: Callable[[str], bool]) -> Test:
    if method == "tag":
        return lambda task: any(match_one(tag) for tag in task.tags)
    if method == "check":
        return lambda task: any(match_one(word) for pair in task.checks for word in pair)
    if method in _TEXT_OF:
        text_of = _TEXT_OF[method]
        if method in _OF_SOME:
            return lambda task: text_of(task) != "" and match_one(text_of(task))
        return lambda task: match_one(text_of(task))
    return lambda task: method in task.labels and match_one(task.labels[method])


def texts_of(candidate: Candidate, method: str) -> Iterable[str]:
    """What a value of this method is compared with; nothing for numbers."""
    if method == "tag":
        return candidate.tags
    if method == "check":
        return [word for pair in candidate.checks for word in pair]
    if method in _TEXT_OF:
        return (_TEXT_OF[method](candidate),)
    return () if method in METHODS else (candidate.labels.get(method, ""),)


def _matcher(values: Sequence[Value]) -> Callable[[str], bool]:
    if not any(value.is_wild for value in values):
        return frozenset(value.text for value in values).__contains__
    match_one = re.compile("|".join(translate(value.pattern) for value in values)).match
    return lambda text: match_one(text) is not None


def _either(tests: Sequence[Callable[[Candidate], bool]]) -> Test:
    return lambda task: any(test(task) for test in tests)


def _words(
    text: str, method: str, values: tuple[Value, ...], known: Sequence[str], word_of: Callable[[Candidate], str | None]
) -> Test:
    _refuse_unknown(text, method, values, known)
    match_one = _matcher(values)

    def test(task: Candidate) -> bool | None:
        word = word_of(task)
        return None if word is None else match_one(word)

    return test


def _refuse_unknown(text: str, method: str, values: tuple[Value, ...], known: Sequence[str]) -> None:
    for value in values:
        if not any(re.match(translate(value.pattern), word) for word in known):
            hint = did_you_mean(value.text, known) or f"Known are: {', '.join(known)}"
            raise BadSelector(text, value.position, f"there is no {method} {value.text!r}", hint)


def _lines(text: str, value: Value) -> Callable[[Candidate], bool]:
    found = _LINES.fullmatch(value.text)
    if found is None or not (found[1] or found[3]) or (found[1] and found[3] and int(found[1]) > int(found[3])):
        raise BadSelector(text, value.position, f"{value.text!r} is no range of lines", "Such as: line:120-180")
    first = int(found[1]) if found[1] else 0
    last = int(found[3]) if found[3] else (10**9 if found[2] else first)
    return lambda task: task.line is not None and first <= task.line <= last


def _cost(text: str, value: Value) -> Callable[[Candidate], bool]:
    found = _COST.fullmatch(value.text)
    try:
        amount = parse_usd(found[2]) if found else None
    except ValueError:
        amount = None
    if found is None or amount is None:
        message = f"{value.text!r} is no comparison with an amount"
        raise BadSelector(text, value.position, message, "Such as: cost:>0.20")
    compare = _COMPARE[found[1]]
    return lambda task: compare(task.cost, amount)


def _run(text: str, value: Value) -> Callable[[Candidate], bool]:
    if value.text == "last":
        return lambda task: task.in_run(None)
    if not (value.text.isascii() and value.text.isdecimal() and len(value.text) < 10 and int(value.text)):
        raise BadSelector(text, value.position, f"{value.text!r} is no run", "It is last, or the number of a run")
    number = int(value.text)
    return lambda task: task.in_run(number)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""
