"""`everloop.toml`, typed and read once: `load(folder)` returns `Settings` or one sentence with the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from everloop.errors import SettingsError, UsageError, close_match
from everloop.types import Task

__all__ = [
    "Alerts",
    "CodePushes",
    "ConceptDrift",
    "Data",
    "DataDrift",
    "Deployment",
    "Elastic",
    "Events",
    "Guards",
    "Monitoring",
    "NewLabels",
    "Objects",
    "Pipelines",
    "Project",
    "Pushes",
    "Recalibration",
    "Replay",
    "Schedule",
    "Section",
    "Serving",
    "Settings",
    "Storage",
    "Tracking",
    "Training",
    "Triggers",
    "changed",
    "load",
    "parse",
    "place",
    "seconds",
    "size",
]

FILE = "everloop.toml"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(text: str) -> float:
    """Return the seconds of a duration such as `5ms`, `90s`, `20m`, `1.5h`, `3d` or `2w`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no duration: write a number and ms, s, m, h, d or w, such as '3d'")
    return float(match[1]) * _UNITS[match[2]]


def size(text: str) -> int:
    """Return the bytes of a size such as `500kB`, `16MB` or `1GB` (powers of ten)."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)B\s*", text)
    if not match:
        raise ValueError(f"{text!r} is no size: write a number and B, kB, MB or GB, such as '16MB'")
    return int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]])


def place(folder: Path, name: str) -> Path:
    """Return the absolute path of a place that the project file in `folder` names."""
    return folder.resolve() / name.removeprefix("file://")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the project file: unknown keys are refused."""


class Project(Section, frozen=True, kw_only=True):
    """`[project]`: what the model is called."""

    name: str


class Data(Section, frozen=True, kw_only=True):
    """`[data]`: where rows come from, and which columns are the target and the event time."""

    source: str = "data/*.csv"
    target: str
    time: str | None = None
    """The column of event time; without it the order of the rows is the order of time."""
    task: Task | None = None
    """Inferred from the target where it is not given: text, booleans or at most 20 whole numbers are classes."""


class Training(Section, frozen=True, kw_only=True):
    """`[training]`: the functions that prepare rows and build the estimator, and what to train on."""

    model: str
    features: str | None = None
    parameters: dict[str, Any] = {}
    window: str = "auto"
    """`auto` (chosen on the newest labels), `all`, a number of rows (`4000`) or a duration (`90d`)."""
    horizon: str = "14d"
    """Event time that a model has to hold: the length of each past block that a choice is judged on."""
    seed: int = 0
    runtime: Literal["onnx", "native"] = "onnx"
    """What the model becomes: a graph, or its library's own format, which a process of its own answers with."""


class Deployment(Section, frozen=True, kw_only=True):
    """`[deployment]`: how a candidate takes over."""

    strategy: Literal["canary", "shadow", "ab", "bandit", "replace"] = "canary"
    sticky_by: str | None = None
    """`header:NAME` or `column:NAME`: requests of one key see one version."""
    steps: tuple[float, ...] = (0.1,)
    """Shares of traffic the candidate answers while it is judged, under `canary`."""
    split: float = 0.5
    """The candidate's share under `ab`; where `bandit` begins."""
    alpha: float = 0.05
    """Probability with which a candidate that is not better is ever promoted."""
    minimum_labels: int = 48
    minimum_coverage: float = 0.5
    max_days: float = 14.0
    labels: Literal["independent", "affected"] = "independent"
    """`affected`: the answer changes the label, so versions are judged on what each itself answered, by key."""
    max_latency_ratio: float = 2.0
    """How many times the champion's 95th percentile the candidate's may be."""
    slices: tuple[str, ...] | Literal["auto"] = "auto"
    """Columns by whose values losses are compared; `auto` takes the categorical ones."""
    sensitive: tuple[str, ...] = ()
    """Columns between whose groups the candidate may not differ more than the champion does."""
    max_disparity_increase: float = 0.1
    """Of the mean loss as a share of the champion's; of selection and error rates as they are."""


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

    cooldown: str = "1d"


