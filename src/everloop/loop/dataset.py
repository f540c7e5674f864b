"""The data of a project: files that fit the frozen schema become versions; every training set is one by itself."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath

import msgspec
import pandas as pd

from everloop import git
from everloop.data import Schema, quarantine, schema_file
from everloop.data.dvc import Repository, start
from everloop.data.findings import Findings
from everloop.data.media import named_files
from everloop.data.sources import files, objects
from everloop.data.validation import Fault, Validation
from everloop.errors import DataError, EverloopError, SystemError_, UsageError
from everloop.loop.checking import News, frozen_from, leaks_of, skew_of
from everloop.loop.lease import lease
from everloop.loop.parts import Newest, Shown, look_through, parts_of, reading_of
from everloop.loop.schemas import served
from everloop.loop.workspace import Workspace
from everloop.settings import Settings
from everloop.training import forget_modules

__all__ = ["RUN", "Added", "add_data", "check_data", "data_folder", "quarantine_of", "repository"]

GIT_FILES = (".gitignore", schema_file.FILE)
RUN = "Everloop-Run"
"""What the message of a commit that the loop made itself says last."""
DVC_FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore")
LEAKS = 100_000
"""Rows of a table in parts in which leaks are looked for, at least."""


class Added(msgspec.Struct, frozen=True):
    """What `add_data` made a version of: the files' names, their rows, the commit, and what a person should read."""

    files: list[str]
    rows: int
    commit: str
    schema_diff: str
    """How `schema.toml` changed, as a unified diff; empty where it did not."""
    notes: list[str]
    pushed: bool


def data_folder(settings: Settings) -> str | None:
    """Return the project's data folder as `[data] source` names it; None where that is no plain folder inside of it."""
    source = PurePosixPath(settings.data.source)
    folder = source.parent
    plain = folder.parts and not source.is_absolute() and ".." not in folder.parts and "://" not in settings.data.source
    return str(folder) if plain and not any(c in str(folder) for c in "*?[") else None


def repository(workspace: Workspace) -> Repository | None:
    """Return the DVC repository that versions the project's data, or None where there is none."""
    folder = data_folder(workspace.settings)
    found = Repository(workspace.folder, folder) if folder else None
    return found if found and found.there else None


def quarantine_of(workspace: Workspace) -> Path:
    """Return where refused deliveries are kept."""
    return workspace.path(workspace.settings.storage.lease).parent / "quarantine"


def add_data(
    workspace: Workspace,
    sources: Sequence[str],
    *,
    accept_schema: bool = False,
    replace: bool = False,
    tell: Callable[[str], None] = lambda _part: None,
    run: str = "",
    now: float | None = None,
    beside: str | None = None,
    origin: str | None = None,
) -> Added:
    """Check files (paths or URLs) against the frozen schema, then version them; all of them, or none.

    The commit names the `run` that they are added for. The first files freeze the schema; `accept_schema` freezes it
    anew, unless other columns are served already. Raises `DataError` with the rows that do not fit, or that lie behind
    `now`; nothing is ingested then, and the file is in the quarantine with its reasons.

    Images and videos that a table names come along; they lie beside it, or in the folder or URL `beside`. `origin` is
    where a delivery came from that lies elsewhere by now, which the quarantine tells. It waits while another addition
    is under way.
    """
    named = data_folder(workspace.settings)
    if named is None:
        raise UsageError(
            f"[data] source = {workspace.settings.data.source!r} is no folder of this project: data is added to one, "
            "such as 'data/*.csv'"
        )
    if not git.is_repository(workspace.folder):
        raise UsageError(f"{workspace.folder} is not under git, which versions need: run `git init` there first")
    state = workspace.path(workspace.settings.storage.lease).parent
    with lease(state / "data.lease", "everloop data add", tell), _staging(state / "staging") as staging:
        _Attempt(workspace, named).undo_killed()
        adding = _Adding(workspace, workspace.folder / named, staging, replace, origin)
        for source in sources:
            tell(f"reading {source}")
            adding.take(source, beside)
        adding.refuse_strays(Repository(workspace.folder, named))
        tell("checking")
        schema, rows, notes = _checked(workspace, adding, accept_schema, now)
        tell("versioning")
        return _version(workspace, named, adding, schema, rows, notes, run)


