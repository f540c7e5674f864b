"""What the triggers remember: stored in the transaction of the decision that changed it."""

from __future__ import annotations

import msgspec

__all__ = ["Book"]


class Book(msgspec.Struct):
    """The triggers' bookkeeping between two decisions."""

    last: dict[str, float] = {}
    """When each trigger last led to a retraining."""
    commits: dict[str, str] = {}
    """The commit of each branch that was answered last."""
    objects: dict[str, str] = {}
    """What tells the content of each object that was taken, by its URL."""
    held: dict[str, tuple[str, str]] = {}
    """The last reason not to act, by rule or trigger, and the decision that holds it."""
    labels: int | None = None
    """How many labels there were at the last retraining, which was at `retrained`."""
    retrained: float = 0.0
    spent: list[str] = []
    """Triggers that led to a retraining and have not been quiet since."""
