"""The model tells words apart."""

import pandas as pd
from model import model

TEXTS = pd.DataFrame({"SMS": ["win a prize now", "call to win cash", "see you at lunch", "are you home"] * 10})
LABELS = ["spam", "spam", "ham", "ham"] * 10


def test_the_model_learns() -> None:
    assert model().fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1.0


def test_a_message_of_unknown_words_is_answered() -> None:
    assert model().fit(TEXTS, LABELS).predict(pd.DataFrame({"SMS": ["", "¿quizás?"]})).tolist()