def check_data(
    workspace: Workspace, paths: Sequence[Path] = (), latest: float | None = None
) -> tuple[int, list[str], list[str]]:
    """Return how many rows files hold, what is wrong with them, a sentence a fault, and what is new but fits.

    Nothing is versioned. Without paths they are those of `[data] source`. Raises UsageError where no schema is frozen.
    """
    settings, schema = workspace.settings, schema_file.read(workspace.folder)
    if schema is None:
        raise UsageError(f"there is no {schema_file.FILE} to check against: `everloop data add FILE` writes it")
    if now := served(workspace):
        schema_file.check_same_inputs(schema, now.schema, now.version)
    forget_modules(workspace.folder)
    rows, problems, notes, fitting = 0, list[str](), list[str](), list[pd.DataFrame]()
    looks = settings.data.checks.leakage != "off"
    for path in paths or files.matches(settings.data.source, workspace.folder):
        try:
            news, newest = News(schema), _newest(schema, settings)
            validation = Validation(schema, settings.data.checks, now=latest)
            found = look_through(parts_of(settings, workspace.folder, path), validation, newest, news.see)
            problems += [f"{path.name}: {fault.reason}" for fault in found.faults]
            if not found.faults:
                notes += [f"{path.name}: {note}" for note in news.told]
                fitting += [newest.table] if looks else []
                rows += found.rows
        except DataError as error:
            told = str(error)
            problems.append(told if path.name in told else f"{path.name}: {told}")
    leaking = leaks_of(fitting, schema, settings) if fitting else []
    (problems if settings.data.checks.leakage == "refuse" else notes).extend(leaking)
    return rows, problems, [*notes, *skew_of(workspace)]


