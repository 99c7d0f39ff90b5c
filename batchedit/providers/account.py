"""What an API says about the key, the account and the model: reads only, which cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from batchedit.errors import NotSent, Unseen
from batchedit.money import MicroUSD, parse_usd
from batchedit.providers.answers import read_error, read_json, shorten
from batchedit.providers.base import Answer, Flow, Send

FIELDS = frozenset(
    {"prompt", "image_urls", "num_images", "output_format", "image_size", "mask_url", "quality", "sync_mode"}
)
"""What the adapter sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What is known of the account.

    Attributes:
        works: The key is accepted; None if nobody answered.
        trouble: Why it is not, or why nobody answered; empty otherwise.
        name: The organisation, empty if it is not told.
        balance: Micro-dollars, None if it is not told.
        balance_trouble: Why not.
        scopes: Name of a permission -> whether the key has it, as far as reads show.
        server_time: The server's clock, Unix seconds; None if it does not say.
        model_inputs: Names of the model's inputs -> whether they are required; empty if it is not told.
        model_status: As the provider calls it; empty if it is not told.
        model_trouble: Why nothing is known of the model.
    """

    works: bool | None
    trouble: str = ""
    name: str = ""
    balance: MicroUSD | None = None
    balance_trouble: str = ""
    scopes: Mapping[str, bool] = field(default_factory=dict)
    server_time: float | None = None
    model_inputs: Mapping[str, bool] = field(default_factory=dict)
    model_status: str = ""
    model_trouble: str = ""


def look(model: str) -> Flow[Account]:
    """Ask for everything, one read after the other; a refusal of one says nothing about the others."""
    who, trouble = yield from _get("/v1/auth/me")
    if who is None:
        return Account(works=None, trouble=trouble)
    time = _time(who.headers.get("date", ""))
    if who.status != 200:
        return Account(works=False if who.status in (401, 402, 403) else None, trouble=trouble, server_time=time)
    data = _object(who)
    scopes: dict[str, bool] = {}
    listed, _ = yield from _get("/v1/runs?limit=1")
    if listed is not None and listed.status in (200, 403):
        scopes["runs:read"] = listed.status == 200
    balance, balance_trouble = yield from _balance(scopes)
    path = "/".join(quote(part, safe="") for part in model.split("/"))
    live, model_trouble = yield from _get(f"/v1/models/{path}")
    about = {} if live is None or live.status != 200 else _object(live)
    return Account(
        works=True,
        name=_word(data, "org_name", "organization", "org_id", "id"),
        balance=balance,
        balance_trouble=balance_trouble,
        scopes=scopes,
        server_time=time,
        model_inputs=_inputs(about.get("inputs")),
        model_status=_word(about, "availability_status"),
        model_trouble=model_trouble,
    )


def _balance(scopes: dict[str, bool]) -> Flow[tuple[MicroUSD | None, str]]:
    trouble = ""
    for url in ("/v1/billing/balance", "/v1/credit-balances"):
        answer, trouble = yield from _get(url)
        if answer is not None and answer.status == 403:
            scopes["credit_balance:read"] = False
            return None, trouble
        if answer is None or answer.status != 200:
            continue
        scopes["credit_balance:read"] = True
        found = _amount(_object(answer))
        if found is not None:
            return found, ""
        trouble = "the answer holds no amount"
    return None, trouble


def _amount(data: Mapping[str, Any]) -> MicroUSD | None:
    """In any of the shapes that the provider's documents show."""
    items = data.get("items")
    if isinstance(items, list) and items and isinstance(items[0], dict):
        data = items[0]
    for name, shift in (("balance_usd", 0), ("balance", 0), ("balance_cents", -2)):
        value = data.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            try:
                amount = Decimal(str(value)).scaleb(shift)
                return parse_usd(amount) if amount >= 0 else MicroUSD(-parse_usd(-amount))
            except (InvalidOperation, ValueError):
                continue
    return None


def _get(url: str) -> Flow[tuple[Answer | None, str]]:
    """An answer, whatever its status, and what is wrong with it."""
    try:
        answer = yield Send(method="GET", url=url)
    except (NotSent, Unseen) as error:
        return None, error.message
    assert answer is not None
    if answer.status == 200:
        return answer, ""
    code, message = read_error(answer)
    return answer, shorten(f"{message} (HTTP {answer.status}{f' {code}' if code else ''})")


def _object(answer: Answer) -> Mapping[str, Any]:
    data = read_json(answer.body)
    return data if isinstance(data, dict) else {}


def _inputs(data: object) -> dict[str, bool]:
    entries = data if isinstance(data, list) else []
    return {
        shorten(entry["name"]): entry.get("is_required") is True
        for entry in entries[:200]
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }


def _word(data: Mapping[str, Any], *names: str) -> str:
    return next((shorten(value) for name in names if isinstance(value := data.get(name), str) and value), "")


def _time(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
