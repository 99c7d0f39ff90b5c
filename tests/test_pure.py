"""Breaker, agenda, keys and redaction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.agenda import Agenda
from batchedit.breaker import Breaker
from batchedit.endpoint import Key
from batchedit.errors import NotSent, Place, Throttled, Unseen
from batchedit.keys import client_ref, from_spec, idempotency_key, make_request, to_spec, url_identity
from batchedit.manifest.fields import Given
from batchedit.model import LocalImage, Params, Request, SourceImage, UrlImage, size_problem
from batchedit.redaction import redact, unsigned_url
from batchedit.report.as_csv import guarded

# -- breaker and agenda --------------------------------------------------------------------------------------


def test_the_breaker_opens_after_failures_of_one_kind_in_a_row() -> None:
    """It says what happened and what to do."""
    breaker = Breaker(threshold=3)
    for _ in range(3):
        assert breaker.reason is None
        breaker.failure(NotSent("no route"))
    assert breaker.reason is not None
    assert "cannot be reached" in breaker.reason
    assert "no route" in breaker.reason


def test_a_success_or_another_kind_starts_the_count_anew() -> None:
    """Old failures do not add up over a night."""
    breaker = Breaker(threshold=2)
    breaker.failure(NotSent("x"))
    breaker.success()
    breaker.failure(NotSent("x"))
    breaker.failure(Unseen("y"))
    breaker.failure(NotSent("x"))
    assert breaker.reason is None


def test_throttling_never_opens_the_breaker() -> None:
    """A 429 says that everything works, only slower."""
    breaker = Breaker(threshold=2)
    for _ in range(50):
        breaker.failure(Throttled("slow"))
    assert breaker.reason is None


def test_the_failure_limit_counts_requests() -> None:
    """`max_fail: 2` stops at the second failed request."""
    breaker = Breaker(max_failures=2)
    breaker.request_failed()
    assert breaker.reason is None
    breaker.request_failed()
    assert breaker.reason is not None


@given(st.lists(st.floats(0, 100), max_size=50))
def test_the_agenda_gives_out_in_order_of_time(times: list[float]) -> None:
    """Due work comes earliest first, equal times in the order of entry, and never early."""
    agenda: Agenda[int] = Agenda()
    for number, at in enumerate(times):
        agenda.add(at, number)
    assert agenda.pop_due(-1.0) is None
    out = []
    while (due := agenda.pop_due(1000.0)) is not None:
        out.append((times[due], due))
    assert out == sorted((at, number) for number, at in enumerate(times))


# -- keys ----------------------------------------------------------------------------------------------------

LOCAL = SourceImage(identity="sha256:" + "a" * 64, ref=LocalImage(Path("/photos/mug.jpg")))
REMOTE = SourceImage(identity="url:https://x.test/b.jpg", ref=UrlImage("https://x.test/b.jpg"))


def request(**changes: object) -> Request:
    content: dict[str, object] = {
        "model": "m/e", "prompt": "white", "images": (LOCAL, REMOTE), "mask": None, "params": Params(), **changes,
    }  # fmt: skip
    return make_request(**content)  # type: ignore[arg-type]  # the defaults above have the right types


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "m/f"},
        {"prompt": "black"},
        {"images": (REMOTE, LOCAL)},
        {"images": (LOCAL,)},
        {"mask": LOCAL},
        {"params": Params(quality="low")},
        {"params": Params(size="1024x1024")},
        {"params": Params(format="webp")},
        {"params": Params(samples=2)},
        {"revision": 2},
    ],
)
def test_whatever_changes_pixels_changes_the_key(changes: dict[str, object]) -> None:
    """Each input of the closed list counts."""
    assert request(**changes).key != request().key


def test_a_picture_counts_by_content_and_not_by_path() -> None:
    """Moving or renaming a photo buys nothing again."""
    moved = replace(LOCAL, ref=LocalImage(Path("/elsewhere/tasse.jpg")))
    assert request(images=(moved, REMOTE)).key == request().key


@pytest.mark.parametrize("prompt", [" white ", "white\n", "\r\nwhite"])
def test_white_space_around_a_prompt_does_not_count(prompt: str) -> None:
    """Nor does the kind of line end."""
    assert request(prompt=prompt).key == request().key
    assert request(prompt="a\r\nb").key == request(prompt="a\nb").key


def test_how_the_answer_travels_does_not_count() -> None:
    """`sync_mode` changes no pixel."""
    assert request(inline=True).key == request().key


def test_a_stored_request_reads_back_the_same() -> None:
    """The ledger's copy is complete, but for signatures."""
    original = request(mask=LOCAL, params=Params(quality="low", size="auto", format="jpeg", samples=3), revision=2)
    assert from_spec(original.key, to_spec(original)) == original