class Triggers(Section, frozen=True, kw_only=True):
    """`[triggers]`: what starts a retraining."""

    concept_drift: ConceptDrift | bool = ConceptDrift()
    """A table of its settings, `true` for the defaults, `false` for none; so are the others."""
    code: CodePushes | bool = False
    repository_data: Pushes | bool = False
    storage: Objects | bool = False
    schedule: Schedule | None = None
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
    "schedule": Schedule,
    "alert": Alerts,
    "concept_drift": ConceptDrift,
    "data_drift": DataDrift,
    "new_labels": NewLabels,
}


class Monitoring(Section, frozen=True, kw_only=True):
    """`[monitoring]`: how often the loop looks, and what counts as one observation."""

    interval: str = "1h"
    """Event time between two evaluations."""
    block: str = "1d"
    """Event time whose rows are alike: tests count blocks, not rows."""
    window: str = ""
    """What the monitor judges at a time: a duration, or a number of rows; `block` without it."""
    false_alarms: float = 0.1
    """False alarms a month (30 days) of all signals of the monitor together, at most."""
    stale: str = "1d"
    """A newest prediction older than that is told as a signal."""


class Recalibration(Section, frozen=True, kw_only=True):
    """`[recalibration]`: a level beside the model that follows the newest labels, where that is shown to gain."""

    on: bool = True
    """Whether the loop may turn it on; it turns itself off where raw answers lose less."""
    bounds: tuple[float, float] = (0.5, 2.0)
    """Of the factor that values are corrected by, or of each class's weight against equal ones."""


class Guards(Section, frozen=True, kw_only=True):
    """`[guards]`: what happens to a request that is unlike what training saw; each version keeps what held then."""

    schema: Literal["off", "flag", "clip", "reject"] = "flag"
    """Ranges, gaps and categories; `clip` answers with the nearest value that training saw."""
    outlier: Literal["off", "flag", "reject"] = "flag"
    adversarial: Literal["off", "flag", "reject"] = "flag"
    """For linear models and networks of scikit-learn."""


class Serving(Section, frozen=True, kw_only=True):
    """`[serving]`: where the server listens and how it keeps its journal."""

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    """Where gRPC is answered too; nowhere without it."""
    journal: Literal["written", "durable", "buffered"] = "written"
    max_body: str = "16MB"
    max_requests: int = 1000
    """Requests under way at once; more are answered 503."""
    timeout: str = "30s"
    """A request that takes longer is answered 504."""
    workers: int = 1
    """Processes that answer on the same ports."""
    threads: int = 1
    """Threads of one inference."""
    batch_rows: int = 1
    """Rows of several requests that are computed together at most; 1 turns batches off."""
    batch_wait: str = "1ms"
    """How long a request waits at most for others to share its batch."""
    native: tuple[str, ...] | None = None
    """Types that models that are no graphs may hold; without it such models are refused."""


class Tracking(Section, frozen=True, kw_only=True):
    """`[tracking]`: where runs, versions and training curves are shown."""

    mlflow: str | bool = "local"
    """`"local"` (its database and files lie in the project), the URL of a tracking server, or `false`."""
    tensorboard: bool = True
    openlineage: str = ""
    """The URL of an OpenLineage API, or a file that its events are appended to."""
    ui_port: int = 5000
    """Where `everloop up` shows the local MLflow."""


class Events(Section, frozen=True, kw_only=True):
    """`[events]`: the loop's door, where its metrics are read and others tell it what happened."""

    host: str = "127.0.0.1"
    port: int = 8085
    max_body: str = "25MB"
    token: str = "EVERLOOP_EVENTS_TOKEN"
    """The environment variable that holds the token of `/events`, `/webhooks/alertmanager` and `/webhooks/s3`."""
    github_secret: str = "EVERLOOP_GITHUB_SECRET"
    """The environment variable that holds the secret of GitHub's webhook."""
    gitlab_secret: str = "EVERLOOP_GITLAB_SECRET"
    """The environment variable that holds the secret of GitLab's webhook."""


class Replay(Section, frozen=True, kw_only=True):
    """`[replay]`: how `everloop demo` and `everloop backtest` play history."""

    start: float = 0.5
    """Share of the rows that are known at the start."""
    label_delay: str = "24h"
    training_time: str = "1h"
    """Event time that a retraining takes."""
    rollout_delay: str = "0s"
    """Event time from trained to serving in the schedules that the loop is compared with (its own rollouts run)."""
    retraining_cost: float = 0.0
    """What one retraining costs, in the unit of the summed loss; added to each alternative's loss."""


