from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from everloop.errors import SystemError_
from everloop.pipelines import Artifact, ArtifactStore
from everloop.pipelines.formats import UnserialisableError


def stored_files(artifacts: ArtifactStore) -> list[Path]:
    return sorted(path for path in Path(artifacts.url).rglob("*") if path.is_file())


@pytest.fixture(params=["local", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    place = "artifacts" if request.param == "local" else f"memory://{tmp_path.name}"
    return ArtifactStore(place, tmp_path)


def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "guards").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph" * 500_000)
    (folder / "guards" / "outlier.onnx").write_bytes(b"guard")
    return folder


def test_a_value_comes_back(anywhere: ArtifactStore) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    artifact = anywhere.put(frame)
    assert artifact.uri == f"{artifact.id[:2]}/{artifact.id}.parquet"
    pd.testing.assert_frame_equal(anywhere.get(artifact), frame)
    assert anywhere.holds(artifact)


def test_a_file_keeps_its_name(anywhere: ArtifactStore, tmp_path: Path) -> None:
    artifact = anywhere.put(model_folder(tmp_path) / "model.onnx")
    path = anywhere.get(artifact)
    assert (path.name, path.read_bytes()) == ("model.onnx", b"graph" * 500_000)
    assert (artifact.format, artifact.size) == ("file", 2_500_000)


def test_a_folder_comes_back_whole(anywhere: ArtifactStore, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    artifact = anywhere.put(folder)
    path = anywhere.get(artifact)
    assert sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()) == [
        "guards/outlier.onnx",
        "model.onnx",
    ]
    assert (path / "guards" / "outlier.onnx").read_bytes() == b"guard"
    assert (artifact.format, artifact.size) == ("folder", 2_500_005)


def test_a_folder_without_files_comes_back(artifacts: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert artifacts.get(artifacts.put(tmp_path / "empty")).is_dir()


def test_the_same_content_is_stored_once(artifacts: ArtifactStore, tmp_path: Path) -> None:
    first = [artifacts.put({"a": 1}), artifacts.put(model_folder(tmp_path))]
    before = [(path, path.stat().st_ino) for path in stored_files(artifacts)]
    assert [artifacts.put({"a": 1}), artifacts.put(tmp_path / "model")] == first
    assert [(path, path.stat().st_ino) for path in stored_files(artifacts)] == before


def test_the_same_bytes_in_another_format_are_another_artifact(artifacts: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(b"1")
    stored = [artifacts.put(1), artifacts.put(b"1"), artifacts.put(tmp_path / "one.json")]
    assert len({artifact.id for artifact in stored}) == 3
    assert artifacts.get(stored[0]) == 1
    assert artifacts.get(stored[1]) == b"1"


def test_json_is_typed_by_the_annotation(artifacts: ArtifactStore) -> None:
    artifact = Artifact("0" * 64, "json", "a/b.json", 3)
    stored = artifacts.put(artifact, Artifact)
    assert artifacts.get(stored, Artifact) == artifact
    assert artifacts.get(stored) == msgspec.to_builtins(artifact)


@pytest.mark.parametrize("content", ["value", "file"])
def test_a_changed_byte_is_seen(content: str, artifacts: ArtifactStore, tmp_path: Path) -> None:
    artifact = artifacts.put({"a": 1} if content == "value" else model_folder(tmp_path))
    for path in stored_files(artifacts):
        original = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        assert not artifacts.holds(artifact)
        with pytest.raises(SystemError_, match=r"is damaged .* run its pipeline again"):
            artifacts.get(artifact)
        path.write_bytes(original)
    assert artifacts.holds(artifact)


def test_a_lost_or_damaged_artifact_is_made_whole_by_the_next_put(artifacts: ArtifactStore, tmp_path: Path) -> None:
    artifact = artifacts.put(model_folder(tmp_path))
    lost, damaged = (path for path in stored_files(artifacts) if path.suffix == ".onnx")
    lost.unlink()
    damaged.chmod(0o644)
    damaged.write_bytes(b"")
    with pytest.raises(SystemError_, match=r"is damaged|is not there"):
        artifacts.get(artifact)
    assert artifacts.put(tmp_path / "model") == artifact
    assert artifacts.holds(artifact)


def test_what_a_step_gets_is_read_only(artifacts: ArtifactStore, tmp_path: Path) -> None:
    path = artifacts.get(artifacts.put(model_folder(tmp_path) / "model.onnx"))
    assert path.stat().st_mode & 0o222 == 0


def test_a_path_that_is_not_there_is_refused(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(UnserialisableError, match=r"the path '.*/nowhere' does not exist"):
        artifacts.put(tmp_path / "nowhere")


def test_a_link_to_a_folder_is_refused(artifacts: ArtifactStore, tmp_path: Path) -> None:
    (model_folder(tmp_path) / "link").symlink_to(tmp_path)
    with pytest.raises(UnserialisableError, match=r"'.*/model/link' is a link to a folder: copy the folder instead"):
        artifacts.put(tmp_path / "model")


FULL = """
import resource, signal, sys
from pathlib import Path
from everloop.errors import SystemError_
from everloop.pipelines import ArtifactStore
store = ArtifactStore("artifacts", Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put(b"x" * 1_000_000)
except SystemError_ as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_leaves_nothing_half(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write fails half-way with an OSError."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be written: File too large; nothing half is left" in done.stdout
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemError_, match=r"the artifacts at .*/file/artifacts cannot be written: Not a directory"):
        ArtifactStore("file/artifacts", tmp_path)
    with pytest.raises(SystemError_, match="nowhere://bucket cannot be written: Protocol not known"):
        ArtifactStore("nowhere://bucket")


def test_a_killed_writer_s_half_file_is_swept_at_the_next_opening(artifacts: ArtifactStore, tmp_path: Path) -> None:
    script = (
        "import os, platform, sys; from pathlib import Path; "
        "Path(sys.argv[1], f'{platform.node()}-{os.getpid()}-00').write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    artifacts.put(1)
    subprocess.run([sys.executable, "-c", script, f"{artifacts.url}/tmp"], check=False)
    mine = Path(artifacts.url, "tmp", f"{os.uname().nodename}-{os.getpid()}-00")
    mine.touch()
    assert len(list(mine.parent.iterdir())) == 2
    ArtifactStore("artifacts", tmp_path)
    assert list(mine.parent.iterdir()) == [mine]