def test_references_are_short_plain_and_distinct() -> None:
    """What is sent as a reference survives the provider's filter syntax; another ledger has other references."""
    one, other = client_ref("0badcafe", "f" * 64), client_ref("1badcafe", "f" * 64)
    assert one != other
    assert len(one) <= 64
    assert one.replace("-", "").isalnum()
    assert idempotency_key(one, 1) != idempotency_key(one, 2)
    assert idempotency_key(one, 1) == idempotency_key(one, 1)


SIGNED = "https://cdn.test/p.jpg?w=800&X-Amz-Signature=abc123&X-Amz-Expires=60"


def test_a_signature_is_no_part_of_a_picture() -> None:
    """A freshly signed URL is the same picture; another query may be another picture."""
    assert url_identity(SIGNED) == "url:https://cdn.test/p.jpg?w=800"
    assert url_identity("https://cdn.test/p?id=1") != url_identity("https://cdn.test/p?id=2")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"cannot fetch {SIGNED}", "abc123"),
        ("Authorization: Bearer rf_live_abcdef123456", "abcdef"),
        ("the key rf_svc_0123456789 is not valid", "0123456789"),
        ("data:image/png;base64,iVBORw0KGgo=", "iVBOR"),
        ("BEARER abcdefgh-4711", "4711"),
        ("wrong Key ABCDEFGH4711", "4711"),
        ("\u212aEY abcdefgh4711", "4711"),  # the sign for kelvin, which is a K in another case
        ("sk-abcdef4711 was refused", "4711"),
        ("of whsec_abcdef4711", "4711"),
        ("refused: SIG=abcdef4711", "4711"),
        ("refused: x-amz-signature%3Dabcdef4711", "4711"),
        ("refused: x-goog-signature%25253dabcdef4711", "4711"),
        ('{"at": "token\\u003dabcdef4711"}', "4711"),
    ],
)
def test_secrets_are_taken_out_of_text(text: str, secret: str) -> None:
    """Keys, signatures and inline pictures never reach a message."""
    assert secret in text
    assert secret not in redact(text)
    assert secret not in unsigned_url(text)[: len(text)] or not text.startswith("http")


@pytest.mark.parametrize(
    ("size", "word"),
    [
        ("1024x1536", None),
        ("auto", None),
        ("landscape_16_9", None),
        ("1000x1000", "multiples of 16"),
        ("4096x2048", "3840"),
        ("3200x1024", "3 times"),
        ("512x512", "655360"),
        ("huge", "neither"),
    ],
)
def test_size_rules(size: str, word: str | None) -> None:
    """The published rules, each with its own words."""
    problem = size_problem(size)
    assert (problem is None) if word is None else (problem is not None and word in problem)


@pytest.mark.timeout(60)
def test_long_texts_are_gone_through_once() -> None:
    """Texts from outside that would be gone through again at each of their characters: hours, of one text."""
    many = 500_000
    assert redact("http://" * many).startswith("http://")
    assert redact("a." * many + "://x@") == "a." * many + "://"
    assert Key("rf_live_0123456789abcdef").mask(b"%" + b"\\" * many) == b"%" + b"\\" * many
    folded = b'["' + b"".join(b"\\u%04x" % letter for letter in b"rf_live_0123456789abcdef") + b'"' + b",[]" * 3 * many
    assert Key("rf_live_0123456789abcdef").mask(folded).startswith(b'["..."')
    assert guarded("x" + "\n" * many) == "x" + "\n" * many
    assert len(Given("|" * many + "a|b", True, Place("t.csv")).several) == 2
    assert Given("{{ x|upper }}|{% if y|int %}|z", True, Place("t.csv")).several == (
        "{{ x|upper }}",
        "{% if y|int %}",
        "z",
    )
