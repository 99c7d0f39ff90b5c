"""
How much may still be spent. The worst price is reserved before each send and settled when the cost is known.

    limit >= spent + reserved + at risk       at every moment, with any number in flight
"""

from __future__ import annotations

from dataclasses import dataclass

from batchedit.money import ZERO, MicroUSD


@dataclass(slots=True)
class Budget:
    """
    The account of one run. All amounts in micro-dollars.

    Attributes:
        limit: Never to be exceeded; None means that nobody set one.
        spent: Costs that are settled, those of an interrupted run that this one continues included.
        held: Reserved for what is in flight, and at risk for what is unknown or was not priced by the provider.
    """

    limit: MicroUSD | None = None
    spent: MicroUSD = ZERO
    held: MicroUSD = ZERO

    @property
    def left(self) -> MicroUSD | None:
        """What may still be reserved; None without a limit. Never negative."""
        if self.limit is None:
            return None
        return MicroUSD(max(0, self.limit - self.spent - self.held))

    def reserve(self, worst: MicroUSD) -> bool:
        """Hold `worst` for one request; False, and nothing held, if it would pass the limit."""
        if self.limit is not None and self.spent + self.held + worst > self.limit:
            return False
        self.held = MicroUSD(self.held + worst)
        return True

    def release(self, worst: MicroUSD) -> None:
        """Give back a reservation: the request was surely not bought."""
        self._unhold(worst)

    def settle(self, worst: MicroUSD, cost: MicroUSD, *, doubt: MicroUSD = ZERO) -> None:
        """
        Turn a reservation into a cost.

        Args:
            worst: What was reserved for it.
            cost: What it cost, as far as known.
            doubt: How much more it may turn out to have cost; stays held.
        """
        self._unhold(worst)
        self.spent = MicroUSD(self.spent + cost)
        self.held = MicroUSD(self.held + doubt)

    def _unhold(self, amount: MicroUSD) -> None:
        if amount > self.held:
            raise ValueError(f"cannot give back {amount} micro-dollars: only {self.held} are held")
        self.held = MicroUSD(self.held - amount)
