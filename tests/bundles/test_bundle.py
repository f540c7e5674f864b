from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from tests.journal.disks import files_of_at_most

from everloop.bundles import Manifest, SigningKey, load, trusted, write
from everloop.errors import BundleError
from everloop.types import Column

MANIFEST = Manifest(
    name="toy", task="regression", inputs=(Column("a", "float64"),), outputs=(Column("prediction", "float64"),),
    run="run-1", data_version="data-1", created=1.0,
)  # fmt: skip
FILES = {"model.onnx": b"graph", "guards/first.onnx": b"guard", "schema.json": b"{}"}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "keys")


@pytest.fixture
def bundle(tmp_path: Path, key: SigningKey) -> Path:
    write(tmp_path / "bundle", MANIFEST, FILES, key)
    return tmp_path / "bundle"


def test_what_was_written_is_what_is_read(bundle: Path, key: SigningKey) -> None:
    found = load(bundle, (key.public,))
    assert {name: found.read(name) for name in FILES} == FILES
    assert found.key == key.public.id
    assert msgspec.structs.replace(found.manifest, files={}) == MANIFEST
    with pytest.raises(BundleError, match=r"holds no card\.html"):
        found.read("card.html")


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sig"])
def test_a_changed_byte_anywhere_and_it_does_not_load(bundle: Path, key: SigningKey, name: str) -> None:
    content = (bundle / name).read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x01
        (bundle / name).write_bytes(changed)
        with pytest.raises(BundleError) as refused:
            load(bundle, (key.public,))
        assert str(bundle) in str(refused.value)
        assert "\n" not in str(refused.value)
    (bundle / name).write_bytes(content)
    load(bundle, (key.public,))


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sig"])
def test_a_missing_file_is_named(bundle: Path, key: SigningKey, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load(bundle, (key.public,))


def test_a_file_that_was_slipped_in_is_named(bundle: Path, key: SigningKey) -> None:
    (bundle / "guards" / "second.onnx").write_bytes(b"mine")
    with pytest.raises(BundleError, match=r"holds 'guards/second\.onnx', which its manifest does not name"):
        load(bundle, (key.public,))


def test_a_link_is_no_file(bundle: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(FILES["model.onnx"])
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"model\.onnx is no plain file"):
        load(bundle, (key.public,))


def test_another_key_is_not_trusted(bundle: Path, tmp_path: Path) -> None:
    other = SigningKey.create(tmp_path / "others")
    with pytest.raises(BundleError, match="which is not trusted here"):
        load(bundle, (other.public,))


def test_a_forged_signature_under_a_known_keys_name(bundle: Path, key: SigningKey, tmp_path: Path) -> None:
    other = SigningKey.create(tmp_path / "others")
    write(tmp_path / "forged", msgspec.structs.replace(MANIFEST, run="run-2"), FILES, other)
    signature = json.loads((tmp_path / "forged" / "manifest.sig").read_text()) | {"key": key.public.id}
    (tmp_path / "forged" / "manifest.sig").write_text(json.dumps(signature))
    with pytest.raises(BundleError, match=r"the signature of .* is wrong"):
        load(tmp_path / "forged", (key.public,))
    assert load(bundle, (key.public,))


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "manifest.json", "", ".", "./a", "a//b", "a/", "a\0b"]
)
def test_a_file_cannot_lie_outside(tmp_path: Path, key: SigningKey, name: str) -> None:
    with pytest.raises(BundleError, match="cannot lie in it"):
        write(tmp_path / "bundle", MANIFEST, {name: b"x"}, key)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_never_changed(bundle: Path, key: SigningKey) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write(bundle, MANIFEST, {"model.onnx": b"other"}, key)
    assert (bundle / "model.onnx").read_bytes() == FILES["model.onnx"]


def test_a_killed_attempt_leaves_nothing_that_stays(tmp_path: Path, key: SigningKey) -> None:
    left = tmp_path / ".bundle.12345.partial"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    write(tmp_path / "bundle", MANIFEST, FILES, key)
    assert not left.exists()


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(BundleError, match="cannot be written"):
        write(tmp_path / "bundle", MANIFEST, {"model.onnx": b"x", "model.onnx/inner": b"y"}, key)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys"]


