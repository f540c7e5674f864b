"""What the tests of the journal share."""

from tests.journal.disks import disk

__all__ = ["disk"]
