"""Commands whose features or pictures are in an object store, against a real server: as on a disk, kills included."""

import dataclasses
import errno
import json
import random
import re
import signal
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

import click
import numpy as np
import pytest
from cli_samples import parse
from click.testing import CliRunner, Result
from dataset_samples import samples, write_csv, write_folder
from heads_samples import ROOT
from storage_samples import (
    BEGUN,
    PATIENCE_S,
    WORKER_ROWS,
    Command,
    Server,
    files,
    kill_at_random,
    same_as,
    start,
    start_worker,
)
from test_lease import ELSEWHERE

import headstart as hs
from headstart.core import cli
from headstart.core.cache.errors import ArgumentInvalid, DataNotFound
from headstart.core.cache.files import folder_bytes, read_regular, remove_folder, write_durably
from headstart.core.cache.lease import DEAD_AFTER_S, VARIABLE
from headstart.core.cache.objects import ObjectPath
from headstart.core.cache.places import stored
from headstart.core.extract.pictures.files import content, fingerprint

NETWORK = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32", "--engine", "eager")
DIGITS = ("extract", *NETWORK, "--batch-size", "8", "--dataset", "digits", "--shard-rows", "64")


def run(features: Path, here: Path, *words: object, code: int = 0) -> Result:
    """Run a command in this process, and expect its exit code."""
    folders = ("--features-dir", features, "--runs-dir", here / "runs", "--data-dir", here / "data", "--device", "cpu")
    result = CliRunner().invoke(cli.cli, [str(word) for word in (*words, *folders)])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert isinstance(result.exception, SystemExit | click.exceptions.Exit | None)
    return result


def line(features: Path, here: Path, *words: object) -> str:
    """Run a command that ends in a known error; its one line."""
    result = run(features, here, *words, code=1)
    (found,) = [text for text in result.stderr.splitlines() if text.startswith("headstart: ")]
    return found


# ---- the operations that differ


def test_a_write_is_one_request_and_nothing_else_is_ever_there(bucket: Path, s3: Server) -> None:
    before = len(s3.requests())
    write_durably(bucket / "set" / "x", b"one")
    assert [text.split("?")[0] for text in s3.requests()[before:]] == [f"PUT /{bucket.name}/set/x"]
    assert read_regular(bucket / "set" / "x", 3) == b"one"
    with pytest.raises(ValueError, match="has more than 2 bytes"):
        read_regular(bucket / "set" / "x", 2)


def test_a_folder_is_weighed_and_removed(bucket: Path) -> None:
    for name in ("set/a", "set/b/c", "set-2/d"):
        write_durably(bucket / name, name.encode())
    assert folder_bytes(bucket / "set") == len("set/a")
    remove_folder(bucket / "set")
    assert [path.name for path in bucket.iterdir()] == ["set-2"]


# ---- kills, and several writers


WORDS = (*DIGITS, "--split", "train", "--limit", 200, "--shard-rows", 20, "--device", "cpu", "--json")


@pytest.mark.slow
def test_a_command_that_is_killed_and_run_again_ends_equal_to_the_local_one(
    bucket: Path, s3: Server, tmp_path: Path
) -> None:
    run(tmp_path / "features", tmp_path, *WORDS)
    killed = start(tmp_path / "killed", s3, *WORDS, "--features-dir", bucket / "f").says(BEGUN)
    wait_for_shards(bucket / "f", 2, killed)
    assert killed.kill()
    again = start(tmp_path / "again", s3, *WORDS, "--features-dir", bucket / "f").wait()
    assert 0 < json.loads(again.results.splitlines()[-1])[0]["computed"] <= 160
    same_as(tmp_path / "features", bucket / "f")


