"""Reading what the provider answers: every recorded shape, every error, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchedit.errors import (
    Halted,
    InputFormRefused,
    NotSent,
    OutputGone,
    ProviderError,
    Rejected,
    RunMissing,
    Throttled,
    Unavailable,
    Unreadable,
    Unseen,
)
from batchedit.keys import make_request
from batchedit.model import Params, ProviderSettings, Reply, SourceImage, UrlImage
from batchedit.providers.answers import (
    find_outputs,
    read_json,
    read_run,
    refusal,
    retry_after,
    run_failure,
    run_reply,
    sync_reply,
)
from batchedit.providers.base import Accepted, Answer, Answered, Ended, Flow, Order, Send, Sighting, Wait, Watch
from batchedit.providers.runflow import Runflow

URL = "https://storage.test/x.png?X-Amz-Signature=abc"

# provider-api, section 6: the shapes to be tolerated, in this order.
SHAPES = [
    ({"outputs": [{"type": "image", "url": URL}]}, "output.outputs[]"),
    ({"images": [{"url": URL}]}, "output.images[]"),
    ({"image_urls": [URL]}, "output.image_urls[]"),
    ({"image": {"url": URL}}, "output.image"),
    ({"url": URL}, "output.url"),
    ({"output_url": URL}, "output.output_url"),
    ({"image_url": URL}, "output.image_url"),
    (URL, "output"),
]


@pytest.mark.parametrize(("output", "shape"), SHAPES)
def test_every_output_shape_is_read(output: object, shape: str) -> None:
    """Wherever the picture is, it is found, and the shape that matched is noted."""
    run = read_run({"id": "r", "status_code": "succeeded", "output": output, "cost": "0.133"})
    assert run is not None
    reply = run_reply(run)
    assert ([entry.url for entry in reply.outputs], reply.shape, reply.cost) == ([URL], shape, 133_000)


@pytest.mark.parametrize(("output", "shape"), SHAPES[:-1])
def test_every_shape_is_read_at_top_level_too(output: dict[str, object], shape: str) -> None:
    """The synchronous form has no envelope (section 8)."""
    assert [entry.url for entry in sync_reply(output).outputs] == [URL]
    assert sync_reply(output).shape == shape.removeprefix("output.")


def test_the_first_shape_wins_and_keeps_the_order() -> None:
    """Several pictures stay in the provider's order; width and height are taken along."""
    located = find_outputs(
        {"outputs": [{"url": URL, "width": 8, "height": 9}, {"url": URL + "2"}], "url": "https://no"}, prefix=""
    )
    assert located is not None
    assert [(entry.url, entry.width, entry.height) for entry in located[1]] == [(URL, 8, 9), (URL + "2", None, None)]


@pytest.mark.parametrize("output", [None, {}, {"video": URL}, {"outputs": [{"text": "x"}]}, 7, [], "not a url"])
def test_an_unknown_shape_is_said_so(output: object) -> None:
    """It is neither a success without pictures nor a failure: it is kept and looked at again."""
    run = read_run({"id": "r", "status_code": "succeeded", "output": output})
    assert run is not None
    with pytest.raises(Unreadable):
        run_reply(run)
    with pytest.raises(Unreadable):
        sync_reply({"output": output})