class _Adding:
    """The files that are being added: each by the name it will have, where it lies now."""

    def __init__(self, workspace: Workspace, folder: Path, staging: Path, replace: bool, origin: str | None) -> None:
        self.origin = origin
        self.folder, self.staged, self.sources = folder, dict[str, Path](), dict[str, str]()
        self.named: dict[str, Path] = {}
        """Images and videos that the tables name."""
        self._staging, self._replace = staging, replace
        self._pattern = PurePosixPath(workspace.settings.data.source).name
        self._columns = workspace.settings.data.columns

    def take(self, source: str, beside: str | None = None) -> None:
        """Bring one file into the staging folder; a file of the data folder is taken where it lies."""
        name = PurePosixPath(source.partition("?")[0] if "://" in source else Path(source).name).name
        if not fnmatch(name, self._pattern):
            raise UsageError(f"{name!r} is not what [data] source takes ({self._pattern!r}): rename it, or change that")
        if name in self.staged:
            raise UsageError(f"two of the files are called {name!r}: rename one")
        target, given, self.sources[name] = self.folder / name, Path(source), source
        if "://" not in source and not given.is_file():
            raise UsageError(f"{source} is no file{' but a folder: name its files' if given.is_dir() else ''}")
        if "://" not in source and target.exists() and given.resolve() == target.resolve():
            self.staged[name] = target
            return
        partial = self._staging / name
        _fetch(source, partial)
        if self._columns:
            self._take_named(partial, source.rpartition("/")[0] or "." if beside is None else beside)
        if target.exists() and filecmp.cmp(partial, target, shallow=False):
            self.staged[name] = target
            return
        if target.exists() and not self._replace:
            raise UsageError(f"{target} is there already, with other content: rename the new file, or say --replace")
        self.staged[name] = partial

    def _take_named(self, table: Path, place: str) -> None:
        """Bring the images and videos that a table names along; one that is missing is told with its row later."""
        for name in named_files(files.read(str(table), table.parent), self._columns):
            source, copy, target = f"{place}/{name}", self._staging / name, self.folder / name
            if name in self.named or ("://" not in place and not Path(source).is_file()):
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            _fetch(source, copy)
            if target.exists() and not filecmp.cmp(copy, target, shallow=False) and not self._replace:
                raise UsageError(f"{target} is there already, with other content: rename the new one, or say --replace")
            if not target.exists() or not filecmp.cmp(copy, target, shallow=False):
                self.named[name] = copy

    def refuse_strays(self, known: Repository) -> None:
        """Raise `UsageError` for files that a training would read though no version holds them."""
        there = {p.name for p in self.folder.glob(self._pattern) if p.is_file()} if self.folder.is_dir() else set()
        if strays := sorted(there - set(known.versioned()) - set(self.staged)):
            example = f"everloop data add {self.folder / strays[0]}"
            raise UsageError(
                f"{', '.join(strays[:3])} in {self.folder} belongs to no version: add it too (`{example}`)"
            )

    def move(self) -> None:
        """Move all files to where trainings read them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, path in (self.staged | self.named).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(self.folder / name)

    def others(self) -> list[Path]:
        """Return the files of the data folder that are not being added."""
        return [p for p in sorted(self.folder.glob(self._pattern)) if p.is_file() and p.name not in self.staged]


def _checked(workspace: Workspace, adding: _Adding, accept: bool, now: float | None) -> tuple[Schema, int, list[str]]:
    """Return the schema, the number of rows added, and what a person should read; raises `DataError` for bad rows."""
    settings, folder = workspace.settings, workspace.folder
    forget_modules(folder)
    refusing = partial(_refusing, workspace, adding, now)
    tables = {name: parts_of(settings, folder, path) for name, path in adding.staged.items()}
    frozen = schema_file.read(folder)
    if frozen is None or accept:
        shown = Shown(reading_of(settings, folder))
        for path in adding.others():
            shown.take(parts_of(settings, folder, path))
        for name, table in tables.items():
            with refusing(name):
                shown.take(table)
        schema = frozen_from(shown, settings.data.target)
    else:
        schema = frozen
    if current := served(workspace):
        schema_file.check_same_inputs(schema, current.schema, current.version)
    notes, count, refuses = list[str](), 0, settings.data.checks.leakage == "refuse"
    for name, table in tables.items():
        news, newest = News(schema), _newest(schema, settings)
        validation = Validation(schema, settings.data.checks, now=now)
        with refusing(name):
            found = look_through(table, validation, newest, news.see)
        if not found.faults and refuses:
            found.take([Fault("", told) for told in leaks_of([newest.table], schema, settings)], None)
        if found.faults:
            raise _refused(workspace, adding, now, name, found, known=schema == frozen)
        notes += [f"{name}: {note}" for note in news.told]
        count += found.rows
    return schema, count, notes


def _newest(schema: Schema, settings: Settings) -> Newest:
    """Return what keeps the rows that leaks are looked for in: of a table in parts the newest."""
    rows = settings.data.chunk_rows
    return Newest(schema.time, max(rows, LEAKS) if rows else 0)


@contextlib.contextmanager
def _refusing(workspace: Workspace, adding: _Adding, now: float | None, name: str) -> Iterator[None]:
    """Put a file that cannot be read into the quarantine."""
    try:
        yield
    except DataError as error:
        told = str(error).replace(str(adding.staged[name]), name)  # where it lies now it will not be found
        found = Findings.of([Fault("", told, error.rows)])
        raise _refused(workspace, adding, now, name, found) from error


def _refused(
    workspace: Workspace, adding: _Adding, now: float | None, name: str, found: Findings, known: bool = False
) -> DataError:
    """Put a file into the quarantine, and return what is to be said of it; `known`: held against the frozen schema."""
    path = adding.staged[name]
    staged = path if path.parent != adding.folder else None
    place, source = quarantine_of(workspace), adding.origin or adding.sources[name]
    kept = quarantine.put(place, name, found, source=source, time=now or 0.0, original=staged)
    hint = ""
    if known and any(fault.acceptable for fault in found.faults):
        how = f"`everloop data quarantine release {kept.id} --accept-schema`" if adding.origin else "--accept-schema"
        hint = f"; if that is right, {how} shows and freezes the change"
    more = f"; nothing was added{hint}; all reasons: `everloop data quarantine show {kept.id}`"
    return found.error(name, more, kept.id)


def _version(
    workspace: Workspace, named: str, adding: _Adding, schema: Schema, rows: int, notes: list[str], run: str = ""
) -> Added:
    """Move the files into place and make a commit of their pointer; undone whole where a part of it fails."""
    folder, names = workspace.folder, sorted(adding.staged)
    known = Repository(folder, named)
    frozen = schema_file.read(folder)
    changed = schema_file.diff(frozen, schema) if frozen != schema else ""
    attempt = _Attempt(workspace, named)
    try:
        attempt.begin([name for name, path in (adding.staged | adding.named).items() if path != adding.folder / name])
        if not known.there:
            start(folder)
        adding.move()
        if changed:
            (folder / schema_file.FILE).write_text(schema_file.render(schema), encoding="utf-8")
        known.add([*names, *sorted({name.partition("/")[0] for name in adding.named})])
        message = f"data: add {', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({rows:,} rows)"
        message += f"\n\n{RUN}: {run}" if run else ""
        commit = git.commit_files(folder, [*attempt.changed(), known.pointer_file], message)
    except (EverloopError, OSError) as error:
        attempt.undo()
        if isinstance(error, OSError):
            raise SystemError_(f"nothing was added: {error.strerror} ({error.filename})") from error
        raise
    attempt.end()
    return Added(names, rows, commit, changed, notes, _push(known))


def _push(known: Repository) -> bool:
    """Send the new version to the remote, where there is one."""
    if known.remote() is None:
        return False
    try:
        known.push()
    except SystemError_ as error:
        raise SystemError_(
            f"the version is kept here, but the remote did not take it: {error}; `everloop data push` tries again"
        ) from error
    return True


def _fetch(source: str, target: Path) -> None:
    """Copy a file or what a URL gives to `target`."""
    try:
        objects.fetch(source, target)
    except SystemError_ as error:
        raise SystemError_(f"{error}; nothing was added") from error


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Attempt:
    """What an addition changes before its commit, kept beside the lease: one that fails or is killed is undone."""

    def __init__(self, workspace: Workspace, named: str) -> None:
        state = workspace.path(workspace.settings.storage.lease).parent
        self._folder, self._data = workspace.folder, workspace.folder / named
        self._noted, self._saved = state / "adding.json", state / "replaced"
        self._watched = (*GIT_FILES, *DVC_FILES, f"{named}.dvc")
        self._known = _Noted("", {}, {})

    def begin(self, coming: Sequence[str]) -> None:
        """Keep what is there of files of the data folder that others will replace, without a copy of their content."""
        shutil.rmtree(self._saved, ignore_errors=True)
        before = {name: _bytes(self._folder / name) for name in self._watched}
        known = _Noted(self._committed(), before, {name: (self._data / name).exists() for name in coming})
        for name in (name for name, there in known.coming.items() if there):
            (self._saved / name).parent.mkdir(parents=True, exist_ok=True)
            _linked(self._data / name, self._saved / name)
        partial = self._noted.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(known))
        partial.replace(self._noted)
        self._known = known

    def changed(self) -> list[str]:
        """Return which files of git are not as they were."""
        return [name for name, content in self._known.before.items() if _bytes(self._folder / name) != content]

    def undo(self) -> None:
        """Bring everything back; what is back already stays, so it may be killed too."""
        for name, there in self._known.coming.items():
            if not there:
                (self._data / name).unlink(missing_ok=True)
            elif (self._saved / name).exists():
                (self._saved / name).replace(self._data / name)
        for name, content in self._known.before.items():
            _restore(self._folder / name, content)
        self.end()

    def end(self) -> None:
        """Forget what was there: it is a commit now, or it is back."""
        self._noted.unlink(missing_ok=True)
        shutil.rmtree(self._saved, ignore_errors=True)

    def undo_killed(self) -> None:
        """Bring back what was there before an addition that was killed ahead of its commit."""
        if self._noted.is_file():
            self._known = msgspec.json.decode(self._noted.read_bytes(), type=_Noted)
            if self._known.committed == self._committed():
                self.undo()
        self.end()

    def _committed(self) -> str:
        """Return what the newest commit holds of the watched files; commits of other files tell nothing."""
        there = git.has(self._folder, "HEAD")
        return git.run(self._folder, "ls-tree", "HEAD", "--", *self._watched) if there else ""


class _Noted(msgspec.Struct, frozen=True):
    """What is committed of files as an addition begins, what they hold, and which data files come: was one there?"""

    committed: str
    before: dict[str, bytes | None]
    coming: dict[str, bool]


def _linked(path: Path, other: Path) -> None:
    """Let a file be at another place, too; a copy where the disk knows no links."""
    try:
        other.hardlink_to(path)
    except OSError:
        shutil.copy2(path, other)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif _bytes(path) != content:
        path.write_bytes(content)
