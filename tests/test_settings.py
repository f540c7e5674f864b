"""everloop.toml: five lines are enough, a wrong key gets its line and the close match."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.projects import write_project

from everloop.errors import SettingsError
from everloop.settings import Source, load, parse, place, seconds, size

SMALL = """\
[project]
name = "rides"
[data]
target = "cnt"
time = "timestamp"
[training]
model = "rides.model:model"
"""


def test_five_values_are_a_working_project() -> None:
    settings = parse(SMALL)
    assert settings.project.name == "rides"
    assert settings.serving.host == "127.0.0.1"
    assert settings.gates == {"beats_champion": True}


@pytest.mark.parametrize(
    ("extra", "line", "words"),
    [
        ("[deployment]\nstrategy = 'canary'\nstiky_by = 'x'\n", 10, "did you mean 'sticky_by'"),
        ("[triggers]\nconcept_drift = { coldown = '3d' }\n", 9, "did you mean 'cooldown'"),
        ("[deplyment]\n", 8, "did you mean 'deployment'"),
        ("[deployment]\nalpha = 'much'\n", 9, "expected `float`, got `str`"),
        ("[deployment]\nstrategy = 'hope'\n", 9, "invalid enum value 'hope'"),
        ("[deployment]\nalpha = 0.9\n", 9, "outside"),
        ("[deployment]\nlabels = 'affected'\n", 9, "needs strategy = 'ab' or 'bandit' and sticky_by"),
        ("[deployment]\nstrategy = 'ab'\nlabels = 'affected'\n", 10, "by key"),
        ("[deployment]\nmax_latency_ratio = 0.5\n", 9, "outside"),
        ("[tracking]\nmlflow = 'here'\n", 9, "'here': write 'local', the URL of a tracking server, or false"),
        ("[tracking]\nmlflow = true\n", 9, "or false"),
        ("[elastic]\nurl = 'search'\n", 9, "'search': write the URL of a server"),
        ("[elastic]\nurl = 'http://two words'\n", 9, "'http://two words': write the URL of a server"),
        ("[events]\ntoken = 's3cret!'\n", 9, "the value: write the name of an environment variable, never the secret"),
        ("[deployment]\nstrategy = 'ab'\nsplit = 0.0\n", 10, "0.0 lies outside 0.001 to 0.999"),
        ("[serving.features]\nurl = 'store'\nfeatures = ['a:b']\nkeys = ['k']\n", 8, "url: write that of Feast's"),
        (
            "[serving.features]\nurl = 'http://s'\nfeatures = ['a']\nkeys = ['k']\n",
            8,
            "features: write each as 'view:feature'",
        ),
        ("[serving.features]\nurl = 'http://s'\nfeatures = ['a:b']\nkeys = []\n", 8, "needs features, which are"),
        ("[serving.features]\nurl = 'http://s:port'\nfeatures = ['a:b']\nkeys = ['k']\n", 8, "url: write that of"),
        ("[serving.features]\nurl = 'http://two words'\nfeatures = ['a:b']\nkeys = ['k']\n", 8, "url: write that"),
        ("[serving.features]\nurl = 'http://s'\nfeatures = ['a:b', 'c:b']\nkeys = ['k']\n", 8, "two are called 'b'"),
        ("[elastic]\napi_key = 'not-a-name='\n", 9, "never the key"),
        ("[data.process]\nbins = { age = [] }\n", 9, "age: write the edges of its bins, each above the one before"),
        ("[data.process]\nbins = { age = [30, 18] }\n", 9, "age: write the edges of its bins"),
        ("[data.process]\nprefix = { zip = -3 }\n", 9, "zip: -3 is no number of characters that stay"),
        ("[training.augment]\ncopies = 2\n", 9, "nothing changes them: say by what"),
        ("[training.augment]\nflip = 0.5\n", 8, "copies: say how many"),
        ("[training.augment]\ncopies = 1\nflip = 2\n", 10, "2.0 lies outside 0.0 to 1.0"),
        ("[training.augment]\ncopies = 1\nnoise = -1\n", 10, "-1.0 lies outside 0.0 to 100.0"),
        ("[elastic]\nindex = 'Ever'\n", 9, "small letters"),
        ("[replay]\nlabel_delay = 'a day'\n", 9, "no duration"),
        ("[triggers.concept_drift]\ncooldown = '3 moons'\n", 9, "no duration"),
        ("[data.columns.photo]\nkind = 'image'\nsiez = [2, 2]\n", 10, "did you mean 'size'"),
        ("[data.columns.photo]\nkind = 'image'\nsize = [2, 5000]\n", 8, "1 to 4096 pixels a side"),
        (
            "runtime = 'native'\n[serving]\nnative = []\n[data.columns.photo]\nkind = 'image'\n",
            8,
            "no images and videos",
        ),
        ("[data.columns.clip]\nkind = 'video'\nframes = 0\n", 8, "1 to 1000 frames"),
        ("[data.columns.cnt]\nkind = 'image'\n", 8, "the target and the time are no images"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_its_line(extra: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(SMALL + extra)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match="missing required field `target`"):
        parse("[project]\nname='a'\n[data]\ntime='t'\n[training]\nmodel='a:b'\n")


def test_broken_toml_and_a_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        parse("[project\n")
    with pytest.raises(SettingsError, match="not a project"):
        load(tmp_path)


def test_durations() -> None:
    assert [seconds(t) for t in ("90s", "1.5h", "3d", "2w")] == [90, 5400, 259200, 1209600]


@pytest.mark.parametrize(("written", "cooldown"), [("true", "14d"), ("false", None), ('{ cooldown = "3d" }', "3d")])
def test_a_trigger_is_on_off_or_set(written: str, cooldown: str | None) -> None:
    drift = parse(f"{SMALL}\n[triggers]\nconcept_drift = {written}\n").triggers.drift
    assert (drift.cooldown if drift else None) == cooldown


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[training]\nmodel = 'm:f'\nwindow = 'newest'\n", "write 'auto', 'all', a number of rows or a duration"),
        ("[deployment]\nsticky_by = 'x-user'\n", "write 'header:NAME' or 'column:NAME'"),
        ("[deployment]\nsteps = []\n", "must hold one share at least"),
        ("[serving]\nmax_body = '16 megs'\n", "is no size"),
    ],
)
def test_a_value_of_no_meaning_is_told_with_how_to_write_it(extra: str, words: str) -> None:
    text = SMALL.replace('[training]\nmodel = "rides.model:model"\n', "") if "[training]" in extra else SMALL
    with pytest.raises(SettingsError, match=words):
        parse(text + extra)


def test_sizes_and_places() -> None:
    assert [size(text) for text in ("500B", "1.5kB", "16MB", "2GB")] == [500, 1500, 16_000_000, 2_000_000_000]
    assert place(Path("/projects/toy"), ".everloop/keys") == Path("/projects/toy/.everloop/keys")
    assert place(Path("/projects/toy"), "file:///var/keys") == Path("/var/keys")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[deployment]\nstrategy = 'hope'\n", "write 'canary' or 'shadow' or"),
        ("[deployment]\nslices = 'region'\n", "write 'auto' or a list"),
        ("[triggers]\ncode = 'yes'\n", "write true, false or a table of its settings"),
        ("[triggers]\nignore = [1]\n", "everloop.toml:9: .triggers.ignore. expected `str`"),
        ("[rollout]\nsteps = [0.1]\n", "unknown key 'rollout': the tables are project, data"),
        ("[triggers]\nschedule = true\n", "needs cron"),
        ("[triggers]\nschedule = { every = '0s' }\n", "'0s' must last longer than nothing"),
        ("[triggers]\nconcept_drift = { cooldown = '' }\n", "'' is no duration"),
        ("[triggers]\nstorage = { debounce = '' }\n", "'' is no duration"),
        ("[triggers]\nconcept_drift = { budget = 0 }\n", "0 lies outside 1 to"),
        ("[monitoring]\nblock = '0d'\n", "must last longer than nothing"),
        ("[storage]\nseal = '0s'\n", "must last longer than nothing"),
        ("[deployment]\nsteps = [0.5, 0.1]\n", "above the one before"),
        ("[deployment]\nsteps = [0.0]\n", "each above 0"),
        ("[deployment]\nmax_days = inf\n", "inf lies outside 0.0 to 3650.0"),
        ("[deployment]\nminimum_labels = -1\n", "-1 lies outside 0 to"),
        ("[events]\nport = 70000\n", "70000 lies outside 0 to 65535"),
        ("[serving]\ngrpc_port = -1\n", "-1 lies outside 0 to 65535"),
        ("[serving]\nworkers = 0\n", "0 lies outside 1 to"),
    ],
)
def test_what_no_process_could_run_with_is_refused_when_it_is_read(extra: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse(SMALL + extra)


def test_a_schedule_is_off_like_the_others() -> None:
    assert parse(SMALL + "[triggers]\nschedule = false\n").triggers.of("schedule") is None
    assert parse(SMALL + "[triggers]\nschedule = { cron = '0 3 * * *' }\n").triggers.on == ("schedule", "concept_drift")


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "everloop.toml").write_bytes(SMALL.encode() + b"# caf\xe9\n")
    with pytest.raises(SettingsError, match=r"not UTF-8 at byte \d+: save it as UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize(("table", "key"), [("data", "chunk_rows"), ("training", "max_rows")])
def test_a_bound_of_rows_is_none_or_more(tmp_path: Path, table: str, key: str) -> None:
    toml = write_project(tmp_path / "project") / "everloop.toml"
    toml.write_text(toml.read_text().replace(f"[{table}]\n", f"[{table}]\n{key} = -1\n"))
    with pytest.raises(SettingsError, match=rf"\[{table}.{key}\] -1 lies outside 0 to"):
        load(toml.parent)


@pytest.mark.parametrize(
    ("keys", "line", "words"),
    [
        ("url = 'ftp://host/a'", 9, "[data.sources.shop] url begins with none of"),
        ("url = 'postgresql://me:geheim@host/shop'\ntable = 'a'\ncursor = ['id']", 9, "holds a secret: write the name"),
        ("url = 'postgresql://me@host/shop'\ntable = 'a'", 8, "cursor is needed"),
        ("url = 'sqlite:///a.db'\ncursor = ['id']", 8, "table or query: one of both is needed"),
        ("url = 'https://host/a'\ncursor = ['id']\npaging = 'pages'", 11, "'pages': write 'link', 'next:PATH'"),
        ("url = 'https://host/a?api_key=geheim'\ncursor = ['id']", 9, "holds a secret"),
        ("url = 'https://host/a'\ncursor = ['id']\nheaders = { Authorization = 'geheim' }", 11, "holds a secret"),
        ("url = 'kafka://host:9092'", 9, "names no topic: write kafka://HOST:PORT/TOPIC"),
        ("url = 'kafka://host:9092/a'\nquery = 'b'", 10, "query is nothing that kafka takes"),
        ("url = 'kafka://host/a'\noptions = { 'sasl.password' = 'geheim' }", 10, "holds a secret"),
        ("url = 'mqtt://host/a'\nwait = 'long'", 10, "no duration"),
        ("url = 'a/*.csv'\nlimit = 0", 10, "limit 0 is less than 1"),
        ("url = 'a/*.csv'\nevry = '1h'", 10, "did you mean 'every'"),
    ],
)
def test_a_source_that_cannot_be_is_told_without_its_secret(keys: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(f"{SMALL}[data.sources.shop]\n{keys}\n")
    assert words in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("inbox/*.csv", "files"), ("s3://bucket/a/*.parquet", "files"), ("https://host/rides.csv?v=1", "files"),
        ("postgresql://me:$PASSWORD@host/shop", "sql"), ("mysql+pymysql://host/shop", "sql"),
        ("https://host/v1/rides", "rest"), ("kafka://a:1,b:2/topic", "kafka"), ("mqtts://host/a/+/#", "mqtt"),
    ],
)  # fmt: skip
def test_a_url_says_what_a_source_is(url: str, kind: str) -> None:
    assert Source(url=url).kind == kind
