"""Ed25519 keys: one private key signs, a folder of public keys says whom a server trusts."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from everloop.errors import BundleError

__all__ = ["PublicKey", "SigningKey", "trusted"]

PRIVATE, PUBLIC = "signing.pem", "signing.pub"
UNREADABLE = (OSError, ValueError, TypeError, UnsupportedAlgorithm)
"""What cryptography raises for a file that holds no key; TypeError is one locked by a password."""


class PublicKey:
    """A key that signatures are checked against; `id` is the start of its SHA-256, `text` it in hexadecimal."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key, self.text = key, raw.hex()
        self.id = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def of_text(cls, text: str) -> PublicKey:
        """Return the key of a `text`."""
        return cls(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether the signature is this key's over these bytes."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """The private key of a project: it never leaves its folder, and only its owner reads it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def create(cls, folder: Path) -> SigningKey:
        """Return the key of a folder; a new one is made where there is none."""
        private, public = folder / PRIVATE, folder / PUBLIC
        try:
            if not private.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                made = Ed25519PrivateKey.generate()
                _place(private, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
            key = cls.load(folder)
            if not public.is_file():
                content = key._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                _place(public, content, 0o644)
        except OSError as error:
            raise BundleError(f"no signing key can be made in {folder}: {error.strerror}") from error
        return key

    @classmethod
    def load(cls, folder: Path) -> SigningKey:
        """Return the key of a folder that has one."""
        path = folder / PRIVATE
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except UNREADABLE as error:
            raise BundleError(f"the signing key {path} cannot be read: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BundleError(f"the signing key {path} is no Ed25519 key: remove it, a new one is made")
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """Return the detached signature of some bytes."""
        return self._key.sign(data)


def trusted(path: Path) -> tuple[PublicKey, ...]:
    """Return the public keys of a `.pub` file, or of all of them in a folder."""
    files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
    keys = []
    for file in files:
        try:
            key = load_pem_public_key(file.read_bytes())
        except UNREADABLE as error:
            raise BundleError(f"the public key {file} cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BundleError(f"the public key {file} is no Ed25519 key")
        keys.append(PublicKey(key))
    if not keys:
        raise BundleError(f"no public key in {path}: a bundle cannot be trusted without the key of who signed it")
    return tuple(keys)


def _place(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all, with its mode from the start; two processes at once keep the first one's."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