# provider-api, sections 5 and 21: names under which the same thing comes.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"id": "a", "status_code": "queued"}, ("a", "queued", None, "")),
        ({"run_id": "a", "status": "Running"}, ("a", "running", None, "")),
        ({"id": "a", "status_code": "cancelled"}, ("a", "canceled", None, "")),
        ({"id": "a", "status_code": "canceled", "failure_code": "X"}, ("a", "canceled", None, "X")),
        ({"id": "a", "status_code": "failed", "error": {"code": "Y", "message": "m"}}, ("a", "failed", None, "Y")),
        ({"id": "a", "status_code": "succeeded", "cost": "0.0340"}, ("a", "succeeded", 34_000, "")),
        ({"id": "a", "status_code": "succeeded", "cost": 0.133}, ("a", "succeeded", 133_000, "")),
        ({"id": "a", "status_code": "succeeded", "cost": None}, ("a", "succeeded", None, "")),
        ({"id": "a", "status_code": "succeeded", "cost": "free"}, ("a", "succeeded", None, "")),
        ({"id": "a", "status_code": "brand_new"}, ("a", "brand_new", None, "")),
    ],
)
def test_run_records_of_all_generations(data: dict[str, object], expected: tuple[object, ...]) -> None:
    """Either name of the id, the state and the failure; an unreadable cost is no cost."""
    run = read_run(data)
    assert run is not None
    assert (run.id, run.status, run.cost, run.failure_code) == expected


@pytest.mark.parametrize("data", [None, [], "x", {}, {"id": "a"}, {"status_code": "queued"}])
def test_what_is_no_run_record(data: object) -> None:
    """It is not guessed into one."""
    assert read_run(data) is None


@pytest.mark.parametrize(
    ("code", "message", "permanent"),
    [
        ("INPUT_VALIDATION_FAILED", "over 4096x4096", True),
        ("X", "blocked by the safety system", True),
        ("CONTENT_POLICY", "", True),
        ("UNSUPPORTED_FORMAT", "", True),
        ("PROVIDER_TIMEOUT", "upstream unavailable", False),
        ("", "", False),
    ],
)
def test_failed_runs_by_their_words(code: str, message: str, permanent: bool) -> None:
    """What speaks of the request is permanent, the rest is worth a new run."""
    run = read_run({"id": "a", "status_code": "failed", "failure_code": code, "failure_message": message})
    assert run is not None
    assert run_failure(run).permanent is permanent


def answer(status: int, body: object = None, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=data)


FLAT = {"code": "C", "message": "words", "errors": None}
SCHEME = "media URL must use HTTP(S) or data, got scheme 'runflow'"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, FLAT, Rejected), (413, b"<html>", Rejected), (422, FLAT, Rejected), (418, FLAT, Rejected),
        (422, {"code": "V", "message": SCHEME}, InputFormRefused),
        (422, {"code": "V", "message": "asset 12 not found"}, InputFormRefused),
        (401, FLAT, Halted), (402, {"error": {"code": "INSUFFICIENT_CREDIT", "message": "x"}}, Halted),
        (403, {"error": "no", "code": "PERMISSION_DENIED"}, Halted), (404, FLAT, Halted),
        (429, FLAT, Throttled), (503, {"code": "RATE_LIMITED", "message": "x"}, Throttled), (503, {"code": "MODEL_UNAVAILABLE", "message": "x"}, Unavailable),
        (500, FLAT, Unseen), (502, b"<html>bad gateway</html>", Unseen), (503, FLAT, Unseen), (504, b"", Unseen),
        (408, FLAT, Unseen), (409, FLAT, Unseen), (425, FLAT, Unseen), (302, b"", Unseen),
    ],
)  # fmt: skip
def test_refusals_by_status(status: int, body: object, kind: type[ProviderError]) -> None:
    """Surely refused, refused for the account, or not known: one line of the table each."""
    problem = refusal(answer(status, body), buys=True)
    assert type(problem) is kind
    assert f"HTTP {status}" in problem.message


def test_field_details_are_shown() -> None:
    """A 422 says which field and why."""
    errors = [{"field": "input.n", "message": "too many"}, {"loc": ["body", "size"], "msg": "odd"}]
    problem = refusal(answer(422, {"code": "V", "message": "invalid", "errors": errors}), buys=True)
    assert "input.n: too many" in problem.message
    assert "body.size: odd" in problem.message


def test_messages_are_redacted() -> None:
    """A provider that echoes a signed URL or a key does not get it into the ledger."""
    problem = refusal(answer(422, {"message": f"cannot fetch {URL} with rf_live_abcdef1234"}), buys=True)
    assert "abc" not in problem.message.replace("abcdef", "abcdef"[:0])
    assert "abcdef1234" not in problem.message