@pytest.fixture(scope="module")
def local(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted worker makes on a disk."""
    here = tmp_path_factory.mktemp("local")
    start_worker(here / "run", s3_server, here / "features").wait()
    return here / "features"


def test_a_run_that_is_killed_at_random_moments_ends_equal_to_the_local_one(
    bucket: Path, s3: Server, local: Path, tmp_path: Path
) -> None:
    hits, last = kill_at_random(tmp_path, s3, bucket / "f", random.Random(5), 3)
    assert hits > 0
    assert "waiting for it" not in last.said or sys.platform != "linux"  # the killed ones were processes of this machine
    same_as(local, bucket / "f")


def test_of_two_writers_one_waits_and_finds_all_done(bucket: Path, s3: Server, local: Path, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    first = start_worker(tmp_path / "first", s3, bucket / "f", "--hold", hold).says(BEGUN)
    second = start_worker(tmp_path / "second", s3, bucket / "f").says("another process is writing s3://")
    hold.touch()
    computed = [json.loads(command.wait().results.splitlines()[-1])["computed"] for command in (first, second)]
    assert computed == [WORKER_ROWS, 0]
    same_as(local, bucket / "f")


def test_an_owner_that_was_paused_for_too_long_ends_and_harms_nobody(
    bucket: Path, s3: Server, local: Path, tmp_path: Path
) -> None:
    paused = start_worker(tmp_path / "paused", s3, bucket / "f", "--delay", 0.05, HEADSTART_LEASE_S="1.5")
    wait_for_shards(bucket / "f", 2, paused)
    paused.process.send_signal(signal.SIGSTOP)
    try:
        other = start_worker(tmp_path / "other", s3, bucket / "f").wait()
    finally:
        paused.process.send_signal(signal.SIGCONT)
    assert "another process is writing" in other.said
    paused.wait(1)
    assert "this process gave no sign for 1.5 s" in paused.said
    same_as(local, bucket / "f")
    assert "whole" in run(bucket / "f", tmp_path, "cache", "verify").stdout


def wait_for_shards(features: Path, count: int, command: Command) -> None:
    """Wait until so many are there, while the command runs."""
    deadline = time.monotonic() + PATIENCE_S
    while len([*features.glob("*/shard-*.h5")]) < count:
        assert command.process.poll() is None, command.said
        assert time.monotonic() < deadline, command.said


def test_a_run_waits_for_another_machine_and_takes_over_when_that_is_dead(bucket: Path, tmp_path: Path) -> None:
    words = (*DIGITS, "--split", "test", "--limit", 20)
    folder = Path(run(bucket / "f", tmp_path, *words, "--json", "--dry-run").stdout.splitlines()[-1])
    name = json.loads(str(folder))[0]["folder"].rpartition("/")[2]
    place: Any = stored(bucket / "f" / f".{name}.lock" / "00000001")
    place.write(ELSEWHERE.to_bytes())
    result = run(bucket / "f", tmp_path, *words)
    assert f"another process is writing {bucket}/f/{name}; waiting for it" in result.stderr
    assert "20 images in" in result.stdout


# ---- every command


@pytest.fixture(scope="module")
def kept(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A features directory with digits, which tests do not change."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        features = s3_server.bucket("kept") / "some" / "features"
        run(features, tmp_path_factory.mktemp("kept"), *DIGITS, "--limit", 160)
    return features


def test_features_are_found_again_and_extended(bucket: Path, s3: Server, tmp_path: Path) -> None:
    features = bucket / "f"
    run(features, tmp_path, *DIGITS, "--split", "test", "--limit", 100)
    dry = run(features, tmp_path, *DIGITS, "--split", "test", "--limit", 130, "--dry-run").stdout
    assert "64 rows there, 66 to compute" in dry or "100 rows there, 30 to compute" in dry
    assert "130 x 512" in run(features, tmp_path, *DIGITS, "--split", "test", "--limit", 130).stdout
    assert "already there" in run(features, tmp_path, *DIGITS, "--split", "test", "--limit", 130).stdout
    flipped = run(features, tmp_path, *DIGITS, "--split", "test", "--limit", 130, "--views", "flip").stdout
    assert "test, flip: 130 x 512" in flipped
    assert not [path for path in s3.requests() if ".tmp" in path]


def test_the_cache_commands_take_the_url(kept: Path, s3: Server, tmp_path: Path) -> None:
    listed = run(kept, tmp_path, "cache", "ls").stdout
    assert listed.count("complete") == 2
    name = next(word for word in listed.split() if word.startswith("digits-test"))
    assert f"{kept}/{name}" in run(kept, tmp_path, "cache", "show", name).stdout
    assert f"{name}: whole" in run(kept, tmp_path, "cache", "verify").stdout
    assert f"{name}: whole" in run(kept, tmp_path, "cache", "verify", f"{kept}/{name}").stdout
    run(kept, tmp_path, "cache", "export", name, tmp_path / "x.npy")
    assert np.load(tmp_path / "x.features.npy").shape == (160, 512)
    assert "nothing to remove" in run(kept, tmp_path, "cache", "gc", "--dry-run").stdout
    assert f"no such feature set (did you mean {name}" in line(kept, tmp_path, "cache", "rm", f"{name}x")
    assert "no such feature set" in line(kept, tmp_path, "cache", "rm", "s3://kept/other/set")


def test_a_head_is_trained_and_reported_from_a_store(
    kept: Path, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = run(kept, tmp_path, "train-head", "--head", "ridge").stdout
    assert "resnet18 on digits: ridge" in trained
    write_folder(tmp_path / "photos", samples(2, "x"))
    assert "0000.png" in run(kept, tmp_path, "predict", tmp_path / "photos").stdout
    monkeypatch.setenv("HEADSTART_FEATURES", str(kept))
    folders = ("--runs-dir", tmp_path / "runs", "--data-dir", tmp_path / "data")
    assert "ridge" in CliRunner().invoke(cli.cli, ["report", *map(str, folders)], catch_exceptions=False).stdout


def test_a_removed_set_is_gone_and_another_is_not(bucket: Path, tmp_path: Path) -> None:
    run(bucket / "f", tmp_path, *DIGITS, "--limit", 20)
    first, second = sorted(path.name for path in (bucket / "f").glob("digits-*"))
    assert "removed" in run(bucket / "f", tmp_path, "cache", "rm", f"{bucket}/f/{first}").stdout
    assert [path.name for path in (bucket / "f").glob("digits-*")] == [second]


def test_an_altered_object_is_found_and_made_anew(bucket: Path, s3: Server, tmp_path: Path) -> None:
    words = (*DIGITS, "--split", "test", "--limit", 100)
    run(bucket / "f", tmp_path, *words)
    before = files(bucket / "f")
    (shard,) = (bucket / "f").glob("*/shard-00001.h5")
    s3.put(str(shard).removeprefix("s3://"), before[shard.name][:-1] + bytes([before[shard.name][-1] ^ 1]))
    result = run(bucket / "f", tmp_path, "cache", "verify", code=1)
    assert f"headstart: {shard}: SHA-256 is" in result.stderr
    assert "damaged and will be made anew" in run(bucket / "f", tmp_path, *words).stderr
    assert files(bucket / "f") == before
    shard.unlink()
    assert (
        f"{shard}: missing, though manifest.json lists it" in run(bucket / "f", tmp_path, "cache", "verify", code=1).stderr
    )


def test_python_takes_the_url(kept: Path, s3: Server, tmp_path: Path) -> None:
    (folder,) = kept.glob("digits-test-*")
    found = hs.open(str(folder))
    assert found.X.shape == (160, 512)
    assert found.folders == (folder,)
    assert hs.open(found.folders[0]).X.shape == (160, 512)
    again = hs.extract(
        "digits",
        model="resnet18",
        split="test",
        weights="random:0",
        image_size=32,
        precision="fp32",
        limit=160,
        device="cpu",
        features_dir=str(kept),
    )
    assert again.folders == (folder,)
    with pytest.raises(ArgumentInvalid, match=r"data_dir s3://b/x: expected a folder or file of this machine"):
        hs.extract("digits", model="resnet18", data_dir="s3://b/x")


# ---- pictures


@pytest.fixture
def pets(bucket: Path, s3: Server, tmp_path: Path) -> Path:
    """Pictures of three classes in the store, one of which has one picture; and the same in a folder here."""
    write_folder(tmp_path / "pets", [*samples(9, "cat", "a dog ü"), *samples(1, "rare", seed=50)])
    for path in (tmp_path / "pets").rglob("*.png"):
        s3.put(f"{bucket.name}/pets/{path.relative_to(tmp_path / 'pets')}", path.read_bytes())
    s3.put(f"{bucket.name}/pets/cat/notes.txt", b"no picture")
    s3.put(f"{bucket.name}/pets/cat/.hidden.png", b"no picture")
    return bucket / "pets"


def test_pictures_in_a_store_give_the_features_of_those_on_a_disk(pets: Path, s3: Server, tmp_path: Path) -> None:
    for place, where in ((pets, "remote"), (tmp_path / "pets", "local")):
        result = run(tmp_path / where, tmp_path, "extract", *NETWORK, "--dataset", f"folder:{place}")
        assert "10 pictures of 3 classes" in result.stderr
    (one,), (other,) = ((tmp_path / where).glob("*/shard-00000.h5") for where in ("remote", "local"))
    assert one.read_bytes() == other.read_bytes()


def test_of_pictures_in_a_store_only_new_ones_are_read_and_computed(pets: Path, s3: Server, tmp_path: Path) -> None:
    words = ("extract", *NETWORK, "--dataset", f"folder:{pets}")
    run(tmp_path / "f", tmp_path, *words)
    before = len(s3.requests())
    assert "already there" in run(tmp_path / "f", tmp_path, *words).stdout
    assert not [text for text in s3.requests()[before:] if ".png" in text]
    (new,) = samples(1, "cat", seed=99)
    s3.put(f"{str(pets / 'cat' / 'new.png').removeprefix('s3://')}", new.content)
    (pets / "cat" / "0000.png").unlink()
    assert "1 added, 1 removed" in run(tmp_path / "f", tmp_path, "train-head", "--head", "ridge").stderr
    before = len(s3.requests())
    assert "10 pictures: 9 kept, 1 computed, 1 no longer there" in run(tmp_path / "f", tmp_path, *words).stdout
    assert {text.rpartition("/")[2] for text in s3.requests()[before:] if ".png" in text} == {"new.png"}
    assert "report.html" in run(tmp_path / "f", tmp_path, "report").stderr


def test_each_folder_in_a_store_may_be_a_class(pets: Path, s3: Server, tmp_path: Path) -> None:
    s3.put(f"{pets.parent.name}/pets/train/x.png", samples(1, "x", seed=77)[0].content)
    for words in (("--dataset", f"classes:{pets}"), ("--dataset", f"folder:{pets}", "--no-splits")):
        assert "11 pictures of 4 classes" in run(tmp_path / "f", tmp_path, "extract", *NETWORK, *words).stderr


@dataclasses.dataclass(frozen=True)
class Failing(ObjectPath):
    """An object that can't be had."""

    error: Exception = dataclasses.field(default_factory=OSError)

    def read(self, most: int) -> bytes:
        raise self.error


def test_a_network_that_fails_says_nothing_of_a_picture() -> None:
    """Else `--on-error skip` would leave out all pictures that come after it."""

    def failing(error: Exception) -> Any:
        return Failing("s3", PurePosixPath("b/x.png"), error=error)

    with pytest.raises(DataNotFound, match=r"s3://b/x\.png: the store can't be reached"):
        content(failing(OSError(errno.EHOSTUNREACH, "the store can't be reached", "s3://b/x.png")))
    assert fingerprint(failing(FileNotFoundError(errno.ENOENT, "no such object"))) == "unreadable: no such object"
    assert fingerprint(failing(ValueError("has more than 9 bytes"))) == "unreadable: has more than 9 bytes"


def test_a_list_names_pictures_in_a_store(pets: Path, s3: Server, tmp_path: Path) -> None:
    urls = [(str(path), "cat" if path.parent.name == "cat" else "other") for path in sorted(pets.glob("*/*.png"))]
    listed = write_csv(tmp_path / "own.csv", ("path", "label"), *(row for row in urls if "/.hidden" not in row[0]))
    words = ("extract", *NETWORK, "--dataset", f"list:{listed}")
    result = run(tmp_path / "f", tmp_path, *words)
    assert "10 pictures of 2 classes" in result.stderr
    assert f"ids are their paths below {pets}" in result.stderr
    assert "already there" in run(tmp_path / "f", tmp_path, *words).stdout
    write_csv(tmp_path / "own.csv", ("path", "label"), *urls[1:3], (f"{pets}/gone.png", "cat"))
    assert f"own.csv, line 4: {pets}/gone.png: no such file" in line(tmp_path / "f", tmp_path, *words)


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("s3://b/x.png", "y.png"), "y.png is a path, others are URLs; expected paths alone or URLs alone"),
        (("s3://b/x.png", "s3://c/x.png"), "pictures in 2 buckets, b, c; expected one"),
        (("s3://",), "line 2: s3://: names no bucket"),
        (("https://x/y.png",), "line 2: https://x/y.png is an address; download the pictures"),
    ],
)
def test_a_list_says_what_is_wrong_with_its_urls(tmp_path: Path, paths: tuple[str, ...], said: str) -> None:
    listed = write_csv(tmp_path / "own.csv", ("path",), *((path,) for path in paths))
    assert said in line(tmp_path / "f", tmp_path, "extract", *NETWORK, "--dataset", f"list:{listed}")


