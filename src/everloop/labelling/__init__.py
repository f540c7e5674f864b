"""Little data: which rows are worth a person's time, by query strategies of scikit-activeml."""

from __future__ import annotations

from everloop.labelling.embedding import embed
from everloop.labelling.strategies import STRATEGIES, Chosen, Known, choose, uncertainty

__all__ = ["STRATEGIES", "Chosen", "Known", "choose", "embed", "uncertainty"]