DATE = "Mon, 23 Nov 2026 20:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7), ({"retry_after": "0"}, 0), ({"retry_after": "0.5"}, 0.5), ({}, None),
        ({"retry_after": "-3"}, 0), ({"retry_after": "999999"}, 3600), ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, 0), ({"retry_after": "Mon, 23 Nov 2026 20:00:09 GMT", "date": DATE}, 9),
        ({"retry_after": "Mon, 23 Nov 2026 19:00:00 GMT", "date": DATE}, 0), ({"retry_after": DATE}, None),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date against the server's own clock; absent, past, huge and nonsense are all bounded."""
    assert retry_after(answer(429, None, **headers).headers) == seconds


# -- flows, driven by hand -----------------------------------------------------------------------------------


def provider(**settings: Any) -> Runflow:
    return Runflow(ProviderSettings(name="runflow", **settings))


def order(images: tuple[str, ...] = ("runflow://assets/1",), *, inline: bool = False) -> Order:
    image = SourceImage(identity="url:x", ref=UrlImage("https://x"))
    request = make_request(
        model="openai/gpt-image-2/edit", prompt="größer", images=(image,), mask=None,
        params=Params(quality="low", size="1024x1536", format="webp", samples=2), inline=inline,
    )  # fmt: skip
    return Order(request=request, client_ref="be-1-2", generation=1, images=images, mask="runflow://assets/9")


def play(flow: Flow[object], *replies: Answer | Exception) -> tuple[list[object], object]:
    """Feed a flow with answers; the steps that it took and its result."""
    steps: list[object] = []
    waiting = list(replies)
    value: Answer | Exception | None = None
    while True:
        try:
            step = flow.throw(value) if isinstance(value, Exception) else flow.send(value)
        except StopIteration as stop:
            return steps, stop.value
        steps.append(step)
        value = waiting.pop(0) if isinstance(step, Send) else None


def literal(send: Send) -> bytes:
    """A body that is sent without reading a file."""
    assert send.body is not None
    (part,) = send.body.parts
    assert isinstance(part, bytes)
    return part


def test_the_body_of_the_asynchronous_form() -> None:
    """The envelope with all input fields, our reference, and nothing that changes between retries."""
    send = provider().order(order())
    assert send.url == "/v1/models/openai/gpt-image-2/edit/runs"
    assert json.loads(literal(send)) == {
        "input": {
            "prompt": "größer", "image_urls": ["runflow://assets/1"], "num_images": 2, "output_format": "webp",
            "image_size": {"width": 1024, "height": 1536}, "quality": "low", "mask_url": "runflow://assets/9",
        },
        "client_ref": "be-1-2",
        "metadata": {"client_ref": "be-1-2", "generation": 1},
    }  # fmt: skip
    assert send.body == provider().order(order()).body


def test_the_body_of_the_synchronous_form() -> None:
    """The same fields at top level, a deadline for the whole edit."""
    send = provider(api="run", size_as="text").order(order(inline=True))
    body = json.loads(literal(send))
    assert send.url == "/v1/run/openai/gpt-image-2/edit"
    assert (body["image_size"], body["sync_mode"], "client_ref" in body) == ("1024x1536", True, False)
    assert send.timeout_seconds is not None
    assert send.timeout_seconds >= 600


def test_a_purchase_step_by_step() -> None:
    """Created, made durable, polled until it ends, the answer made durable, read."""
    adapter = provider()
    done = {"id": "r", "status_code": "succeeded", "output": {"outputs": [{"url": URL}]}, "cost": "0.009"}
    steps, reply = play(
        adapter.buy(adapter.order(order())),
        answer(201, {"id": "r", "status_code": "queued"}),
        answer(200, {"id": "r", "status_code": "running"}),
        Unseen("a poll got lost"),
        answer(503, b"<html>"),
        answer(200, done),
    )
    kinds = [type(step).__name__ for step in steps]
    assert " ".join(kinds) == ("Send Accepted Watch Send Watch Send Wait Watch Send Wait Watch Send Ended Answered")
    assert isinstance(reply, Reply)
    assert reply.run_id == "r"