class Elastic(Section, frozen=True, kw_only=True):
    """`[elastic]`: where predictions, labels, explanations and changes are searched."""

    url: str = ""
    """Of Elasticsearch; nothing is sent without it."""
    api_key: str = ""
    """The name of an environment variable that holds the key."""
    index: str = "everloop"
    """What the names of the indices begin with."""


class Pipelines(Section, frozen=True, kw_only=True):
    """`[pipelines]`: where the steps of a retraining run."""

    runner: str = "local"
    """`local`, `ray`, `kubeflow`, `tfx`, `mlrun`, or one that an installed package adds."""
    address: str = ""
    """Of the Ray cluster (by default the one of this machine, or a new one), or of the Kubeflow Pipelines API."""
    image: str = ""
    """The project's image, for pods."""
    volume: str = ""
    """A claim that pods mount and where: `claim:/path`."""
    secrets: tuple[str, ...] = ()
    """What pods get as environment variables: `secret:key=VARIABLE`."""
    fuse: bool = True
    """Whether small neighbours share a pod."""
    requirements: str = ""
    """A file of pinned packages that pipeline versions are built with; without it they use the running Python's."""


class Storage(Section, frozen=True, kw_only=True):
    """`[storage]`: where state lives; relative paths lie in the project."""

    store: str = "sqlite:///.everloop/store.db"
    """SQLAlchemy's URL; `$NAME` in it and in `artifacts` is read from the environment."""
    artifacts: str = ".everloop/artifacts"
    bundles: str = ".everloop/bundles"
    journal: str = ".everloop/journal"
    keys: str = ".everloop/keys"
    plan: str = ".everloop/plan.json"
    lease: str = ".everloop/controller.lease"
    """Held by the controller that runs; a file, so that a crash gives it back."""
    seal: str = "10m"
    """How often the controller verifies what is new in the journal, and signs it."""
    retention: str | None = None
    """How long journalled records are kept; for ever without it."""
    export: str | None = None
    """A folder that the journal is exported to, as Parquet, before retention drops from it."""


class Settings(Section, frozen=True, kw_only=True):
    """A whole project file; `[project] name`, `[data] target`, `[training] model` are all it needs."""

    project: Project
    data: Data
    training: Training
    gates: dict[str, Any] = msgspec.field(default_factory=lambda: {"beats_champion": True})
    deployment: Deployment = Deployment()
    triggers: Triggers = Triggers()
    monitoring: Monitoring = Monitoring()
    recalibration: Recalibration = Recalibration()
    guards: Guards = Guards()
    serving: Serving = Serving()
    tracking: Tracking = Tracking()
    events: Events = Events()
    elastic: Elastic = Elastic()
    pipelines: Pipelines = Pipelines()
    replay: Replay = Replay()
    storage: Storage = Storage()


S = TypeVar("S", bound=msgspec.Struct)


def load(folder: Path) -> Settings:
    """Return the settings of the project in `folder`; raises `SettingsError` with the line of what is wrong."""
    path = folder / FILE
    if not path.is_file():
        raise SettingsError(
            f"not a project: there is no {FILE} here (`everloop init NAME` makes one)", path=str(folder)
        )
    return parse(path.read_text(encoding="utf-8"), str(path))


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return settings with other values below `[training]`: `{"training.parameters.trees": 100}`.

    Raises UsageError for a key that is none, and for a value that does not fit.
    """
    plain: dict[str, Any] = msgspec.to_builtins(settings.training)
    for key, value in changes.items():
        table, *path = key.split(".")
        if table != "training" or not path:
            raise UsageError(f"{key!r} cannot be set for one run: name a key of [training], such as training.window")
        inner = plain
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        if inner is plain and path[-1] not in plain:
            raise UsageError(f"unknown key {path[-1]!r} in [training]{close_match(path[-1], plain)}")
        inner[path[-1]] = value
    try:
        return msgspec.structs.replace(settings, training=msgspec.convert(plain, Training))
    except msgspec.ValidationError as error:
        raise UsageError(f"what is set for this run does not fit [training]: {error}") from error


def parse(text: str, path: str = FILE) -> Settings:
    """Return the settings that a project file's text holds."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not valid TOML: {error}", path) from None
    _refuse_unknown(raw, Settings, [], text, path)
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        keys = [k for k in place.rstrip("`").split(".") if k]
        where = f"[{'.'.join(keys)}] " if keys else ""
        raise SettingsError(where + message[0].lower() + message[1:], path, _line(text, keys)) from None
    _check_values(settings, text, path)
    return settings


