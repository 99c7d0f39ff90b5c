"""
Buying tasks once more with another prompt: which ones, as what, and how a manifest's prompt and a re-edit's get along.

A re-edit is a row in the ledger (`overrides`), written in the step that records the task it is for. Planning puts its
prompt in place of the manifest's, in every later run too, so that neither the old prompt is bought again nor the
re-edit forgotten. It holds as long as the manifest says what it said then: somebody who writes another prompt into the
manifest means that one, and the task shows as changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from batchedit.errors import UsageError
from batchedit.keys import normal_prompt
from batchedit.ledger.listing import ListedTask
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import Override
from batchedit.lifecycle import State
from batchedit.manifest.fields import looks_like_a_key
from batchedit.manifest.templates import TemplateProblem, has_leftover, render
from batchedit.model import MAX_PROMPT, MIN_PROMPT, Task

_IN_FLIGHT = frozenset({State.SENDING, State.ACCEPTED, State.FETCHING, State.UNKNOWN})

NEVER_BOUGHT = "never bought: that is what `run` is for"
WAITS = "starts from another edit's picture, which is not there"
AT_PROVIDER = "at the provider with another prompt: let that end first"
SAME = "has this prompt already, and nobody has rejected its picture"
NO_PROMPT = "its note names no prompt: give one for all with --prompt"
NO_NOTE = "nobody has noted how to edit it again"


@dataclass(frozen=True, slots=True)
class Wording:
    """
    What a task is bought as.

    Attributes:
        override: The re-edit that this needs, if it is not recorded yet.
        is_reedited: The prompt is that of a re-edit.
        is_interrupted: That re-edit was begun by an earlier run, and the task still has what it had before.
    """

    prompt: str
    revision: int = 1
    override: Override | None = None
    is_reedited: bool = False
    is_interrupted: bool = False


def worded(task: Task, reader: Ledger, was: str = "") -> Wording:
    """
    A task's prompt and revision as the ledger knows them: those of its re-edit, or the manifest's.

    Args:
        was: What it was called when the ledger saw it last; empty if that was its own slot.
    """
    slot = was or task.slot
    revision = reader.revision_of(slot)
    override = reader.override(slot)
    if override is None or override.prompt is None or override.base != normal_prompt(task.prompt):
        return Wording(task.prompt, revision)
    interrupted = reader.key_of(slot) == override.replaces
    return Wording(override.prompt, revision, is_reedited=True, is_interrupted=interrupted)


@dataclass(slots=True, kw_only=True)
class Reedit:
    """
    A re-edit of whatever tasks a plan selects.

    Attributes:
        prompt: Template of the new prompt, with ``prompt`` (the one before), ``reason`` and ``note`` (what the reviewer
            has said), ``id``, ``edit``, ``variant`` and labels; None leaves it to the notes.
        from_notes: Only tasks for which somebody has noted how; a note's own prompt comes first.
        skipped: How many tasks are left as they are, by why.
    """

    prompt: str | None = None
    from_notes: bool = False
    skipped: Counter[str] = field(default_factory=Counter)

    def consider(self, task: Task, reader: Ledger | None) -> Wording | None:
        """
        What a task is to be bought as; None if it is left as it is.

        Raises:
            UsageError: if the new prompt cannot be made, or is none.
        """
        known = reader.listed_task(task.slot) if reader is not None else None
        if reader is None or known is None:
            self.skipped[NEVER_BOUGHT] += 1
            return None
        if known.state is None:
            self.skipped[WAITS] += 1
            return None
        present = worded(task, reader)
        override = reader.override(task.slot) if present.is_reedited else None
        if override is not None and (known.state is not State.DONE or known.review != "rejected"):
            # The same command once more, after an interruption or by mistake, must come to the same prompt.
            wanted = self._text(task, known, reader, reader.spec(override.replaces)["prompt"], override.replaces)
            if wanted is not None and normal_prompt(wanted) == override.prompt:
                return present
        if known.state in _IN_FLIGHT:
            self.skipped[AT_PROVIDER] += 1
            return None
        restored = reader.restored(task.slot)
        if known.state is State.PENDING and override is None and restored is None:
            self.skipped[NEVER_BOUGHT] += 1
            return None
        key = known.key if known.state is not State.PENDING or override is None else override.replaces
        key = restored or key
        before = present.prompt if key == known.key else str(reader.spec(key)["prompt"])
        wanted = self._text(task, known, reader, before, key)
        if wanted is None:
            self.skipped[NO_PROMPT if reader.wish_of(task.slot, key) is not None else NO_NOTE] += 1
            return None
        text = normal_prompt(wanted)
        said = reader.decision(task.slot, key)
        standing = reader.standing(key)
        is_kept = standing is not None and standing.state is State.DONE
        if is_kept and (said is None or said.verdict != "rejected") and text == normal_prompt(present.prompt):
            self.skipped[SAME] += 1
            return None
        _check(text, task)
        revision = _kept(text, task, known, reader) or reader.last_revision(task.slot, known.key) + 1
        new = Override(revision=revision, prompt=text, base=normal_prompt(task.prompt), replaces=key)
        return Wording(text, revision, override=new, is_reedited=True)

    def _text(self, task: Task, known: ListedTask, reader: Ledger, before: object, key: str) -> str | None:
        """The new prompt, from what was said about the pictures of one request."""
        wish = reader.wish_of(task.slot, key)
        if self.from_notes and wish is None:
            return None
        if self.from_notes and wish is not None and wish.prompt:
            return wish.prompt
        if self.prompt is None:
            return None
        said = reader.decision(task.slot, key)
        notes = [said.note if said is not None else "", wish.note if wish is not None else ""]
        values = {
            **task.labels,
            "id": task.item.id,
            "edit": task.edit,
            "variant": task.variant,
            "prompt": before,
            "reason": said.reason if said is not None else "",
            "note": " ".join(note for note in notes if note),
        }
        try:
            return render(self.prompt, values)
        except TemplateProblem as problem:
            raise UsageError(f"--prompt {problem} (for {task.slot})", hint=problem.hint) from None


def _kept(text: str, task: Task, known: ListedTask, reader: Ledger) -> int | None:
    """The latest revision with this prompt whose pictures are kept and not rejected: had again for nothing."""
    return next(
        (
            past.revision
            for past in reversed(reader.revisions_of(task.slot, known.key))
            if past.state == State.DONE and past.raws and past.verdict != "rejected"
            if normal_prompt(past.prompt) == text
        ),
        None,
    )


def _check(prompt: str, task: Task) -> None:
    if not MIN_PROMPT <= len(prompt) <= MAX_PROMPT:
        raise UsageError(
            f"the new prompt of {task.slot} has {len(prompt)} characters",
            hint=f"a prompt has {MIN_PROMPT} to {MAX_PROMPT} characters",
        )
    if has_leftover(prompt):
        raise UsageError(f"the new prompt of {task.slot} still has a template in it", hint="take {{ and {% out of it")
    if looks_like_a_key(prompt):
        raise UsageError(f"the new prompt of {task.slot} has in it what looks like an API key", hint="take it out")
