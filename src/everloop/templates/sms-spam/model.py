"""Which text messages are spam: their words, weighed by how rare they are."""

from __future__ import annotations

from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline


def model(words: int = 5000, strength: float = 30.0) -> Pipeline:
    """Return the estimator to train: raw text goes in, so the served graph splits it into words itself."""
    counted = TfidfVectorizer(max_features=words)
    classifier = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    return make_pipeline(make_column_transformer((counted, "SMS")), classifier)
