"""A fault at every system call of every save path, and every kind of flipped or missing byte: old, new or refused.

Run as a script this file is the process whose children are killed: see `main`.
"""

import contextlib
import dataclasses
import errno
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import heads_samples
import numpy as np
import pytest
import torch
from cache_samples import FEATURE_DIM, make_key, make_provenance, make_shards, never_wait, write_set, write_shards_only

from headstart.core.cache.errors import FeaturesNotFound, HeadstartError
from headstart.core.cache.files import sha256
from headstart.core.cache.manifest import NAME, ShardRecord, read_manifest
from headstart.core.cache.shard import Shard, decode_shard, encode_shard
from headstart.core.cache.store import FeatureStore
from headstart.core.cache.writer import SetWriter
from headstart.core.heads import checkpoint, runs

TESTS = Path(__file__).resolve().parents[1]
CALLS = ("mkdir", "open", "write", "fsync", "replace", "close", "unlink")
"""The system calls of a durable write."""
KILLED = 9
LEAST_TRIALS = 24
"""For each save path and fault, with and without an old file: four paths and three faults give the gate's 288."""

PART = 3
"""Every third system call is tried where not all are asked for."""

Read = Callable[[Path], object]
Share = Callable[[int, int], int]


class Faults:
    """Stands in for `CALLS`: lets `survive` of them through, then `strike`s at the next, or at all from there on.

    A write takes half of what it is given, as a nearly full disk may, so that a file takes several calls.
    """

    def __init__(self, survive: int, strike: Callable[[], None], *, for_good: bool = False) -> None:
        self.survive, self.strike, self.for_good = survive, strike, for_good
        self.names: list[str] = []

    @property
    def struck(self) -> bool:
        """Whether the fault came before the work was done."""
        return len(self.names) > self.survive

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in the place of the real calls."""
        patch.setattr(os, "write", _halved(os.write))
        for name in CALLS:
            patch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.names.append(name)
            number = len(self.names) - 1
            broken = self.for_good and number > self.survive and name in ("write", "fsync", "close")
            if number != self.survive and not broken:
                return real(*args, **options)
            if name == "close":  # Linux has closed the descriptor even where close reports an error
                real(*args, **options)
            return self.strike()

        return call


def _halved(write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
    return lambda descriptor, data: write(descriptor, data[: max(512, len(data) // 2)])


def _raising(code: int) -> Callable[[], None]:
    def strike() -> None:
        raise OSError(code, os.strerror(code))

    return strike


# ---- the save paths


@dataclasses.dataclass(frozen=True)
class SavePath:
    """One thing that is saved below a folder: what lies there before, the saving, its file, and who reads it how."""

    prepare: Callable[[Path, bool], None]
    save: Callable[[Path], object]
    final: Callable[[Path], Path]
    readers: tuple[Read, ...]


def shards_of(seed: int) -> list[Shard]:
    """Three shards of random rows, others for each seed."""
    return make_shards(np.random.default_rng(seed), skipped=[6])


def _store(root: Path) -> FeatureStore:
    return FeatureStore(root / "features")


def _set_folder(root: Path) -> Path:
    return _store(root).folder(make_key(), "train")


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[SetWriter]:
    with _store(root).writing(make_key(), "train", never_wait) as writer:
        yield writer


def _loaded(root: Path) -> object:
    features = _store(root).open(make_key(), "train")
    if features is None:
        raise FeaturesNotFound("no manifest")
    rows = features.load()
    return rows.features.tobytes(), rows.labels.tobytes(), rows.ids.tobytes()


def _prepare_shard(root: Path, old: bool) -> None:
    if old:
        write_set(_store(root), shards_of(1))


def _save_shard(root: Path) -> None:
    with _writing(root) as writer:
        writer.put(shards_of(2)[1], 1, None, 0.5)


def _shard(root: Path) -> Path:
    return _set_folder(root) / "shard-00001.h5"


def _read_shard(root: Path) -> object:
    return encode_shard(decode_shard(_shard(root).read_bytes(), "there"))


def _prepare_manifest(root: Path, old: bool) -> None:
    """The shards of a set, of which an old manifest lists the first two only."""
    write_shards_only(_store(root), shards_of(1))
    if old:
        write_set(_store(root), shards_of(1)[:2])


def _save_manifest(root: Path) -> None:
    with _writing(root) as writer:
        writer.commit(
            [_record_of(path) for path in sorted(writer.folder.glob("*.h5"))], FEATURE_DIM, "float32", make_provenance()
        )


def _record_of(path: Path) -> ShardRecord:
    """What a manifest says of a shard; made here, `present` would ask a child, whose pipes are no save path."""
    content = path.read_bytes()
    shard = decode_shard(content, str(path))
    return ShardRecord(
        path.name, shard.start, shard.stop, len(shard.rows), sha256(content), shard.inputs, None, 0.5, shard.skipped
    )


def _manifest(root: Path) -> Path:
    return _set_folder(root) / NAME


def _head(root: Path) -> Path:
    return root / "runs" / "first" / checkpoint.NAME


def _head_of(seed: int) -> checkpoint.Checkpoint:
    head = heads_samples.axis_head()
    head.load_state_dict({**head.state_dict(), "mean": torch.full((heads_samples.DIM,), float(seed))})
    return heads_samples.make_checkpoint(head)


def _prepare_head(root: Path, old: bool) -> None:
    if old:
        checkpoint.save(_head_of(1), _head(root))


def _run(root: Path) -> Path:
    return root / "runs" / "first" / runs.NAME


def _write_run(root: Path, seed: int) -> Path:
    return runs.RunStore(root / "runs").write(heads_samples.make_run(name="first", elapsed_s=float(seed)))


def _prepare_run(root: Path, old: bool) -> None:
    if old:
        _write_run(root, 1)


def contents_of_head(found: checkpoint.Checkpoint) -> object:
    """All that a head holds, as values that can be compared."""
    head = found.head
    tensors = {name: (str(value.dtype), value.numpy().tobytes()) for name, value in head.state_dict().items()}
    facts = (head.kind, head.config, head.dim, head.rows, found.classes, found.key, found.weights_from)
    return tensors, facts


PATHS = {
    "shard": SavePath(_prepare_shard, _save_shard, _shard, (_read_shard, _loaded)),
    "manifest": SavePath(
        _prepare_manifest, _save_manifest, _manifest, (lambda root: read_manifest(_set_folder(root)), _loaded)
    ),
    "head": SavePath(
        _prepare_head,
        lambda root: checkpoint.save(_head_of(2), _head(root)),
        _head,
        (lambda root: contents_of_head(checkpoint.load(_head(root))),),
    ),
    "run record": SavePath(_prepare_run, lambda root: _write_run(root, 2), _run, (lambda root: runs.read(_run(root)),)),
}


# ---- what must hold after each


@dataclasses.dataclass(frozen=True)
class State:
    """The file's bytes, None where there is none, and each reader's answer, None where it refuses."""

    content: bytes | None
    answers: tuple[object, ...]


def state_of(path: SavePath, root: Path) -> State:
    """What lies below `root`; a reader's error that is not a clean one is raised."""
    final = path.final(root)
    return State(final.read_bytes() if final.exists() else None, tuple(_answer(read, root) for read in path.readers))


