"""`[triggers]` and its tables: what starts a retraining."""

from __future__ import annotations

from typing import Literal

from everloop.settings.section import Section

__all__ = [
    "Alerts",
    "CodePushes",
    "ConceptDrift",
    "DataDrift",
    "NewLabels",
    "Objects",
    "Pulled",
    "Pushes",
    "Schedule",
    "Triggers",
]


class ConceptDrift(Section, frozen=True, kw_only=True):
    """`[triggers] concept_drift`: when realised loss calls for a retraining."""

    cooldown: str = "14d"
    budget: int = 15
    """Retrainings at most in any `period`."""
    period: str = "365d"


class Pushes(Section, frozen=True, kw_only=True):
    """`[triggers] repository_data`: data that a push of a branch brings."""

    branch: str = "main"
    remote: str = "origin"
    """Where the branch is fetched from; a repository without this remote is looked at as it is."""
    poll: str = "1m"
    debounce: str = "0s"
    cooldown: str = "0s"


class CodePushes(Pushes, frozen=True, kw_only=True):
    """`[triggers] code`: code that a push of a branch changes."""

    test: bool = True
    """Whether the project's own tests must pass before new code is deployed."""


class Objects(Section, frozen=True, kw_only=True):
    """`[triggers] storage`: new or changed objects in a bucket or a folder."""

    url: str = ""
    """By default where `[data] source` lies."""
    poll: str = "1m"
    debounce: str = "5m"
    """How long nothing may have changed before it is taken."""
    cooldown: str = "1h"


class Pulled(Section, frozen=True, kw_only=True):
    """`[triggers] sources`: rows that a pull brought from one of `[data.sources]`."""

    debounce: str = "0s"
    cooldown: str = "1h"


class Schedule(Section, frozen=True, kw_only=True):
    """`[triggers] schedule`: a retraining by the clock, `cron` (five fields, UTC) or `every` so long."""

    cron: str = ""
    every: str = ""
    cooldown: str = "0s"


class DataDrift(Section, frozen=True, kw_only=True):
    """`[triggers] data_drift`: inputs that moved away from what the model was judged on."""

    cooldown: str = "14d"
    rearm: float = 0.8
    """Share of its threshold that each signal must fall below before drift may start another retraining."""


class NewLabels(Section, frozen=True, kw_only=True):
    """`[triggers] new_labels`: so many labels since the last retraining."""

    count: int = 1000
    cooldown: str = "0s"


class Alerts(Section, frozen=True, kw_only=True):
    """`[triggers] alert`: an alert that a monitoring system sent."""

    names: tuple[str, ...] = ("*",)
    """Patterns of names; Everloop's own alerts are taken only where one begins with `Everloop`."""
    cooldown: str = "1d"


class Triggers(Section, frozen=True, kw_only=True):
    """`[triggers]`: what starts a retraining."""

    concept_drift: ConceptDrift | bool = ConceptDrift()
    """A table of its settings, `true` for the defaults, `false` for none; so are the others."""
    code: CodePushes | bool = False
    repository_data: Pushes | bool = False
    storage: Objects | bool = False
    sources: Pulled | bool = False
    schedule: Schedule | bool = False
    data_drift: DataDrift | bool = False
    new_labels: NewLabels | bool = False
    alert: Alerts | bool = False
    when: str = ""
    """Triggers that act together only, such as `data_drift & new_labels`; the others act by themselves."""
    busy: Literal["newest", "queue"] = "newest"
    """What becomes of events that came during a run: one run for all of them, or one for each."""
    budget: int = 24
    """Retrainings at most in any `period`, whatever started them."""
    period: str = "1d"
    ignore: tuple[str, ...] = ("*.md", "docs/*", "LICENSE*", ".git*", ".dvc/*", ".dvcignore")
    """Files of the repository that are neither code nor data."""

    @property
    def drift(self) -> ConceptDrift | None:
        """The settings of `concept_drift`; None where it is turned off."""
        found = self.of("concept_drift")
        return found if isinstance(found, ConceptDrift) else None

    def of(self, name: str) -> Section | None:
        """Return the settings of a trigger; None where it is turned off."""
        told = getattr(self, name)
        return _TRIGGERS[name]() if told is True else told or None

    @property
    def on(self) -> tuple[str, ...]:
        """The triggers that are turned on."""
        return tuple(name for name in _TRIGGERS if self.of(name) is not None)


_TRIGGERS: dict[str, type[Section]] = {
    "code": CodePushes,
    "repository_data": Pushes,
    "storage": Objects,
    "sources": Pulled,
    "schedule": Schedule,
    "alert": Alerts,
    "concept_drift": ConceptDrift,
    "data_drift": DataDrift,
    "new_labels": NewLabels,
}
