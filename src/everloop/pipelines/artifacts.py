"""Artifacts: values, files and folders under the hash of their content, in a folder or at any fsspec URL.

An artifact's id is the sha256 of its format's name, a zero byte and its stored bytes; for a file or a folder the bytes
are those of its manifest, the sorted list of (path, size, sha256). The same content is stored once. It appears whole
or not at all; what is read is checked against the id.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import msgspec
from fsspec.implementations.local import LocalFileSystem

from everloop.errors import SystemError_
from everloop.pipelines.formats import SUFFIX, UnserialisableError, decode, element_of, encode

__all__ = ["Artifact", "ArtifactStore"]

_PIECE = 1 << 20
_MANIFEST = "manifest.json"
_Entry = tuple[str, int, str]


class Artifact(msgspec.Struct, frozen=True):
    """Where a stored content lies: `uri` is relative to the store's root, `size` counts its bytes."""

    id: str
    format: str
    uri: str
    size: int


class _Damage(Exception):
    """Stored bytes that are missing or have another hash."""


class ArtifactStore:
    """Content-addressed storage; safe for several processes, since equal names mean equal bytes."""

    def __init__(self, url: str, folder: Path = Path()) -> None:
        """Open the store at `url`; a plain relative path lies in `folder`."""
        local = os.path.expandvars(url).removeprefix("file://")
        self.url = local if "://" in local else str(folder.resolve() / local)
        with self._writing():
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
            self._fs.makedirs(self._root, exist_ok=True)
        self._local = isinstance(self._fs, LocalFileSystem)
        if self._local:
            _sweep(Path(self._root) / "tmp")

    def put(self, value: Any, annotation: Any = None) -> Artifact:
        """Store a value, or the content of the file or folder that a Path names; raises UnserialisableError."""
        if isinstance(value, Path):
            return self._put_tree(value)
        format, data = encode(value, annotation)
        id = _digest(format, data)
        artifact = Artifact(id, format, f"{id[:2]}/{id}{SUFFIX[format]}", len(data))
        if not self.holds(artifact):
            self._write(artifact.uri, [data])
        return artifact

    def put_list(self, items: Sequence[Artifact]) -> Artifact:
        """Store a list of contents that are stored already; `get` gives the list of their values."""
        data = msgspec.json.encode(items)
        id = _digest("list", data)
        artifact = Artifact(id, "list", f"{id[:2]}/{id}{SUFFIX['list']}", len(data))
        if not self.holds(artifact):
            self._write(artifact.uri, [data])
        return artifact

    def items(self, artifact: Artifact) -> list[Artifact]:
        """Return what `put_list` was given; raises SystemError_ when it is missing or damaged."""
        return msgspec.json.decode(self.read(artifact), type=list[Artifact])

    def get(self, artifact: Artifact, annotation: Any = None) -> Any:
        """Return the value, checked against its id; a file or folder as the Path of a read-only copy.

        Raises SystemError_ when it is missing or damaged.
        """
        try:
            if artifact.format in ("file", "folder"):
                return self._tree_path(artifact, self._verified_manifest(artifact))
            if artifact.format == "list":
                of = element_of(annotation)
                return [self.get(item, of) for item in self.items(artifact)]
            return decode(artifact.format, self._verified_bytes(artifact), annotation)
        except _Damage as damage:
            message = f"artifact {artifact.id[:12]} in {self.url} {damage}: run its pipeline again to make it anew"
            raise SystemError_(message) from None

    def read(self, artifact: Artifact) -> bytes:
        """Return the stored bytes of a value's artifact; raises SystemError_ when they are missing or damaged."""
        try:
            return self._verified_bytes(artifact)
        except _Damage as damage:
            raise SystemError_(f"artifact {artifact.id[:12]} in {self.url} {damage}") from None

    def holds(self, artifact: Artifact) -> bool:
        """Tell whether the whole content is there and has its hash."""
        try:
            if artifact.format in ("file", "folder"):
                self._verified_manifest(artifact)
            elif artifact.format == "list":
                items = msgspec.json.decode(self._verified_bytes(artifact), type=list[Artifact])
                return all(self.holds(item) for item in items)
            else:
                self._verified_bytes(artifact)
        except _Damage:
            return False
        return True

    def exists(self, artifact: Artifact) -> bool:
        """Tell whether something lies in its place, whatever it is."""
        return bool(self._fs.exists(self._at(artifact.uri)))

    def remove(self, artifact: Artifact) -> None:
        """Remove the content; of a file or folder its manifest first, without which there is no artifact."""
        with self._writing():
            if artifact.format in ("file", "folder") and self._fs.exists(self._at(f"{artifact.uri}/{_MANIFEST}")):
                self._fs.rm(self._at(f"{artifact.uri}/{_MANIFEST}"))
            if self.exists(artifact):
                self._fs.rm(self._at(artifact.uri), recursive=True)

    def _put_tree(self, path: Path) -> Artifact:
        if not path.exists():
            raise UnserialisableError(f"the path {str(path)!r} does not exist: hand over the path of a file or folder")
        format = "folder" if path.is_dir() else "file"
        files = _files(path)
        entries = [(name, file.stat().st_size, _hash(_pieces(file))) for name, file in files.items()]
        manifest = msgspec.json.encode(entries)
        id = _digest(format, manifest)
        artifact = Artifact(id, format, f"{id[:2]}/{id}", sum(size for _, size, _ in entries))
        if not self.holds(artifact):
            for name, file in files.items():
                self._write(f"{artifact.uri}/files/{name}", _pieces(file), read_only=True)
            with self._writing():
                self._fs.makedirs(self._at(f"{artifact.uri}/files"), exist_ok=True)  # of a folder without files
            self._write(f"{artifact.uri}/{_MANIFEST}", [manifest])  # last: without it there is no artifact
        return artifact

    def _write(self, uri: str, pieces: Iterable[bytes], *, read_only: bool = False) -> None:
        """Write all pieces under `uri`, or nothing.

        There is no fsync: after a power cut a torn artifact has not its hash, so its step runs again.
        """
        target = self._at(uri)
        with self._writing():
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            if not self._local:  # an object appears when its upload is complete
                with self._fs.open(target, "wb") as file:
                    file.writelines(pieces)
                return
            temporary = Path(self._root) / "tmp" / f"{platform.node()}-{os.getpid()}-{os.urandom(8).hex()}"
            temporary.parent.mkdir(exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.writelines(pieces)
                temporary.chmod(0o444 if read_only else 0o644)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def _verified_bytes(self, artifact: Artifact) -> bytes:
        data = self._read(artifact.uri)
        if _digest(artifact.format, data) != artifact.id:
            raise _Damage("is damaged (its bytes do not have its hash)")
        return data

    def _verified_manifest(self, artifact: Artifact) -> list[_Entry]:
        manifest = self._read(f"{artifact.uri}/{_MANIFEST}")
        if _digest(artifact.format, manifest) != artifact.id:
            raise _Damage("is damaged (its manifest does not have its hash)")
        entries = msgspec.json.decode(manifest, type=list[_Entry])
        for name, _, sha256 in entries:
            if _hash(self._read_pieces(f"{artifact.uri}/files/{name}")) != sha256:
                raise _Damage(f"is damaged (file {name!r} does not have its hash)")
        return entries

    def _tree_path(self, artifact: Artifact, entries: list[_Entry]) -> Path:
        files = self._at(f"{artifact.uri}/files")
        folder = Path(files) if self._local else self._download(artifact, entries)
        return folder / entries[0][0] if artifact.format == "file" else folder

    def _download(self, artifact: Artifact, entries: list[_Entry]) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="everloop-artifact-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        for name, _, _ in entries:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(self._read_pieces(f"{artifact.uri}/files/{name}"))
        return folder

    def _read(self, uri: str) -> bytes:
        return b"".join(self._read_pieces(uri))

    def _read_pieces(self, uri: str) -> Iterator[bytes]:
        try:
            with self._fs.open(self._at(uri), "rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError:
            raise _Damage("is not there") from None
        except OSError as error:
            raise _Damage(f"cannot be read ({error.strerror or error})") from error

    def _at(self, uri: str) -> str:
        return f"{str(self._root).rstrip('/')}/{uri}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ImportError, ValueError) as error:  # fsspec: a missing driver, an unknown protocol
            reason = getattr(error, "strerror", None) or error
            raise SystemError_(
                f"the artifacts at {self.url} cannot be written: {reason}; nothing half is left"
            ) from error


def _files(path: Path) -> dict[str, Path]:
    """Return the files at `path` by their relative POSIX names, sorted; a link to a folder is refused."""
    if not path.is_dir():
        return {path.name: path}
    found = {}
    for place, folders, names in os.walk(path):
        for name in folders:
            if Path(place, name).is_symlink():
                raise UnserialisableError(f"{str(Path(place, name))!r} is a link to a folder: copy the folder instead")
        for name in names:
            file = Path(place, name)
            found[str(PurePosixPath(file.relative_to(path)))] = file
    return dict(sorted(found.items()))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _digest(format: str, data: bytes) -> str:
    return _hash([format.encode() + b"\0", data])


def _hash(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _sweep(folder: Path) -> None:
    """Remove what writers of this machine left behind when they were killed."""
    for file in folder.glob(f"{platform.node()}-*-*"):
        try:
            os.kill(int(file.name.rsplit("-", 2)[1]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            continue
