"""The project file's tables with their defaults: `Settings` is a whole file."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from everloop.settings.data import Augment, Checks, Media, Process
from everloop.settings.developing import Tests, Tuning
from everloop.settings.section import Section
from everloop.settings.sources import Source
from everloop.settings.triggers import Triggers
from everloop.types import Task

__all__ = [
    "Card",
    "Data",
    "Deployment",
    "Elastic",
    "Events",
    "Guards",
    "Logging",
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
]


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
    chunk_rows: int = 0
    """How many rows of files are in memory at a time, where tables are larger than that; 0 is all of them."""
    columns: dict[str, Media] = msgspec.field(default_factory=dict)
    """Columns of images and videos."""
    checks: Checks = Checks()
    process: Process = Process()
    sources: dict[str, Source] = msgspec.field(default_factory=dict)
    """Places that new rows are pulled from, into the folder of `source`."""


class Training(Section, frozen=True, kw_only=True):
    """`[training]`: the functions that prepare rows and build the estimator, and what to train on."""

    model: str
    features: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    window: str = "auto"
    """`auto` (chosen on the newest labels), `all`, a number of rows (`4000`) or a duration (`90d`)."""
    max_rows: int = 0
    """How many of the newest rows are trained on and judged at most; 0 is all of them."""
    horizon: str = "14d"
    """Event time that a model has to hold: the length of each past block that a choice is judged on."""
    gap: str = "0s"
    """Event time between the rows of a fit and those it is judged on, where labels or features reach so far."""
    augment: Augment = Augment()
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


class Features(Section, frozen=True, kw_only=True):
    """`[serving.features]`: columns that are looked up in an online store where a request leaves them out."""

    url: str
    """Of Feast's feature server."""
    features: tuple[str, ...]
    """`view:feature`; the column is called after the feature."""
    keys: tuple[str, ...]
    """Tensors of a request that tell whose features are meant: Feast's join keys."""
    timeout: str = "250ms"
    token: str = ""
    """The environment variable that holds the store's token, where it needs one."""


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
    features: Features | None = None
    """What requests may leave out, since an online store knows it."""


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


class Card(Section, frozen=True, kw_only=True):
    """`[card]`: what only a person can say of a model, for its card."""

    use: str = ""
    """What its answers are for."""
    not_for: str = ""
    """What they must not be used for."""
    owner: str = ""
    """Who answers for it."""
    limits: tuple[str, ...] = ()
    """What a reader must know, beside what the evidence shows."""


class Logging(Section, frozen=True, kw_only=True):
    """`[logging]`: how processes log; a line is an event."""

    format: Literal["text", "ecs"] = "text"
    """`ecs`: JSON in the Elastic Common Schema."""
    level: Literal["debug", "info", "warning", "error"] = "info"


class Elastic(Section, frozen=True, kw_only=True):
    """`[elastic]`: where predictions, labels, explanations and changes are searched."""

    url: str = ""
    """Of Elasticsearch or OpenSearch; nothing is sent without it."""
    server: Literal["elasticsearch", "opensearch"] = "elasticsearch"
    api_key: str = ""
    """The name of an environment variable that holds the key; `user:password` for OpenSearch."""
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
    tests: Tests = Tests()
    tuning: Tuning = Tuning()
    gates: dict[str, Any] = msgspec.field(default_factory=lambda: {"beats_champion": True})
    deployment: Deployment = Deployment()
    triggers: Triggers = Triggers()
    monitoring: Monitoring = Monitoring()
    recalibration: Recalibration = Recalibration()
    guards: Guards = Guards()
    serving: Serving = Serving()
    tracking: Tracking = Tracking()
    events: Events = Events()
    logging: Logging = Logging()
    elastic: Elastic = Elastic()
    pipelines: Pipelines = Pipelines()
    replay: Replay = Replay()
    card: Card = Card()
    storage: Storage = Storage()