def _answer(read: Read, root: Path) -> object:
    try:
        return read(root)
    except (HeadstartError, FileNotFoundError):
        return None


@dataclasses.dataclass(frozen=True)
class Expected:
    """How it looks before the save and after it."""

    path: SavePath
    old: bool
    before: State
    after: State

    @classmethod
    def of(cls, path: SavePath, old: bool, root: Path) -> "Expected":
        """Prepare and save below `root`, without a fault."""
        path.prepare(root, old)
        before = state_of(path, root)
        path.save(root)
        after = state_of(path, root)
        assert before.content != after.content is not None
        assert (before.content is not None) is old
        return cls(path, old, before, after)

    def check(self, root: Path, where: object) -> None:
        """Old, new or nothing; and the next save succeeds and sweeps up."""
        found = state_of(self.path, root)
        assert found.content in (self.before.content, self.after.content), where
        for answer, before, after in zip(found.answers, self.before.answers, self.after.answers, strict=True):
            assert answer in (before, after, None), where
        self.path.save(root)
        assert state_of(self.path, root) == self.after, where
        if (root / "features").exists():
            with _writing(root):
                assert temporaries(root) == [], where


def temporaries(root: Path) -> list[Path]:
    """What unfinished writes left."""
    return sorted(root.rglob("*.tmp"))


@dataclasses.dataclass(frozen=True)
class Trouble:
    """An error of the disk, at one call or at all from there on."""

    code: int
    for_good: bool = False


TROUBLES = {
    "broken once": Trouble(errno.EIO),
    "full once": Trouble(errno.ENOSPC),
    "broken for good": Trouble(errno.EIO, for_good=True),
}


@pytest.mark.torture
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", PATHS)
def test_an_error_at_any_system_call_of_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, name: str, trouble: str, share: Share
) -> None:
    trials, step = 0, share(1, PART)
    for old in (False, True):
        expected = Expected.of(PATHS[name], old, tmp_path / f"{old} reference")
        for survive in itertools.count(step=step):
            names, struck = error_at(expected, tmp_path / f"{old} {survive}", survive, TROUBLES[trouble])
            if not struck:
                break
            trials += 1
        assert {"open", "write", "fsync", "replace", "close"} <= set(names)
    assert trials >= LEAST_TRIALS // step