def test_a_synchronous_answer_is_kept_before_it_is_read() -> None:
    """Even one that cannot be understood."""
    adapter = provider(api="run")
    flow = adapter.buy(adapter.order(order()))
    flow.send(None)
    step = flow.send(answer(200, {"surprise": 1}))
    assert isinstance(step, Answered)
    assert not step.repeatable
    with pytest.raises(Unreadable):
        flow.send(None)


def test_a_synchronous_answer_may_be_a_run_to_be_followed() -> None:
    """Then it is polled like one (section 8)."""
    adapter = provider(api="run")
    flow = adapter.buy(adapter.order(order()))
    flow.send(None)
    assert isinstance(flow.send(answer(200, {"id": "r", "status_code": "running"})), Accepted)


def test_an_accepted_answer_that_cannot_be_read_is_unknown() -> None:
    """2xx without a run id: something was bought, nobody knows under which name."""
    adapter = provider()
    flow = adapter.buy(adapter.order(order()))
    flow.send(None)
    with pytest.raises(Unseen):
        flow.send(answer(200, b"<html>ok</html>"))


def test_a_run_that_stays_missing() -> None:
    """A few 404s are lag; many mean that the provider does not know the run."""
    missing = answer(404, {"code": "RUN_NOT_FOUND", "message": "no"})
    with pytest.raises(RunMissing):
        play(provider().follow("r", inline=False), *[missing] * 8)


def test_inline_pictures_that_were_shown_before_are_gone() -> None:
    """They are not kept in the provider's history: paid and lost, not waited for."""
    with pytest.raises(OutputGone):
        play(provider().follow("r", inline=True), answer(200, {"id": "r", "status_code": "succeeded", "output": None}))


def test_a_throttled_poll_waits_as_long_as_the_server_wishes() -> None:
    """And is not a failure of the run."""
    flow = provider().follow("r", inline=False)
    assert flow.send(None) == Watch("r", inline=False)
    flow.send(None)
    step = flow.send(answer(429, FLAT, retry_after="11"))
    assert step == Wait(11.0)


def records(*runs: tuple[str, str, str | None]) -> Answer:
    items = [{"id": i, "status_code": s, "client_ref": "ref", "cost": c} for i, s, c in runs]
    return answer(200, {"items": items, "next": None})


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], Sighting(run_id=None)),
        ([("a", "running", None)], Sighting(run_id="a")),
        ([("a", "running", None), ("b", "succeeded", "0.1")], Sighting(run_id="b", surplus_runs=1, surplus_unpriced=1)),
        ([("a", "failed", None), ("b", "queued", None)], Sighting(run_id="b")),
        ([("a", "failed", None)], Sighting(run_id="a", has_failed=True)),
        ([("old", "succeeded", "0.1")], Sighting(run_id=None)),
    ],
)
def test_which_run_is_adopted(runs: list[tuple[str, str, str | None]], expected: Sighting) -> None:
    """One that succeeded, else one that goes on, else one that failed; known ones are left out."""
    _, found = play(provider().find("ref", ignore=frozenset({"old"})), records(*runs))
    assert found == expected


def test_surplus_runs_are_priced() -> None:
    """What a possible double purchase cost is known as far as it was reported."""
    runs = records(("a", "succeeded", "0.133"), ("b", "succeeded", "0.133"))
    _, found = play(provider().find("ref", ignore=frozenset()), runs)
    assert found == Sighting(run_id="a", surplus_runs=1, surplus=133_000)  # type: ignore[arg-type]  # micro-dollars


