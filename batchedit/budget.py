"""
How much may still be spent. The worst price is reserved before each send and settled when the cost is known.

    limit >= spent + reserved + at risk       at every moment, with any number in flight

The same holds for every account within the budget, such as that of one client: a request is charged to the whole and to
each account that the task has which bears its cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batchedit.money import ZERO, MicroUSD, format_usd

EDIT = "edit"
"""The one name of an account that is not a label: the edit's own name."""

Name = tuple[str, ...]
"""
An account: a label and its value, or `EDIT` and an edit; with a period besides if it is only for that, such as a night.
The account of everything in a period has an empty label and value.
"""


@dataclass(frozen=True, slots=True)
class NearLimit:
    """
    A limit that is nearly reached: `percent` of it are spent or held. Amounts in micro-dollars.

    Attributes:
        name: The account.
        used: Spent and held.
    """

    name: Name
    percent: int
    used: MicroUSD
    limit: MicroUSD

    def __str__(self) -> str:
        what = described(self.name)
        return f"{self.percent} % of {what} is spent or held: {format_usd(self.used)} of {format_usd(self.limit)}"


@dataclass(slots=True)
class Account:
    """
    One sum with its limit. All amounts in micro-dollars.

    Attributes:
        warn_at: Percent of the limit at which a warning is due, besides those for all accounts of a budget.
        warned: The highest of them that was told.
        limit: Never to be exceeded; None means that nobody set one.
        spent: Costs that are settled, those of an interrupted run that this one continues included.
        held: Reserved for what is in flight, and at risk for what is unknown or was not priced by the provider.
    """

    limit: MicroUSD | None = None
    spent: MicroUSD = ZERO
    held: MicroUSD = ZERO
    warn_at: tuple[int, ...] = ()
    warned: int = 0

    @property
    def left(self) -> MicroUSD | None:
        """What may still be reserved; None without a limit. Never negative."""
        if self.limit is None:
            return None
        return MicroUSD(max(0, self.limit - self.spent - self.held))

    def has_room(self, worst: MicroUSD) -> bool:
        """True if `worst` may be held besides."""
        return self.limit is None or self.spent + self.held + worst <= self.limit

    def hold(self, amount: MicroUSD) -> None:
        """Add to what is held."""
        self.held = MicroUSD(self.held + amount)

    def give_back(self, amount: MicroUSD) -> None:
        """
        Take from what is held.

        Raises:
            ValueError: if it is not so much.
        """
        if amount > self.held:
            raise ValueError(f"cannot give back {amount} micro-dollars: only {self.held} are held")
        self.held = MicroUSD(self.held - amount)


@dataclass(slots=True)
class Budget(Account):
    """
    The account of one run, and those within it.

    Attributes:
        accounts: Those within it, each with a limit of its own.
        warn_all_at: Percent of any limit at which a warning is due.
        wholes: Those of the accounts that every request is charged to.
        periods: Those that accounts may be for.
    """

    accounts: Mapping[Name, Account] = field(default_factory=dict)
    warn_all_at: tuple[int, ...] = ()
    _open: dict[str, tuple[Name, ...]] = field(default_factory=dict)
    wholes: tuple[Name, ...] = field(init=False)
    periods: tuple[str, ...] = field(init=False)
    _warns: bool = field(init=False)

    def __post_init__(self) -> None:
        self.wholes = tuple(name for name in self.accounts if not name[0])
        self._warns = bool(self.warn_all_at or self.warn_at or any(each.warn_at for each in self.accounts.values()))
        self.periods = tuple(dict.fromkeys(name[2] for name in self.accounts if len(name) > 2))

    def accounts_of(self, labels: Mapping[str, str], edit: str) -> tuple[Name, ...]:
        """The accounts that a task with these labels, of this edit, is charged to."""
        if not self.accounts:
            return ()
        return tuple(name for name in account_names(labels, edit, self.periods) if name in self.accounts)

    def reserve(self, worst: MicroUSD, key: str = "", of: tuple[Name, ...] = ()) -> bool:
        """
        Hold `worst` for one request; False, and nothing held, if it would pass a limit.

        Args:
            key: The request's.
            of: Accounts that it is charged to.
        """
        if not self.has_room(worst) or self.lacking(worst, of) is not None:
            return False
        self.hold(worst)
        for name in of:
            self.accounts[name].hold(worst)
        self.adopt(key, of)
        return True

    def lacking(self, worst: MicroUSD, of: Iterable[Name]) -> Name | None:
        """The first of these accounts that has no room for `worst`."""
        return next((name for name in of if not self.accounts[name].has_room(worst)), None)

    def adopt(self, key: str, of: tuple[Name, ...]) -> None:
        """Remember where a request is charged for which something is held already."""
        if of:
            self._open[key] = of

    def release(self, worst: MicroUSD, key: str = "") -> None:
        """Give back a reservation: the request was surely not bought."""
        self.settle(worst, ZERO, key)

    def settle(self, worst: MicroUSD, cost: MicroUSD, key: str = "", *, doubt: MicroUSD = ZERO) -> None:
        """
        Turn a reservation into a cost.

        Args:
            worst: What was reserved for it; 0 for a cost that comes on top of a reservation, which stays.
            cost: What it cost, as far as known.
            key: The request's.
            doubt: How much more it may turn out to have cost; stays held.
        """
        of = self._open.pop(key, ()) if worst else self._open.get(key, ())
        for account in (self, *(self.accounts[name] for name in of)):
            account.give_back(worst)
            account.spent = MicroUSD(account.spent + cost)
            account.hold(doubt)

    def warnings(self) -> list[NearLimit]:
        """Limits that are nearly reached, each threshold once."""
        if not self._warns:
            return []
        found = []
        for name, account in ((("", ""), self), *self.accounts.items()):
            used, limit = account.spent + account.held, account.limit
            due = (at for at in (*self.warn_all_at, *account.warn_at) if limit and 100 * used >= at * limit)
            percent = max(due, default=0)
            if percent > account.warned and limit is not None:
                account.warned = percent
                found.append(NearLimit(name, percent, MicroUSD(used), limit))
        return found


def account_names(labels: Mapping[str, str], edit: str, periods: Iterable[str] = ()) -> Sequence[Name]:
    """What accounts that a task with these labels, of this edit, is charged to may be called."""
    pairs = [(EDIT, edit), *((label, value) for label, value in labels.items() if label and label != EDIT)]
    within = [*periods]
    wholes: list[Name] = [("", "", period) for period in within]
    return [*wholes, *pairs, *((label, value, period) for period in within for label, value in pairs)]


def described(name: Name) -> str:
    """An account in words."""
    words = f"the budget for {name[0]} {name[1]}" if name[0] else "the budget"
    return f"{words} of {name[2]}" if len(name) > 2 else words
