"""Which digit a picture shows: any classifier of scikit-learn over its pixels, or a small network of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.linear_model import LogisticRegression


def model(strength: float = 1.0) -> LogisticRegression:
    """Return the estimator to train: it sees one number from 0 to 1 a pixel, and the served graph does the same."""
    return LogisticRegression(C=strength, max_iter=2000)


def network(epochs: int = 20, width: int = 16) -> Any:
    """Return a convolutional network to train, which sees (channels, height, width)."""
    from torch import nn

    from everloop.training.torch_model import TorchModel

    def layers(shapes: Mapping[str, tuple[int, ...]], outputs: int) -> Any:
        channels, height, cross = shapes["image"]

        class Picture(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.Sequential(
                    nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.Flatten(),
                    nn.Linear(2 * width * (height // 2) * (cross // 2), outputs),
                )  # fmt: skip

            def forward(self, columns: dict[str, Any]) -> Any:
                return self.layers(columns["image"])

        return Picture()

    return TorchModel(layers, epochs=epochs, learning_rate=3e-3, random_state=0)