@pytest.mark.parametrize(
    "page",
    [
        {"items": [{"id": "z", "status_code": "queued", "client_ref": "other"}]},
        {"items": [{"id": "z", "status_code": "queued"}]},
        {"items": [{"id": "z"}]},
        {"items": [], "next": "cursor"},
    ],
)
def test_a_list_that_was_not_filtered_proves_nothing(page: dict[str, object]) -> None:
    """Only an empty, complete answer to our filter means "not there"."""
    with pytest.raises(Unseen):
        play(provider().find("ref", ignore=frozenset()), answer(200, page))


def test_the_filter_dialects_are_tried_in_turn() -> None:
    """Dotted, then colon, then a scan of the list page by page."""
    page = answer(200, {"items": [{"id": "z", "status_code": "queued", "client_ref": "other"}], "next_pq": "cursor"})
    steps, found = play(
        provider().find("ref", ignore=frozenset()),
        answer(422, FLAT),
        answer(400, FLAT),
        page,
        records(("a", "running", None)),
    )
    urls = [step.url for step in steps if isinstance(step, Send)]
    assert "client_ref.EQ" in urls[0]
    assert "client_ref%3Aref" in urls[1]
    assert "pq=cursor" in urls[3]
    assert found == Sighting(run_id="a")


@pytest.mark.parametrize("trouble", [answer(500, FLAT), NotSent("x"), answer(200, b"<html>")])
def test_a_look_without_an_answer_is_no_answer(trouble: Answer | Exception) -> None:
    """It never counts as "not there"."""
    with pytest.raises(ProviderError):
        play(provider().find("ref", ignore=frozenset()), trouble)


def test_one_page_of_the_list_answers_for_many() -> None:
    """What has ended comes with its pictures; what has ended without showing any is to be read; the rest goes on."""
    items = [
        {"id": "a", "status_code": "succeeded", "output": {"outputs": [{"url": URL}]}},
        {"id": "b", "status_code": "succeeded", "output": None},
        {"id": "c", "status_code": "failed", "failure_code": "X"},
        {"id": "d", "status_code": "running"},
    ]
    (step,), found = play(provider().newest(50), answer(200, {"items": items, "next": "more"}))
    assert isinstance(step, Send)
    assert "limit=50" in step.url
    assert isinstance(found, dict)
    assert {run: (seen.ended, seen.answer is not None) for run, seen in found.items()} == {
        "a": (True, True), "b": (True, False), "c": (True, True), "d": (False, False),
    }  # fmt: skip


def test_a_list_without_what_was_asked_for_is_no_answer() -> None:
    """Then each run is read by itself."""
    with pytest.raises(ProviderError):
        play(provider().newest(50), answer(422, FLAT))


def test_a_record_from_the_list_is_as_good_as_a_read() -> None:
    """No further call is made for it."""
    flow = provider().follow("r", inline=False)
    assert flow.send(None) == Watch("r", inline=False)
    record = {"id": "r", "status_code": "succeeded", "output": {"outputs": [{"url": URL}]}, "created_at": "2026-11-24T"
              "00:00:00Z", "completed_at": "2026-11-24T00:01:30+00:00"}  # fmt: skip
    assert flow.send(answer(200, record)) == Ended(90.0)


@pytest.mark.parametrize("model", ["", "a//b", "../x", "a/./b"])
def test_model_ids_cannot_climb(model: str) -> None:
    """Each segment is encoded by itself; empty and dot segments are refused."""
    with pytest.raises(Rejected):
        provider(model=model).order(order())


def test_an_answer_of_a_million_values_is_not_read() -> None:
    """Empty lists need a hundred times the memory of their letters; what a picture in base64 needs is its own length."""
    assert read_json(b"[" + b"[]," * 1_000_000 + b"1]") is None
    assert read_json(b"[" + b"{}," * 400_000 + b"1]") is not None
    assert read_json(b'{"b64_json": "' + b"A" * 3_000_000 + b'"}') is not None
