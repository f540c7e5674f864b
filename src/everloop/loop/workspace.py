"""The composition root of the platform: opens a project's settings, store, artifacts, keys and paths once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from everloop.bundles import SigningKey, trusted
from everloop.inference import Model
from everloop.logs import configure_logs
from everloop.pipelines import ArtifactStore
from everloop.settings import Settings, load
from everloop.settings import place as settings_place
from everloop.store import Store

__all__ = ["Workspace", "open_workspace", "opened"]


class Workspace:
    """One opened project: where its state lives, and the objects that guard it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder.resolve(), settings
        storage = settings.storage
        self.bundles = self.path(storage.bundles)
        self.journal = self.path(storage.journal)
        self.keys = self.path(storage.keys)
        self.plan = self.path(storage.plan)
        for place in (self.bundles, self.journal, self.plan.parent):
            place.mkdir(parents=True, exist_ok=True)
        self.store = Store(storage.store, self.folder)
        self.artifacts = ArtifactStore(storage.artifacts, self.folder)
        self.key = SigningKey.create(self.keys)
        self._models: dict[str, Model] = {}

    @property
    def name(self) -> str:
        return self.settings.project.name

    def log_as(self, process: str) -> None:
        """Log from here on as one of the project's processes, in the form that `[logging]` says."""
        told = self.settings.logging
        configure_logs(process, self.name, format=told.format, level=told.level)

    def path(self, place: str) -> Path:
        """Return the absolute path of a place named in the project file."""
        return settings_place(self.folder, place)

    def model(self, bundle: str) -> Model:
        """Return the model of a bundle, verified and loaded once."""
        if bundle not in self._models:
            allowed = self.settings.serving.native
            self._models[bundle] = Model.load(self.path(bundle), trusted(self.keys), native=allowed)
        return self._models[bundle]

    def keep_models(self, bundles: set[str]) -> None:
        """Forget the loaded models of all other bundles."""
        self._models = {name: model for name, model in self._models.items() if name in bundles}

    def close(self) -> None:
        self.store.close()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    """Open the project in `folder`, and close it at the end."""
    workspace = open_workspace(folder)
    try:
        yield workspace
    finally:
        workspace.close()


def open_workspace(folder: Path, settings: Settings | None = None, **sections: msgspec.Struct) -> Workspace:
    """Open the project in `folder`; `sections` replace whole tables of its settings (a backtest's own storage)."""
    settings = settings or load(folder)
    return Workspace(folder, msgspec.structs.replace(settings, **sections))
