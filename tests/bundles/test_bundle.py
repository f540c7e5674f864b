from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

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
        with pytest.raises(BundleError):
            load(bundle, (key.public,))
    (bundle / name).write_bytes(content)
    load(bundle, (key.public,))


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "manifest.sig"])
def test_a_missing_file_is_named(bundle: Path, key: SigningKey, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load(bundle, (key.public,))


def test_a_file_that_was_slipped_in_is_named(bundle: Path, key: SigningKey) -> None:
    (bundle / "guards" / "second.onnx").write_bytes(b"mine")
    with pytest.raises(BundleError, match=r"holds guards/second\.onnx, which its manifest does not name"):
        load(bundle, (key.public,))


def test_a_link_is_no_file(bundle: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(FILES["model.onnx"])
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="plain files only"):
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


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "manifest.json", ""])
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