def error_at(expected: Expected, root: Path, survive: int, trouble: Trouble) -> tuple[list[str], bool]:
    """One trial: the calls that were made, and whether the trouble came before the save was through."""
    path, error = expected.path, None
    path.prepare(root, expected.old)
    faults = Faults(survive, _raising(trouble.code), for_good=trouble.for_good)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(patch)
        try:
            path.save(root)
        except OSError as caught:
            error = caught
    where = faults.names
    assert error is None or error.errno == trouble.code, where
    assert temporaries(root) == [], where
    if error is None:  # nobody is told that it was saved who can't read it
        assert state_of(path, root) == expected.after, where
    expected.check(root, where)
    return where, faults.struck


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, share: Share) -> Path:
    """A folder with what each kill leaves: PATH/OLD/SURVIVED. A process without threads makes it, since it forks."""
    folder = tmp_path_factory.mktemp("killed")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(share(1, PART))],
        env={**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.torture
@pytest.mark.parametrize("name", PATHS)
def test_a_kill_at_any_system_call_of_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, killed: Path, name: str, share: Share
) -> None:
    trials, step = 0, share(1, PART)
    for old in (False, True):
        expected = Expected.of(PATHS[name], old, tmp_path / str(old))
        for root in sorted((killed / name / str(old)).iterdir()):
            expected.check(root, root.name)
            trials += 1
    assert trials >= LEAST_TRIALS // step


def main(folder: str, step: str) -> None:
    """For each save path, with and without an old file, fork a child for every `step`th system call to be killed there."""
    for (name, path), old in itertools.product(PATHS.items(), (False, True)):
        for survive in itertools.count(step=int(step)):
            root = Path(folder) / name / str(old) / f"{survive:03d}"
            path.prepare(root, old)
            child = os.fork()
            if not child:
                _save_and_die(path, root, survive)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code == 0:  # the save was through before
                shutil.rmtree(root)
                break
            if code != KILLED:
                raise RuntimeError(f"{name}: the child ended with {code} after {survive} calls")


def _save_and_die(path: SavePath, root: Path, survive: int) -> None:
    """Never returns: no clean-up runs, as after SIGKILL."""
    try:
        Faults(survive, lambda: os._exit(KILLED)).install(pytest.MonkeyPatch())
        path.save(root)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.torture
def test_the_folder_of_a_new_run_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a folder's name lies in its parent: unless that is synced, a power cut takes the folder with all that is in it
    synced, fsync = set(), os.fsync

    def recorded(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    folder = runs.RunStore(tmp_path / "runs").new_folder("resnet50 study mlp")
    checkpoint.save(_head_of(1), folder / checkpoint.NAME)
    missed = [parent.name for parent in (folder, *folder.parents[:2]) if parent.stat().st_ino not in synced]
    assert missed == []


# ---- flipped and missing bytes


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file's bytes, and a reader of such bytes (a folder to put them in is given to it)."""

    content: bytes
    read: Callable[[bytes, Path], object]


def _stored_shard() -> Stored:
    # by its own checksums alone: so the shards of a killed run are taken over
    return Stored(encode_shard(shards_of(1)[1]), _read_shard_alone)


def _read_shard_alone(content: bytes, folder: Path) -> object:
    return encode_shard(decode_shard(content, "there"))


def _read_manifest(content: bytes, folder: Path) -> object:
    (folder / NAME).write_bytes(content)
    return read_manifest(folder)


def _read_head(content: bytes, folder: Path) -> object:
    (folder / checkpoint.NAME).write_bytes(content)
    return contents_of_head(checkpoint.load(folder / checkpoint.NAME))


@pytest.fixture(params=["shard", "manifest", "head"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    """A small file of each kind that carries a checksum of its own."""
    if request.param == "shard":
        return _stored_shard()
    if request.param == "manifest":
        return Stored((write_set(_store(tmp_path), shards_of(1)).folder / NAME).read_bytes(), _read_manifest)
    checkpoint.save(_head_of(1), tmp_path / "saved")
    return Stored((tmp_path / "saved").read_bytes(), _read_head)


def silent(stored: Stored, mutants: Sequence[tuple[object, bytes]], folder: Path) -> list[object]:
    """The mutants, by name, that are read without an error as something else; other errors than clean ones are raised."""
    whole, found = stored.read(stored.content, folder), []
    for name, content in mutants:
        with contextlib.suppress(HeadstartError):
            if stored.read(content, folder) != whole:
                found.append(name)
    return found


@pytest.mark.torture
def test_no_flipped_bit_is_read_as_something_else(stored: Stored, tmp_path: Path, share: Share) -> None:
    bits = np.random.default_rng(20230901).integers(8 * len(stored.content), size=share(2000, 300))
    assert silent(stored, [(int(bit), flipped(stored.content, int(bit))) for bit in bits], tmp_path) == []


def flipped(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.torture
def test_no_cut_file_is_read_as_something_else(stored: Stored, tmp_path: Path, share: Share) -> None:
    step = share(1, 1 + len(stored.content) // 300)
    cuts = [(length, stored.content[:length]) for length in range(0, len(stored.content), step)]
    assert silent(stored, cuts, tmp_path) == []


if __name__ == "__main__":
    main(*sys.argv[1:])
