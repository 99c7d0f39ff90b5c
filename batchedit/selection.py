"""
Which tasks are meant by `--select` and `--exclude`, and what there was to be selected. Pure.

`selectors` has the language that the strings are written in.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchedit.errors import NothingSelected, UsageError
from batchedit.selectors import METHODS, BadSelector, Candidate, Condition, Term, did_you_mean, parse, texts_of

_MOST_SEEN = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    What is meant.

    Attributes:
        select: Any of these terms; none means everything.
        exclude: None of these.
        ids: Only items with one of these ids; None for any.
        selecting, excluding: The strings that it was read from.
    """

    select: tuple[Term, ...] = ()
    exclude: tuple[Term, ...] = ()
    ids: frozenset[str] | None = None
    selecting: tuple[str, ...] = ()
    excluding: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """True if anything may be left out."""
        return bool(self.select or self.exclude or self.ids is not None)

    def meant(self, candidate: Candidate) -> bool | None:
        """True or False; None if that hangs on a verdict which is not known yet."""
        if self.ids is not None and candidate.id not in self.ids:
            return False
        wanted = _any(self.select, candidate) if self.select else True
        if wanted is False:
            return False
        unwanted = _any(self.exclude, candidate)
        if unwanted is True:
            return False
        return None if wanted is None or unwanted is None else True

    def conditions(self) -> Iterator[Condition]:
        """All of them, those of the exclusion last."""
        for term in (*self.select, *self.exclude):
            yield from term


def _any(terms: tuple[Term, ...], candidate: Candidate) -> bool | None:
    found: bool | None = False
    for term in terms:
        met = _all(term, candidate)
        if met is True:
            return True
        if met is None:
            found = None
    return found


def _all(term: Term, candidate: Candidate) -> bool | None:
    found: bool | None = True
    for condition in term:
        met = condition.test(candidate)
        if met is False:
            return False
        if met is None:
            found = None
    return found


def parse_selection(
    select: Iterable[str] = (),
    exclude: Iterable[str] = (),
    *,
    ids: Iterable[str] | None = None,
    named: Mapping[str, Sequence[str]] | None = None,
    without: Mapping[str, str] | None = None,
) -> Selection:
    """
    The selection that these strings describe.

    Args:
        select, exclude: As typed, one string for each flag; a single string is one flag.
        ids: Only items with these ids.
        named: The manifest's selectors, by name; None where there is no manifest.
        without: Methods that cannot be answered here, with the reason.

    Raises:
        UsageError: for a string that cannot be read; the message says where.
    """
    given = {
        flag: (texts,) if isinstance(texts, str) else tuple(texts)
        for flag, texts in (("--select", select), ("--exclude", exclude))
    }
    terms: dict[str, tuple[Term, ...]] = {}
    for flag, texts in given.items():
        try:
            terms[flag] = tuple(term for text in texts for term in parse(text, named=named, without=without))
        except BadSelector as bad:
            raise refusal(flag, bad.text, bad.position, bad.message, bad.hint) from None
    return Selection(
        select=terms["--select"],
        exclude=terms["--exclude"],
        ids=None if ids is None else frozenset(ids),
        selecting=given["--select"],
        excluding=given["--exclude"],
    )


def refusal(flag: str, text: str, position: int, message: str, hint: str = "") -> UsageError:
    """What a user hears about a selector that cannot be."""
    return UsageError(f"{flag} {text!r}, character {position}: {message}", hint=hint)


class Witness:
    """
    What there was to be selected, for whoever has selected nothing or asked for a label that there is not.

    Looks at every task as long as nothing was selected, and at labels until each that is asked for was seen.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._unseen = {condition.method: condition for condition in selection.conditions() if condition.is_label}
        self._labels: set[str] = set()
        self._seen: dict[str, dict[str, None]] = {
            condition.method: {} for term in selection.select for condition in term
        }
        self.looked = self.selected = 0

    def see(self, candidate: Candidate, *, meant: bool) -> None:
        """One task."""
        self.looked += 1
        self.selected += meant
        if self._unseen:
            self._labels.update(candidate.labels)
            for name in [name for name in self._unseen if name in candidate.labels]:
                del self._unseen[name]
        if not self.selected:
            for method, seen in self._seen.items():
                if len(seen) < _MOST_SEEN:
                    seen.update(dict.fromkeys(texts_of(candidate, method)))

    def refuse_unknown_labels(self) -> None:
        """
        A slip in a label's name would select nothing, or worse, exclude nothing.

        Raises:
            UsageError: if no task has a label that is asked for.
        """
        for name, condition in self._unseen.items():
            if self.looked:
                flag = "--select" if any(condition in term for term in self._selection.select) else "--exclude"
                hint = f"No task has any label; what can be asked is: {', '.join(METHODS)}"
                if self._labels:
                    there = f"Labels are: {', '.join(sorted(self._labels))}"
                    hint = did_you_mean(name, [*self._labels, *METHODS]) or there
                raise refusal(flag, condition.source, condition.position, f"no task has a label {name!r}", hint)

    def nearest(self) -> list[str]:
        """The nearest names that would have selected something, best first."""
        found: dict[str, None] = {}
        for term in self._selection.select:
            for condition in term:
                seen = [text for text in self._seen[condition.method] if text]
                for value in condition.values:
                    if value.text not in seen:
                        near = difflib.get_close_matches(value.text, seen, n=3, cutoff=0.5) or seen[:3]
                        found.update(dict.fromkeys(f"{condition.method}:{_quoted(text)}" for text in near))
        return list(found)[:5]


def nothing_selected(witness: Witness, what: str) -> NothingSelected:
    """What a user hears whose selection holds nothing."""
    near = witness.nearest()
    return NothingSelected(f"none of the {what} is selected", hint=f"nearest: {', '.join(near)}" if near else "")


def _quoted(text: str) -> str:
    return f'"{text}"' if any(letter.isspace() or letter in ",|*?[\"'" for letter in text) else text
