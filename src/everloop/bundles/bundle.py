"""Write a bundle whole or not at all; load one only if every byte is the signed one."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from everloop.bundles.manifest import Manifest
from everloop.bundles.signing import PublicKey, SigningKey
from everloop.errors import BundleError

__all__ = ["Bundle", "load", "write"]

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"


class Signature(msgspec.Struct, frozen=True):
    """`manifest.sig`: the id of the key and its Ed25519 signature over the bytes of `manifest.json`, in base64."""

    key: str
    signature: str


class Bundle(msgspec.Struct, frozen=True):
    """A verified bundle: the manifest, and the very bytes that were hashed."""

    path: Path
    manifest: Manifest
    key: str
    files: dict[str, bytes]

    def read(self, name: str) -> bytes:
        """Return the verified bytes of one file."""
        if name not in self.files:
            raise BundleError(f"the bundle {self.path} holds no {name}")
        return self.files[name]


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes], key: SigningKey) -> Manifest:
    """Write a signed bundle into a new folder and return its manifest with the hashes of `files`."""
    if folder.exists():
        raise BundleError(f"the bundle folder {folder} exists already: a bundle is never changed")
    for name in files:
        _check_name(name, folder)
    manifest = msgspec.structs.replace(manifest, files={name: _sha256(files[name]) for name in sorted(files)})
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    signature = Signature(key.public.id, base64.b64encode(key.sign(content)).decode())
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    for left in folder.parent.glob(f".{folder.name}.*.partial"):  # by an attempt that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        for name, data in {**files, MANIFEST: content, SIGNATURE: msgspec.json.encode(signature)}.items():
            _write(partial / name, data)
        for inner in (partial, *(p for p in partial.rglob("*") if p.is_dir())):
            _sync(inner)
        os.rename(partial, folder)
        _sync(folder.parent)
    except OSError as error:
        raise BundleError(f"the bundle {folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def load(folder: Path, keys: Sequence[PublicKey]) -> Bundle:
    """Return the bundle of a folder; one changed, missing or added byte, or an unknown key, and it does not load."""
    content, signed = _read(folder, MANIFEST), _read(folder, SIGNATURE)
    key = _verify(folder, content, signed, keys)
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if manifest.format != 1:
        raise BundleError(f"{folder / MANIFEST} has format {manifest.format}, this Everloop reads 1")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    if stray := sorted(present - {MANIFEST, SIGNATURE, *manifest.files}):
        raise BundleError(f"the bundle {folder} holds {stray[0]!r}, which its manifest does not name")
    files = {}
    for name, expected in manifest.files.items():
        _check_name(name, folder)
        files[name] = _read(folder, name)
        if _sha256(files[name]) != expected:
            raise BundleError(f"{folder / name} is not the file that was signed: build or fetch the bundle again")
    return Bundle(folder, manifest, key, files)


def _verify(folder: Path, content: bytes, signed: bytes, keys: Sequence[PublicKey]) -> str:
    try:
        signature = msgspec.json.decode(signed, type=Signature)
        raw = base64.b64decode(signature.signature, validate=True)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError(f"{folder / SIGNATURE} cannot be read: {error}") from error
    key = next((k for k in keys if k.id == signature.key), None)
    if key is None:
        raise BundleError(f"the bundle {folder} is signed by key {signature.key}, which is not trusted here")
    if not key.verifies(raw, content):
        raise BundleError(f"the signature of {folder / MANIFEST} is wrong: build or fetch the bundle again")
    return key.id


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BundleError(f"{path} is no plain file, and a bundle holds nothing else")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"the bundle file {path} cannot be read: {error.strerror}") from error


def _check_name(name: str, folder: Path) -> None:
    path = PurePosixPath(name)
    plain = str(path) == name and path.parts and "\0" not in name
    if not plain or path.is_absolute() or ".." in path.parts or name in (MANIFEST, SIGNATURE):
        raise BundleError(f"the bundle {folder} names a file {name!r} that cannot lie in it")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