def _refuse_unknown(raw: dict[str, Any], struct: type[msgspec.Struct], keys: list[str], text: str, path: str) -> None:
    fields = {f.name: f.type for f in msgspec.structs.fields(struct)}
    for key, value in raw.items():
        here = [*keys, key]
        if key not in fields:
            inside = f" in [{'.'.join(keys)}]" if keys else ""
            raise SettingsError(f"unknown key {key!r}{inside}{close_match(key, fields)}", path, _line(text, here))
        inner = _section(fields[key])
        if inner and isinstance(value, dict):
            _refuse_unknown(value, inner, here, text, path)


def _section(annotation: Any) -> type[msgspec.Struct] | None:
    for option in getattr(annotation, "__args__", (annotation,)):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def _check_values(settings: Settings, text: str, path: str) -> None:
    durations = [
        (["replay", "label_delay"], settings.replay.label_delay),
        (["replay", "training_time"], settings.replay.training_time),
        (["replay", "rollout_delay"], settings.replay.rollout_delay),
        (["monitoring", "interval"], settings.monitoring.interval),
        (["monitoring", "block"], settings.monitoring.block),
        (["monitoring", "stale"], settings.monitoring.stale),
        (["training", "horizon"], settings.training.horizon),
        (["serving", "timeout"], settings.serving.timeout),
        (["serving", "batch_wait"], settings.serving.batch_wait),
        (["storage", "seal"], settings.storage.seal),
    ]
    if settings.storage.retention is not None:
        durations.append((["storage", "retention"], settings.storage.retention))
    durations += _durations_of_triggers(settings.triggers)
    checked = [(keys, value, seconds) for keys, value in durations]
    sizes = [(["serving", "max_body"], settings.serving.max_body), (["events", "max_body"], settings.events.max_body)]
    for keys, value, check in [*checked, *((keys, value, size) for keys, value in sizes)]:
        try:
            check(value)
        except ValueError as error:
            raise SettingsError(f"[{'.'.join(keys)}] {error}", path, _line(text, keys)) from None
    if not settings.deployment.steps:
        raise SettingsError(
            "[deployment.steps] must hold one share at least", path, _line(text, ["deployment", "steps"])
        )
    _check_forms(settings, text, path)
    ranges = [
        (["replay", "start"], settings.replay.start, 0.01, 0.99),
        (["deployment", "alpha"], settings.deployment.alpha, 1e-6, 0.5),
        (["deployment", "minimum_coverage"], settings.deployment.minimum_coverage, 0.0, 1.0),
        (["deployment", "split"], settings.deployment.split, 0.0, 1.0),
        (["deployment", "max_latency_ratio"], settings.deployment.max_latency_ratio, 1.0, 1000.0),
        (["deployment", "max_disparity_increase"], settings.deployment.max_disparity_increase, 0.0, 1000.0),
        *_ranges_of_triggers(settings.triggers),
        (["monitoring", "false_alarms"], settings.monitoring.false_alarms, 1e-6, 30.0),
        *((["deployment", "steps"], share, 0.0, 1.0) for share in settings.deployment.steps),
        (["recalibration", "bounds"], settings.recalibration.bounds[0], 0.01, 1.0),
        (["recalibration", "bounds"], settings.recalibration.bounds[1], 1.0, 100.0),
    ]
    for keys, number, low, high in ranges:
        if not low <= number <= high:
            message = f"[{'.'.join(keys)}] {number} lies outside {low} to {high}"
            raise SettingsError(message, path, _line(text, keys))


