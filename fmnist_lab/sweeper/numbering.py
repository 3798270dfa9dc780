"""How the studies of a sweep share one sequence of trial numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A study's place among `count` studies, which take numbers in turn.

    Trial k of study i has number k * count + i in the sweep, so that nothing has to be stored
    to find one from the other, and nothing can be lost in between.
    """

    index: int = 0
    count: int = 1

    def in_sweep(self, number: int) -> int:
        """The sweep's number of the study's trial `number`."""
        return number * self.count + self.index

    def in_study(self, number: int) -> int:
        """The study's number of the sweep's trial `number`."""
        return number // self.count
