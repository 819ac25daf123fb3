"""Long lists a page at a time. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paging:
    """Where in a list a page stands: `address` is that of the list with whatever else was asked for."""

    wanted: int
    total: int
    size: int
    address: str

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(1, -(-self.total // self.size))

    @property
    def number(self) -> int:
        """The number of this page."""
        return min(self.wanted, self.last)

    @property
    def start(self) -> int:
        """The index of its first item."""
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        """The index after its last."""
        return min(self.start + self.size, self.total)

    def link(self, number: int) -> str:
        """The address of another page."""
        joint = "" if self.address.endswith("?") else "&" if "?" in self.address else "?"
        return f"{self.address}{joint}page={number}"
