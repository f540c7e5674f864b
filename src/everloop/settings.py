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
    "ConceptDrift",
    "Data",
    "Deployment",
    "Elastic",
    "Guards",
    "Monitoring",
    "Pipelines",
    "Project",
    "Recalibration",
    "Replay",
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


class ConceptDrift(Section, frozen=True, kw_only=True):
    """`[triggers] concept_drift`: when realised loss calls for a retraining."""

    cooldown: str = "14d"
    budget: int = 15
    """Retrainings at most in any `period`."""
    period: str = "365d"


class Triggers(Section, frozen=True, kw_only=True):
    """`[triggers]`: what starts a retraining."""

    concept_drift: ConceptDrift | bool = ConceptDrift()
    """A table of its settings, `true` for the defaults, `false` for none."""

    @property
    def drift(self) -> ConceptDrift | None:
        """The settings of `concept_drift`; None where it is turned off."""
        if isinstance(self.concept_drift, bool):
            return ConceptDrift() if self.concept_drift else None
        return self.concept_drift


class Monitoring(Section, frozen=True, kw_only=True):
    """`[monitoring]`: how often the loop looks, and what counts as one observation."""

    interval: str = "1h"
    """Event time between two evaluations."""
    block: str = "1d"
    """Event time whose rows are alike: tests count blocks, not rows."""


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
    drift = settings.triggers.drift
    durations = [
        (["replay", "label_delay"], settings.replay.label_delay),
        (["replay", "training_time"], settings.replay.training_time),
        (["replay", "rollout_delay"], settings.replay.rollout_delay),
        (["monitoring", "interval"], settings.monitoring.interval),
        (["monitoring", "block"], settings.monitoring.block),
        (["training", "horizon"], settings.training.horizon),
        (["serving", "timeout"], settings.serving.timeout),
        (["serving", "batch_wait"], settings.serving.batch_wait),
        (["storage", "seal"], settings.storage.seal),
    ]
    if settings.storage.retention is not None:
        durations.append((["storage", "retention"], settings.storage.retention))
    if drift:
        durations += [
            (["triggers", "concept_drift", "cooldown"], drift.cooldown),
            (["triggers", "concept_drift", "period"], drift.period),
        ]
    checked = [(keys, value, seconds) for keys, value in durations]
    for keys, value, check in [*checked, (["serving", "max_body"], settings.serving.max_body, size)]:
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
        *((["deployment", "steps"], share, 0.0, 1.0) for share in settings.deployment.steps),
        (["recalibration", "bounds"], settings.recalibration.bounds[0], 0.01, 1.0),
        (["recalibration", "bounds"], settings.recalibration.bounds[1], 1.0, 100.0),
    ]
    for keys, number, low, high in ranges:
        if not low <= number <= high:
            message = f"[{'.'.join(keys)}] {number} lies outside {low} to {high}"
            raise SettingsError(message, path, _line(text, keys))


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
    if sticky is not None and not re.fullmatch(r"(header|column):.+", sticky):
        message = f"[deployment.sticky_by] {sticky!r}: write 'header:NAME' or 'column:NAME'"
        raise SettingsError(message, path, _line(text, ["deployment", "sticky_by"]))


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
