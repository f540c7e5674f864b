"""What a value must be beyond its type, told with the line that it stands on."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from everloop.errors import SettingsError
from everloop.settings.sections import Elastic, Features, Settings
from everloop.settings.sources import faults_of
from everloop.settings.triggers import DataDrift, NewLabels, Schedule, Triggers
from everloop.settings.units import seconds, size

__all__ = ["check_values", "line_of"]

_DURATIONS = ("poll", "debounce", "cooldown", "period", "every")
_COUNTS = ("workers", "threads", "batch_rows", "max_requests")


def check_values(settings: Settings, text: str, path: str) -> None:
    """Refuse, with a SettingsError, a value outside its range or in a wrong form."""
    _check_durations(settings, text, path)
    _check_forms(settings, text, path)
    _check_rules(settings, text, path)
    _check_made(settings, text, path)
    _check_searches(settings, text, path)
    _check_ranges(settings, text, path)


def _check_durations(settings: Settings, text: str, path: str) -> None:
    lasting = [
        (["monitoring", "interval"], settings.monitoring.interval),
        (["monitoring", "block"], settings.monitoring.block),
        (["monitoring", "stale"], settings.monitoring.stale),
        (["training", "horizon"], settings.training.horizon),
        (["serving", "timeout"], settings.serving.timeout),
        *((["serving", "features", "timeout"], f.timeout) for f in (settings.serving.features,) if f),
        (["storage", "seal"], settings.storage.seal),
    ]
    durations = [
        (["replay", "label_delay"], settings.replay.label_delay),
        (["replay", "training_time"], settings.replay.training_time),
        (["replay", "rollout_delay"], settings.replay.rollout_delay),
        (["training", "gap"], settings.training.gap),
        (["data", "checks", "future"], settings.data.checks.future),
        (["serving", "batch_wait"], settings.serving.batch_wait),
    ]
    if settings.tests.latency:
        durations.append((["tests", "latency"], settings.tests.latency))
    if settings.storage.retention is not None:
        durations.append((["storage", "retention"], settings.storage.retention))
    for keys, value in _durations_of_triggers(settings.triggers):
        (lasting if keys[-1] in ("poll", "period", "every") else durations).append((keys, value))
    checked = [(keys, value, seconds) for keys, value in durations]
    checked += [(keys, value, _lasting) for keys, value in lasting]
    sizes = [(["serving", "max_body"], settings.serving.max_body), (["events", "max_body"], settings.events.max_body)]
    if settings.tests.memory:
        sizes.append((["tests", "memory"], settings.tests.memory))
    for keys, value, check in [*checked, *((keys, value, size) for keys, value in sizes)]:
        try:
            check(value)
        except ValueError as error:
            raise SettingsError(f"[{'.'.join(keys)}] {error}", path, line_of(text, keys)) from None


def _check_ranges(settings: Settings, text: str, path: str) -> None:
    steps = settings.deployment.steps
    if not steps or steps[0] <= 0 or any(b <= a for a, b in pairwise(steps)):
        told = "[deployment.steps] must hold one share at least, each above 0 and above the one before"
        raise SettingsError(told, path, line_of(text, ["deployment", "steps"]))
    ranges = [
        (["replay", "start"], settings.replay.start, 0.01, 0.99),
        (["data", "checks", "tolerance"], settings.data.checks.tolerance, 0.0, 1.0),
        (["training", "augment", "copies"], settings.training.augment.copies, 0, 100),
        (["training", "augment", "noise"], settings.training.augment.noise, 0.0, 100.0),
        (["training", "augment", "flip"], settings.training.augment.flip, 0.0, 1.0),
        (["training", "augment", "shift"], settings.training.augment.shift, 0, 4096),
        (["training", "augment", "pixel_noise"], settings.training.augment.pixel_noise, 0.0, 1.0),
        (["training", "augment", "drop_words"], settings.training.augment.drop_words, 0.0, 0.9),
        (["training", "augment", "swap_words"], settings.training.augment.swap_words, 0.0, 0.9),
        (["deployment", "alpha"], settings.deployment.alpha, 1e-6, 0.5),
        (["deployment", "minimum_coverage"], settings.deployment.minimum_coverage, 0.0, 1.0),
        (["deployment", "split"], settings.deployment.split, 0.001, 0.999),
        (["deployment", "max_latency_ratio"], settings.deployment.max_latency_ratio, 1.0, 1000.0),
        (["deployment", "max_disparity_increase"], settings.deployment.max_disparity_increase, 0.0, 1000.0),
        (["deployment", "minimum_labels"], settings.deployment.minimum_labels, 0, 1_000_000_000),
        (["deployment", "max_days"], settings.deployment.max_days, 0.0, 3650.0),
        *_ranges_of_triggers(settings.triggers),
        *((keys, port, 0, 65535) for keys, port in _ports(settings)),
        *((["serving", key], getattr(settings.serving, key), 1, 1_000_000) for key in _COUNTS),
        (["monitoring", "false_alarms"], settings.monitoring.false_alarms, 1e-6, 30.0),
        (["data", "chunk_rows"], settings.data.chunk_rows, 0, 1_000_000_000),
        (["training", "max_rows"], settings.training.max_rows, 0, 1_000_000_000),
        (["tuning", "trials"], settings.tuning.trials, 1, 1_000_000),
        (["tuning", "minutes"], settings.tuning.minutes, 0.0, math.inf),
        (["tuning", "parallel"], settings.tuning.parallel, 1, 1000),
        *((["tests", "expectations", "share"], one.share, 0.0, 1.0) for one in settings.tests.expectations),
        *(
            (["tests", "expectations", "tolerance"], one.tolerance, 0.0, math.inf)
            for one in settings.tests.expectations
        ),
        *((["deployment", "steps"], share, 0.0, 1.0) for share in settings.deployment.steps),
        (["recalibration", "bounds"], settings.recalibration.bounds[0], 0.01, 1.0),
        (["recalibration", "bounds"], settings.recalibration.bounds[1], 1.0, 100.0),
    ]
    for keys, number, low, high in ranges:
        if not low <= number <= high:
            message = f"[{'.'.join(keys)}] {number} lies outside {low} to {high}"
            raise SettingsError(message, path, line_of(text, keys))


def _lasting(text: str) -> float:
    if (found := seconds(text)) <= 0:
        raise ValueError(f"{text!r} must last longer than nothing")
    return found


def _ports(settings: Settings) -> list[tuple[list[str], int]]:
    serving = settings.serving
    return [
        (["serving", "port"], serving.port),
        (["serving", "grpc_port"], serving.grpc_port or 0),
        (["tracking", "ui_port"], settings.tracking.ui_port),
        (["events", "port"], settings.events.port),
    ]


def _ranges_of_triggers(triggers: Triggers) -> list[tuple[list[str], float, float, float]]:
    found: list[tuple[list[str], float, float, float]] = [(["triggers", "budget"], triggers.budget, 1, 1_000_000)]
    if triggers.drift is not None:
        found.append((["triggers", "concept_drift", "budget"], triggers.drift.budget, 1, 1_000_000))
    if isinstance(labels := triggers.of("new_labels"), NewLabels):
        found.append((["triggers", "new_labels", "count"], labels.count, 1, 1_000_000_000))
    if isinstance(drift := triggers.of("data_drift"), DataDrift):
        found.append((["triggers", "data_drift", "rearm"], drift.rearm, 0.0, 1.0))
    return found


def _durations_of_triggers(triggers: Triggers) -> list[tuple[list[str], str]]:
    found = [(["triggers", "period"], triggers.period)]
    for name in triggers.on:
        section = triggers.of(name)
        told = {key: getattr(section, key) for key in _DURATIONS if hasattr(section, key)}
        if not told.get("every", "-"):  # a schedule by `cron`
            del told["every"]
        found += [(["triggers", name, key], value) for key, value in told.items()]
    return found


def _check_forms(settings: Settings, text: str, path: str) -> None:
    if settings.training.runtime == "native" and settings.serving.native is None:
        message = "[training.runtime] 'native' needs [serving] native = []: the types that such a model may hold"
        raise SettingsError(message, path, line_of(text, ["training", "runtime"]))
    window, sticky = settings.training.window, settings.deployment.sticky_by
    mlflow = settings.tracking.mlflow
    if mlflow is True or (isinstance(mlflow, str) and not re.fullmatch(r"local|https?://.+", mlflow)):
        message = f"[tracking.mlflow] {mlflow!r}: write 'local', the URL of a tracking server, or false"
        raise SettingsError(message, path, line_of(text, ["tracking", "mlflow"]))
    _check_elastic(settings.elastic, text, path)
    for key in ("token", "github_secret", "gitlab_secret"):
        if not re.fullmatch(r"[A-Za-z_]\w*", getattr(settings.events, key)):
            message = f"[events.{key}] the value: write the name of an environment variable, never the secret"
            raise SettingsError(message, path, line_of(text, ["events", key]))
    if settings.serving.features:
        _check_features(settings.serving.features, text, path)
    if window not in ("auto", "all") and not re.fullmatch(r"[1-9]\d*|\d+(\.\d+)?\s*[smhdw]", window):
        message = f"[training.window] {window!r}: write 'auto', 'all', a number of rows or a duration such as '90d'"
        raise SettingsError(message, path, line_of(text, ["training", "window"]))
    planned = settings.triggers.schedule
    if planned is True or (isinstance(planned, Schedule) and bool(planned.cron) == bool(planned.every)):
        message = "[triggers.schedule] needs cron = '0 3 * * *' or every = '7d', one of both"
        raise SettingsError(message, path, line_of(text, ["triggers", "schedule"]))
    watched = settings.monitoring.window
    if watched and not re.fullmatch(r"[1-9]\d*|[1-9]\d*\s*[smhdw]", watched):
        message = f"[monitoring.window] {watched!r}: write a duration such as '1h', or a number of rows such as '5000'"
        raise SettingsError(message, path, line_of(text, ["monitoring", "window"]))
    if sticky is not None and not re.fullmatch(r"(header|column):.+", sticky):
        message = f"[deployment.sticky_by] {sticky!r}: write 'header:NAME' or 'column:NAME'"
        raise SettingsError(message, path, line_of(text, ["deployment", "sticky_by"]))
    deployment = settings.deployment
    if deployment.labels == "affected" and (deployment.strategy not in ("ab", "bandit") or sticky is None):
        message = (
            "[deployment.labels] 'affected' needs strategy = 'ab' or 'bandit' and sticky_by: where the answer changes "
            "the label, versions are compared on what each itself answered, by key"
        )
        raise SettingsError(message, path, line_of(text, ["deployment", "labels"]))


def _check_rules(settings: Settings, text: str, path: str) -> None:
    if settings.data.columns and settings.training.runtime == "native":
        told = "[training.runtime] 'native' takes no images and videos, which [data.columns] declares: write 'onnx'"
        raise SettingsError(told, path, line_of(text, ["training", "runtime"]))
    for name, media in settings.data.columns.items():
        keys = ["data", "columns", name]
        if not all(1 <= side <= 4096 for side in media.size) or not 1 <= media.frames <= 1000:
            told = (
                f"[{'.'.join(keys)}] size and frames: a picture has 1 to 4096 pixels a side, a video 1 to 1000 frames"
            )
            raise SettingsError(told, path, line_of(text, keys))
        if name in (settings.data.target, settings.data.time):
            told = f"[{'.'.join(keys)}] the target and the time are no {media.kind}s: declare an input"
            raise SettingsError(told, path, line_of(text, keys))
    for column, rule in settings.data.checks.columns.items():
        keys = ["data", "checks", "columns", column]
        try:
            re.compile(rule.regex or "")
        except re.error as error:
            raise SettingsError(f"[{'.'.join(keys)}] regex: {error}", path, line_of(text, keys)) from None
    for place, expression in enumerate(settings.data.checks.rows, 1):
        try:
            compile(re.sub(r"`[^`]*`", "a", expression), "rows", "eval")
        except (SyntaxError, ValueError):
            told = f"[data.checks.rows] expression {place}, {expression!r}, is none: write such as 'start <= end'"
            raise SettingsError(told, path, line_of(text, ["data", "checks", "rows"])) from None
    for name, source in settings.data.sources.items():
        for key, told in faults_of(name, source):
            keys = ["data", "sources", name, *([key] if key else [])]
            line = line_of(text, keys) or line_of(text, keys[:3])
            raise SettingsError(f"[{'.'.join(keys[:3])}] {f'{key} {told}'.strip()}", path, line)


def _check_made(settings: Settings, text: str, path: str) -> None:
    """Refuse what rows cannot be made into or of."""
    process, augment = settings.data.process, settings.training.augment
    for name, edges in process.bins.items():
        if not edges or any(b <= a for a, b in pairwise(edges)):
            told = f"[data.process.bins] {name}: write the edges of its bins, each above the one before"
            raise SettingsError(told, path, line_of(text, ["data", "process", "bins"]))
    for name, length in process.prefix.items():
        if length < 1:
            told = f"[data.process.prefix] {name}: {length} is no number of characters that stay, which is 1 at least"
            raise SettingsError(told, path, line_of(text, ["data", "process", "prefix"]))
    if augment.changes != (augment.copies > 0):
        told = "nothing changes them: say by what, such as noise = 0.1" if augment.copies else "say how many, such as 1"
        line = line_of(text, ["training", "augment", "copies"]) or line_of(text, ["training", "augment"])
        raise SettingsError(f"[training.augment] copies: {told}", path, line)
    secret = settings.data.process.secret
    if not re.fullmatch(r"[A-Za-z_]\w*", secret):
        told = "[data.process.secret] the value: write the name of an environment variable, never the key"
        raise SettingsError(told, path, line_of(text, ["data", "process", "secret"]))


def _check_searches(settings: Settings, text: str, path: str) -> None:
    for name, told in settings.tuning.parameters.items():
        keys, wrong = ["tuning", "parameters", name], ""
        if told.values:
            numbers = (told.min, told.max, told.step)
            wrong = "" if numbers == (None, None, None) and not told.log else "values stand alone, without min and max"
        elif told.min is None or told.max is None:
            wrong = "write min and max, or values"
        elif told.min >= told.max or (told.step is not None and told.step <= 0):
            wrong = "min lies below max, and a step is more than 0"
        elif told.log and (told.min <= 0 or told.step is not None):
            wrong = "log = true needs a min above 0, and no step"
        if wrong:
            raise SettingsError(f"[{'.'.join(keys)}] {wrong}", path, line_of(text, keys))


def _check_elastic(elastic: Elastic, text: str, path: str) -> None:
    forms = {
        "url": (r"(https?://[^\s/]+(/\S*)?)?", "write the URL of a server, or nothing"),
        "api_key": (r"([A-Za-z_]\w*)?", "write the name of an environment variable, never the key"),
        "index": (r"[a-z0-9][a-z0-9_.-]{0,99}", "write small letters, digits, '.', '_' and '-'"),
    }
    for key, (form, told) in forms.items():
        if not re.fullmatch(form, value := getattr(elastic, key)):
            shown = "the value" if key == "api_key" else repr(value)
            raise SettingsError(f"[elastic.{key}] {shown}: {told}", path, line_of(text, ["elastic", key]))


def _check_features(features: Features, text: str, path: str) -> None:
    wrong, names = "", [name.rpartition(":")[2] for name in features.features]
    if not re.fullmatch(r"https?://([^/?#@:\s]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/[^?#\s]*)?", features.url):
        wrong = "url: write that of Feast's feature server, such as 'http://127.0.0.1:6566'"
    elif not features.keys or not features.features:
        wrong = "needs features, which are looked up, and keys, by which they are"
    elif not all(re.fullmatch(r"[^:]+:[^:]+", name) for name in features.features):
        wrong = "features: write each as 'view:feature'"
    elif twice := next((name for name in names if names.count(name) > 1), None):
        wrong = f"features: two are called {twice!r}, and a column is called after one"
    elif not re.fullmatch(r"([A-Za-z_]\w*)?", features.token):
        wrong = "token: write the name of an environment variable, never the token"
    if wrong:
        raise SettingsError(f"[serving.features] {wrong}", path, line_of(text, ["serving", "features"]))


def line_of(text: str, keys: list[str]) -> int | None:
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
