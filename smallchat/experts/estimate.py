"""How fast tokens come, from what they compute and what they must read."""

from __future__ import annotations

from dataclasses import dataclass

TYPICALLY_HIDDEN = 0.45
"""Share of the reading that computing hides, where nothing was measured. Measured with the 4B's shapes within
1 and 1.5 GiB, a disk of 1.1 GB/s, two ranks on a busy machine: 0.46 and 0.48."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Pace:
    """What a token costs, whatever the budget.

    The form: computing goes on while experts are read, but part of the reading is waited for (an expert
    is known only when its layer begins), and reading cannot hide behind more than all of the computing.
    """

    compute_seconds: float
    """A token with all its experts in memory."""
    read_seconds: float
    """The disk's time for all experts of a token, none of them in memory."""
    hidden: float
    """Share of the reading, 0 to 1, that passes while something is computed; see `hidden_share`."""

    def reading(self, hit_rate: float) -> float:
        """Seconds a token for which the disk is busy."""
        return (1 - hit_rate) * self.read_seconds

    def waiting(self, hit_rate: float) -> float:
        """Seconds a token for which computing waits."""
        reading = self.reading(hit_rate)
        return max((1 - self.hidden) * reading, reading - self.compute_seconds)

    def tokens_per_second(self, hit_rate: float) -> float:
        """Where so many of the experts that a token uses are in memory."""
        return 1 / (self.compute_seconds + self.waiting(hit_rate))

    def disk_bound(self, hit_rate: float) -> bool:
        """Whether a faster disk would help more than a faster processor."""
        return self.waiting(hit_rate) > self.compute_seconds


def hidden_share(read_seconds: float, wait_seconds: float) -> float:
    """Share of the reading that was not waited for, 0 to 1: what `Pace.hidden` takes.

    From a run: for how long the disk was busy, and for how much of that computing waited. Without any reading
    nothing is known, and none is taken to be hidden.
    """
    if read_seconds <= 0:
        return 0.0
    return min(max(1 - wait_seconds / read_seconds, 0.0), 1.0)


def ladder(smallest: int, whole: int) -> list[int]:
    """Round sizes in bytes between two budgets, and these two themselves."""
    steps = [base << shift for shift in range(8, 20) for base in (_MIB, _MIB + _MIB // 2)]
    return [smallest, *(step for step in steps if smallest * 1.1 < step < whole * 0.95), whole]