def _ranges_of_triggers(triggers: Triggers) -> list[tuple[list[str], float, float, float]]:
    found: list[tuple[list[str], float, float, float]] = [(["triggers", "budget"], triggers.budget, 1, 1_000_000)]
    if isinstance(labels := triggers.of("new_labels"), NewLabels):
        found.append((["triggers", "new_labels", "count"], labels.count, 1, 1_000_000_000))
    if isinstance(drift := triggers.of("data_drift"), DataDrift):
        found.append((["triggers", "data_drift", "rearm"], drift.rearm, 0.0, 1.0))
    return found


def _durations_of_triggers(triggers: Triggers) -> list[tuple[list[str], str]]:
    found = [(["triggers", "period"], triggers.period)]
    for name in triggers.on:
        told = {key: getattr(triggers.of(name), key, "") for key in ("poll", "debounce", "cooldown", "period", "every")}
        found += [(["triggers", name, key], value) for key, value in told.items() if value]
    return found


def _check_forms(settings: Settings, text: str, path: str) -> None:
    if settings.training.runtime == "native" and settings.serving.native is None:
        message = "[training.runtime] 'native' needs [serving] native = []: the types that such a model may hold"
        raise SettingsError(message, path, _line(text, ["training", "runtime"]))
    window, sticky = settings.training.window, settings.deployment.sticky_by
    mlflow = settings.tracking.mlflow
    if mlflow is True or (isinstance(mlflow, str) and not re.fullmatch(r"local|https?://.+", mlflow)):
        message = f"[tracking.mlflow] {mlflow!r}: write 'local', the URL of a tracking server, or false"
        raise SettingsError(message, path, _line(text, ["tracking", "mlflow"]))
    _check_elastic(settings.elastic, text, path)
    if window not in ("auto", "all") and not re.fullmatch(r"[1-9]\d*|\d+(\.\d+)?\s*[smhdw]", window):
        message = f"[training.window] {window!r}: write 'auto', 'all', a number of rows or a duration such as '90d'"
        raise SettingsError(message, path, _line(text, ["training", "window"]))
    if (planned := settings.triggers.schedule) and bool(planned.cron) == bool(planned.every):
        message = "[triggers.schedule] needs cron = '0 3 * * *' or every = '7d', one of both"
        raise SettingsError(message, path, _line(text, ["triggers", "schedule"]))
    watched = settings.monitoring.window
    if watched and not re.fullmatch(r"[1-9]\d*|[1-9]\d*\s*[smhdw]", watched):
        message = f"[monitoring.window] {watched!r}: write a duration such as '1h', or a number of rows such as '5000'"
        raise SettingsError(message, path, _line(text, ["monitoring", "window"]))
    if sticky is not None and not re.fullmatch(r"(header|column):.+", sticky):
        message = f"[deployment.sticky_by] {sticky!r}: write 'header:NAME' or 'column:NAME'"
        raise SettingsError(message, path, _line(text, ["deployment", "sticky_by"]))
    deployment = settings.deployment
    if deployment.labels == "affected" and (deployment.strategy not in ("ab", "bandit") or sticky is None):
        message = (
            "[deployment.labels] 'affected' needs strategy = 'ab' or 'bandit' and sticky_by: where the answer changes "
            "the label, versions are compared on what each itself answered, by key"
        )
        raise SettingsError(message, path, _line(text, ["deployment", "labels"]))


def _check_elastic(elastic: Elastic, text: str, path: str) -> None:
    forms = {
        "url": (r"(https?://.+)?", "write the URL of a server, or nothing"),
        "api_key": (r"([A-Za-z_]\w*)?", "write the name of an environment variable, never the key"),
        "index": (r"[a-z0-9][a-z0-9_.-]{0,99}", "write small letters, digits, '.', '_' and '-'"),
    }
    for key, (form, told) in forms.items():
        if not re.fullmatch(form, value := getattr(elastic, key)):
            shown = "the value" if key == "api_key" else repr(value)
            raise SettingsError(f"[elastic.{key}] {shown}: {told}", path, _line(text, ["elastic", key]))


def _line(text: str, keys: list[str]) -> int | None:
    """Return the line where the last of `keys` stands: in its table, inline or dotted; None where it cannot be told."""
    table: list[str] = []
    found: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]+)\]+", line):
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == keys:
                return number
        elif entry := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            here = table + [part.strip("\"'") for part in entry[1].split(".")]
            if here == keys:
                return number
            if keys[: len(here)] == here:
                found = number
    return found
