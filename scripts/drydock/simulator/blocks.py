"""Paged KV-cache blocks: a limited pool, and the cached prefixes that it keeps in unused blocks."""

from collections import OrderedDict
from collections.abc import Sequence


class BlockPool:
    """Counts blocks, and knows by hash which full blocks hold which prefix.

    A block is used (by at least one sequence), cached (used by none, still holding a known prefix, taken back in least
    recently used order) or empty. Cached and empty blocks are both free: a sequence can have them.
    """

    def __init__(self, total: int, block_size: int) -> None:
        self.total = total
        self.block_size = block_size
        self.free = total
        self._users: dict[int, int] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    @property
    def used(self) -> int:
        """Blocks that at least one sequence uses."""
        return self.total - self.free

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold this many tokens."""
        return -(-tokens // self.block_size)

    def cached_prefix(self, hashes: Sequence[int]) -> int:
        """How many of the leading blocks are at hand."""
        for position, value in enumerate(hashes):
            if value not in self._users and value not in self._unused:
                return position
        return len(hashes)

    def unused_among(self, hashes: Sequence[int]) -> int:
        """How many of these cached blocks no sequence uses: sharing them takes that many free blocks."""
        return sum(1 for value in hashes if value in self._unused)

    def share(self, hashes: Sequence[int]) -> None:
        """Make a sequence a user of cached blocks."""
        for value in hashes:
            if value in self._unused:
                del self._unused[value]
                self._users[value] = 1
                self.free -= 1
            else:
                self._users[value] += 1

    def take(self, blocks: int) -> None:
        """Give empty blocks to a sequence, forgetting the least recently used prefixes where there are too few."""
        if blocks > self.free:
            raise ValueError(f"{blocks} blocks wanted, {self.free} free")
        self.free -= blocks
        while len(self._unused) > self.free:
            self._unused.popitem(last=False)

    def publish(self, hashes: Sequence[int]) -> list[int]:
        """Let others find blocks that a sequence has filled; returns those that it is now a user of.

        A prefix that is already known stays where it is: the sequence keeps its own, anonymous copy.
        """
        fresh = [value for value in hashes if value not in self._users and value not in self._unused]
        for value in fresh:
            self._users[value] = 1
        return fresh

    def release(self, anonymous: int, hashes: Sequence[int] = ()) -> None:
        """Take blocks back from a sequence; the last of a prefix is forgotten first."""
        self.free += anonymous
        for value in reversed(hashes):
            users = self._users[value] - 1
            if users:
                self._users[value] = users
                continue
            del self._users[value]
            self._unused[value] = None
            self.free += 1
        while len(self._unused) > self.free:
            self._unused.popitem(last=False)

    def forget(self) -> None:
        """Drop every prefix that no sequence uses."""
        self._unused.clear()
