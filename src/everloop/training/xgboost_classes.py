"""XGBoost's classifier for classes of any kind: its own takes 0, 1, 2 and so on alone, all of them in every fit."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import xgboost
from numpy.typing import NDArray

__all__ = ["XGBClassifier"]


class XGBClassifier(xgboost.XGBClassifier):  # type: ignore[misc]
    """Learns the numbers of the classes that its rows hold, and answers with the classes."""

    def fit(self, features: Any, target: Any, **options: Any) -> Self:
        """Fit on a target of texts, numbers or truth values."""
        classes, numbers = np.unique(np.asarray(target), return_inverse=True)
        self._classes: NDArray[Any] = np.arange(len(classes))  # what XGBoost holds the target against
        super().fit(features, numbers, **options)
        self._classes = classes
        return self

    def predict(self, features: Any, **options: Any) -> NDArray[Any]:
        """Return the class of each row."""
        found: NDArray[Any] = super().predict(features, **options)
        return found if options.get("output_margin") else self._classes[found]

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes in the order of the probabilities."""
        return self._classes