def test_a_newer_format_is_refused(tmp_path: Path, key: SigningKey) -> None:
    write(tmp_path / "bundle", msgspec.structs.replace(MANIFEST, format=2), FILES, key)
    with pytest.raises(BundleError, match="has format 2, this Everloop reads 1"):
        load(tmp_path / "bundle", (key.public,))


def test_a_copied_bundle_is_the_same_bundle(bundle: Path, key: SigningKey, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    assert load(tmp_path / "copy", (key.public,)).manifest == load(bundle, trusted(tmp_path / "keys")).manifest


def sign(folder: Path, key: SigningKey, changed: bytes) -> None:
    """Put another manifest into a bundle and sign it, as only the holder of the key can."""
    signature = base64.b64encode(key.sign(changed)).decode()
    (folder / "manifest.json").write_bytes(changed)
    (folder / "manifest.sig").write_bytes(json.dumps({"key": key.public.id, "signature": signature}).encode())


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sig"])
@pytest.mark.parametrize("cut", [0, 1, -1])
def test_a_file_that_was_cut_or_grew_does_not_load(bundle: Path, key: SigningKey, name: str, cut: int) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content + b"\0" if cut == 1 else content[:cut])
    with pytest.raises(BundleError):
        load(bundle, (key.public,))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "manifest.json", "a\0b"])
def test_even_a_signed_manifest_leads_nowhere_else(bundle: Path, key: SigningKey, name: str) -> None:
    (bundle.parent / "outside").write_bytes(b"x")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(b"x").hexdigest()
    sign(bundle, key, json.dumps(manifest).encode())
    with pytest.raises(BundleError, match="that cannot lie in it"):
        load(bundle, (key.public,))


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b"{}", b'{"name": "\xff"}', b'{"x":' + b"[" * 100_000], ids=range(6)
)
def test_a_manifest_or_signature_that_is_none(bundle: Path, key: SigningKey, content: bytes) -> None:
    sign(bundle, key, content)
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        load(bundle, (key.public,))
    (bundle / "manifest.sig").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.sig cannot be read"):
        load(bundle, (key.public,))


@pytest.mark.parametrize("signature", ["", "AAAA", "A" * 88, "no base64!"])
def test_a_signature_that_is_none(bundle: Path, key: SigningKey, signature: str) -> None:
    (bundle / "manifest.sig").write_text(json.dumps({"key": key.public.id, "signature": signature}))
    with pytest.raises(BundleError, match=r"manifest\.(json is wrong: build or fetch|sig cannot be read)"):
        load(bundle, (key.public,))


def test_without_a_trusted_key_nothing_loads(bundle: Path) -> None:
    with pytest.raises(BundleError, match="which is not trusted here"):
        load(bundle, ())


def test_a_folder_that_is_not_there(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(BundleError, match=r"the bundle file .*/none/manifest\.json cannot be read: No such file"):
        load(tmp_path / "none", (key.public,))


def test_a_folder_behind_a_link_is_refused(bundle: Path, key: SigningKey, tmp_path: Path) -> None:
    shutil.move(bundle / "guards", tmp_path / "guards")
    (bundle / "guards").symlink_to(tmp_path / "guards")
    with pytest.raises(BundleError, match="holds 'guards', which its manifest does not name"):
        load(bundle, (key.public,))


def test_a_pipe_in_place_of_a_file_is_not_waited_for(bundle: Path, key: SigningKey) -> None:
    for name in ("model.onnx", "manifest.json"):
        (bundle / name).unlink()
        os.mkfifo(bundle / name)
        with pytest.raises(BundleError, match="is no plain file"):
            load(bundle, (key.public,))


def test_a_name_that_is_no_text_is_told_as_text(bundle: Path, key: SigningKey) -> None:
    (bundle / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(BundleError) as refused:
        load(bundle, (key.public,))
    str(refused.value).encode()


@pytest.mark.parametrize("limit", [0, 10, 300])
def test_a_full_disk_leaves_nothing(tmp_path: Path, key: SigningKey, limit: int) -> None:
    with files_of_at_most(limit), pytest.raises(BundleError, match="cannot be written: File too large"):
        write(tmp_path / "bundle", MANIFEST, {"model.onnx": b"x" * 500}, key)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys"]
    write(tmp_path / "bundle", MANIFEST, {"model.onnx": b"x" * 500}, key)