# ---- what can't be


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cache", "ls", "--features-dir", "gs://b/f"), "gs://b/f: gs:// is no store that is known here"),
        (("cache", "ls", "--features-dir", "s3:/b/f"), "expected two slashes"),
        (("cache", "ls", "--features-dir", "s3://never-made/f"), "there is no bucket s3://never-made; make it"),
        (("extract", *NETWORK, "--dataset", "digits", "--features-dir", "s3://never-made/f"), "there is no bucket"),
        (("cache", "ls", "--runs-dir", "s3://b/r"), "--runs-dir s3://b/r: expected a folder or file of this machine"),
        (("extract", "--data-dir", "s3://b/r"), "--data-dir s3://b/r: expected a folder or file of this machine"),
        (("report", "-o", "s3://b/r"), "--output s3://b/r: expected a folder or file of this machine"),
        (("train-head", "--predictions", "s3://b/r.csv"), "--predictions s3://b/r.csv: expected a folder or file"),
        (("cache", "export", "x", "s3://b/x.npy"), "PATH s3://b/x.npy: expected a folder or file of this machine"),
        (("extract", "--dataset", "list:s3://b/x.csv"), "list:s3://b/x.csv: expected a file of this machine"),
        (("extract", "--dataset", "folder:s3://never-made/x"), "there is no bucket s3://never-made"),
        (("extract", "--dataset", "s3://b/x"), r"pictures in a store are --dataset folder:s3://BUCKET/PREFIX"),
        (("predict", "s3://b/x.png"), "s3://b/x.png: expected a file, folder or pattern of this machine"),
    ],
)
def test_what_can_not_be_in_a_store_is_said_in_one_line(
    s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.cli, list(words))
    assert result.exit_code == 1, (result.stdout, result.stderr, result.exception)
    (found,) = [text for text in result.stderr.splitlines() if text.startswith("headstart: ")]
    assert said in found
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_not_there_is_called_so(bucket: Path, tmp_path: Path) -> None:
    assert f"--dataset folder:{bucket}/no: no such folder" in line(
        tmp_path / "f", tmp_path, "extract", *NETWORK, "--dataset", f"folder:{bucket}/no"
    )


DOCUMENT = (ROOT / "docs/storage.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", re.findall(r"^\$ (headstart .*)$", DOCUMENT, re.MULTILINE))
def test_a_command_of_the_document_parses(words: str) -> None:
    parse(words)


def test_the_document_has_the_defaults() -> None:
    assert DEAD_AFTER_S == 60.0
    assert "has not changed for a minute" in DOCUMENT
    assert VARIABLE in DOCUMENT
