"""Files are written once more as often as one likes, but not over somebody's changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.test_settings import SMALL

from everloop.errors import UsageError
from everloop.loop.observing import rendered, rendered_elastic, write_files
from everloop.settings import parse


def test_changed_files_are_kept(tmp_path: Path) -> None:
    settings, place = parse(SMALL), tmp_path / "observability"
    files = write_files(rendered(settings), place)
    assert {name: (place / name).read_text() for name in files} == rendered(settings)
    moved = parse(SMALL + "[serving]\nport = 9000\n")
    write_files(rendered(moved), place)  # a new port, and nobody has changed a file
    scrapes = place / "prometheus" / "prometheus.yml"
    assert "127.0.0.1:9000" in scrapes.read_text()
    scrapes.write_text("# mine\n")
    with pytest.raises(UsageError, match=r"prometheus.yml in .* was changed by somebody: --force"):
        write_files(rendered(settings), place)
    assert scrapes.read_text() == "# mine\n"
    write_files(rendered(settings), place, force=True)
    assert scrapes.read_text() == rendered(settings)["prometheus/prometheus.yml"]


def test_a_file_that_was_there_before_is_kept(tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "prometheus" / "rules.yml").write_text("groups: []\n")
    with pytest.raises(UsageError, match=r"rules\.yml"):
        write_files(rendered(parse(SMALL)), tmp_path)
    assert not (tmp_path / "grafana").exists()


def test_files_for_searching_are_written_beside(tmp_path: Path) -> None:
    settings = parse(SMALL + "[elastic]\nindex = 'ml'\n")
    files = rendered_elastic(settings, tmp_path / "logs", 30)
    assert set(files) == {
        "policy.json", "index-template.json", "saved-objects.ndjson", "filebeat.yml", "logstash.conf",
    }  # fmt: skip
    assert write_files(files, tmp_path / "elastic") == list(files)
    assert f"{tmp_path}/logs/*.log" in (tmp_path / "elastic" / "filebeat.yml").read_text()


@pytest.mark.parametrize("damaged", [b"{", b"[1]", b"\xff"])
def test_a_damaged_record_makes_every_other_file_somebodys(tmp_path: Path, damaged: bytes) -> None:
    settings = parse(SMALL)
    files = write_files(rendered(settings), tmp_path)
    (tmp_path / ".written.json").write_bytes(damaged)
    assert write_files(rendered(settings), tmp_path) == files
    (tmp_path / ".written.json").write_bytes(damaged)
    with pytest.raises(UsageError, match="was changed by somebody: --force"):
        write_files(rendered(parse(SMALL + "[serving]\nport = 9000\n")), tmp_path)
