from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.journal.disks import files_of_at_most

from everloop.bundles import SigningKey, trusted
from everloop.errors import BundleError


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first, again = SigningKey.create(tmp_path), SigningKey.create(tmp_path)
    assert first.public.id == again.public.id
    assert stat.S_IMODE((tmp_path / "signing.pem").stat().st_mode) == 0o600
    (key,) = trusted(tmp_path)
    assert key.verifies(first.sign(b"data"), b"data")
    assert not key.verifies(first.sign(b"data"), b"other")


def test_a_lost_public_key_is_made_again(tmp_path: Path) -> None:
    first = SigningKey.create(tmp_path)
    (tmp_path / "signing.pub").unlink()
    assert SigningKey.create(tmp_path).public.id == first.public.id
    assert [k.id for k in trusted(tmp_path / "signing.pub")] == [first.public.id]


def test_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    code = "from pathlib import Path; from everloop.bundles import SigningKey\n"
    code += f"print(SigningKey.create(Path({str(tmp_path)!r})).public.id)"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate()[0] for process in processes}) == 1


def test_several_keys_may_be_trusted(tmp_path: Path) -> None:
    ids = set()
    (tmp_path / "trusted").mkdir()
    for name in ("a", "b"):
        ids.add(SigningKey.create(tmp_path / name).public.id)
        (tmp_path / "trusted" / f"{name}.pub").write_bytes((tmp_path / name / "signing.pub").read_bytes())
    assert {k.id for k in trusted(tmp_path / "trusted")} == ids


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_damaged_key_is_named(tmp_path: Path, content: bytes) -> None:
    SigningKey.create(tmp_path)
    (tmp_path / "signing.pub").write_bytes(content)
    (tmp_path / "signing.pem").write_bytes(content)
    with pytest.raises(BundleError, match=r"the public key .*signing\.pub cannot be read"):
        trusted(tmp_path)
    with pytest.raises(BundleError, match=r"the signing key .*signing\.pem cannot be read"):
        SigningKey.load(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    public = X25519PrivateKey.generate().public_key()
    (tmp_path / "x.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(BundleError, match="is no Ed25519 key"):
        trusted(tmp_path)


def test_without_a_key_nothing_is_trusted(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no public key"):
        trusted(tmp_path)
    with pytest.raises(BundleError, match="cannot be read"):
        trusted(tmp_path / "none.pub")


def test_a_key_locked_by_a_password_is_named(tmp_path: Path) -> None:
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "signing.pem").write_bytes(locked)
    with pytest.raises(BundleError, match=r"the signing key .*signing\.pem cannot be read: Password"):
        SigningKey.load(tmp_path)


def test_a_private_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    private = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "signing.pem").write_bytes(private)
    with pytest.raises(BundleError, match="is no Ed25519 key: remove it, a new one is made"):
        SigningKey.load(tmp_path)


def test_a_folder_without_a_private_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"the signing key .*signing\.pem cannot be read: .*No such file"):
        SigningKey.load(tmp_path)


def test_a_key_that_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    with files_of_at_most(10), pytest.raises(BundleError, match=r"no signing key can be made in .*: File too large"):
        SigningKey.create(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="no signing key can be made in"):
        SigningKey.create(tmp_path / "file")


@pytest.mark.parametrize("signature", [b"", b"\0", b"\0" * 64, b"\0" * 65])
def test_any_other_bytes_are_no_signature(tmp_path: Path, signature: bytes) -> None:
    assert not SigningKey.create(tmp_path).public.verifies(signature, b"data")
