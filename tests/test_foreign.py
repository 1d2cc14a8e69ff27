"""Unlisted shards: a child tells their facts as `decode_shard` would, and what a file does to it is the file's damage."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from cache_samples import make_shard, make_shards
from extract_samples import ROOT

from headstart.core.cache.errors import FeaturesDamaged
from headstart.core.cache.files import canonical_json
from headstart.core.cache.foreign import ForeignReader
from headstart.core.cache.shard import ShardFacts, Skipped, decode_shard, encode_shard

GOOD = make_shard(np.random.default_rng(0), 0, 5, skipped=[2])
GOOD_BYTES = encode_shard(GOOD)
SIGNATURE = b"\x89HDF\r\n\x1a\n"

STAND_IN = """
import os, signal, sys, time
sys.path[:0] = [{root!r}]
import h5py, numpy as np
from headstart.core.cache import foreign, foreign_child
from headstart.core.cache.shard import decode_shard

def burn():
    while True:
        pass

def labels_anyhow(content):
    with h5py.File.in_memory(content) as file:
        return file["labels"][()]

deeds = {{
    b"die": lambda rest: os.kill(os.getpid(), signal.SIGSEGV),
    b"abort": lambda rest: os.abort(),
    b"leave": lambda rest: os._exit(3),
    b"raise": lambda rest: 1 / 0,
    b"hang": lambda rest: time.sleep(600),
    b"burn": lambda rest: burn(),
    b"allocate": lambda rest: np.ones(2**30, np.uint8),
    b"grow": lambda rest: list(iter(lambda: bytes(2**20), None)),
    b"write": lambda rest: open(rest, "wb"),
    b"read": lambda rest: open(rest, "rb"),
    b"append": lambda rest: os.write(KEPT, b"more"),
    b"follow": lambda rest: labels_anyhow(rest),
    b"babble": lambda rest: os.write(1, rest),
}}
KEPT = os.open({kept!r}, os.O_WRONLY) if {kept!r} else None

def decode(content, where):
    word, colon, rest = content.removeprefix(foreign._SIGNATURE).partition(b":")
    if not colon or word not in deeds:
        return decode_shard(content, where)
    try:
        deeds[word](rest)
    except OSError as error:
        raise foreign.FeaturesDamaged(f"refused: {{error}}") from error

foreign_child.serve(decode, patience_s={patience_s})
"""
"""A child of the real loop and limits, in which a shard of the text `word:` does to it what the worst of files can do."""


def stand_in(patience_s: float = 30, kept: str = "") -> list[str]:
    return [sys.executable, "-c", STAND_IN.format(root=str(ROOT), patience_s=patience_s, kept=kept)]


def deed(word: str, rest: bytes = b"") -> bytes:
    return SIGNATURE + word.encode() + b":" + rest


def gone(pid: int) -> bool:
    """Whether the process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def pid_of(reader: ForeignReader) -> int:
    process = reader._process
    assert process is not None
    return process.pid


# --- good shards -----------------------------------------------------------------------------------------------------


def test_the_facts_are_those_that_decoding_gives() -> None:
    rng = np.random.default_rng(1)
    shards = [
        *make_shards(rng, skipped=[2, 6]),
        make_shard(rng, 5, 8, skipped=[5, 6, 7]),
        make_shard(rng, 0, 9, dtype="f2"),
    ]
    odd = (Skipped(3, "bild/ä\udc80\n.png", 'a "quoted" \\ reason\x00'),)
    shards.append(dataclasses.replace(make_shard(rng, 0, 4, skipped=[3]), skipped=odd))
    contents = [encode_shard(shard) for shard in shards]
    with ForeignReader() as reader:
        found = [reader.read(content, "here") for content in contents]
    assert found == [decode_shard(content, "here").facts for content in contents] == [shard.facts for shard in shards]


def test_one_child_serves_many_shards_and_ends_with_the_reader() -> None:
    with ForeignReader() as reader:
        pids = set()
        for _ in range(20):
            assert reader.read(GOOD_BYTES, "here") == GOOD.facts
            pids.add(pid_of(reader))
        assert len(pids) == 1
    assert gone(pids.pop())


def test_a_shard_of_common_size_stays_within_the_limits() -> None:
    large = make_shard(np.random.default_rng(0), 0, 2048, dim=2048)
    with ForeignReader() as reader:
        for _ in range(3):  # what one shard leaves behind must not count against the next
            assert reader.read(encode_shard(large), "here") == large.facts
        assert reader.read(GOOD_BYTES, "here") == GOOD.facts


def test_no_child_starts_where_there_is_nothing_to_read() -> None:
    with ForeignReader(["/nowhere/python"]):
        pass


def test_the_child_finds_our_code_from_any_folder_whatever_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cache", "h5py", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", *(place for place in sys.path if Path(place) != ROOT)])  # as an editable install
    with ForeignReader() as reader:
        assert reader.read(GOOD_BYTES, "here") == GOOD.facts


# --- what a file can do ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Harm:
    content: bytes
    message: str


HARMS = {
    "crash": Harm(deed("die"), "libhdf5 was killed by signal 11 while reading it"),
    "abort": Harm(deed("abort"), "libhdf5 was killed by signal 6 while reading it"),
    "exit": Harm(deed("leave"), "its reader ended with status 3"),
    "unknown error": Harm(deed("raise"), "its reader ended with status 1"),
    "memory at once": Harm(deed("allocate"), r"wanted more than \d{3} MB"),
    "memory in pieces": Harm(deed("grow"), r"wanted more than \d{3} MB"),
    "random": Harm(SIGNATURE + np.random.default_rng(0).bytes(5000), "not a readable HDF5 file"),
    "truncated": Harm(GOOD_BYTES[:-1], "not a readable HDF5 file"),
    "endless answer": Harm(deed("babble", b"\x7f" + b"x" * 7), "its reader's answer has .* bytes, expected at most"),
    "answer that is no JSON": Harm(deed("babble", bytes(7) + b"\x02hi"), "its reader's answer is no shard's facts"),
    "answer of code": Harm(
        deed("babble", bytes(7) + b"\x22cos\nsystem\n(S'touch /tmp/owned'\ntR."), "answer is no shard's facts"
    ),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_shard_that_harms_its_reader_is_named_and_the_next_is_read(harm: Harm) -> None:
    with ForeignReader(stand_in()) as reader:
        assert reader.read(GOOD_BYTES, "before") == GOOD.facts
        first = pid_of(reader)
        with pytest.raises(FeaturesDamaged, match=rf"^some/shard\.h5: .*{harm.message}"):
            reader.read(harm.content, "some/shard.h5")
        assert gone(first)
        assert reader.read(GOOD_BYTES, "after") == GOOD.facts


@pytest.mark.parametrize("word", ["hang", "burn"])
def test_a_shard_that_takes_for_ever_is_named_and_the_next_is_read(word: str) -> None:
    with ForeignReader(stand_in(), patience_s=0.5) as reader:
        with pytest.raises(FeaturesDamaged, match=r"^here: took longer than 0\.5\d* s$"):
            reader.read(deed(word), "here")
        reader._patience_s = 30
        assert reader.read(GOOD_BYTES, "after") == GOOD.facts


def test_a_child_that_reads_nothing_is_late_too() -> None:
    # more than a pipe holds: the parent waits in its write
    mute = "import os, time; os.write(1, bytes(8)); time.sleep(600)"
    reader = ForeignReader([sys.executable, "-c", mute], patience_s=0.2)
    with reader, pytest.raises(FeaturesDamaged, match=r"^here: took longer than 0\.\d+ s$"):
        reader.read(SIGNATURE + bytes(10**6), "here")


def test_the_child_can_open_no_file(tmp_path: Path) -> None:
    secret, new = tmp_path / "secret", tmp_path / "new"
    secret.write_bytes(b"secret")
    for content in (deed("read", bytes(secret)), deed("write", bytes(new)), deed("write", bytes(secret))):
        with ForeignReader(stand_in()) as reader, pytest.raises(FeaturesDamaged, match=r"refused: .*Too many open files"):
            reader.read(content, "here")
    assert not new.exists()
    assert secret.read_bytes() == b"secret"


def test_the_child_can_write_to_no_file_that_is_open(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"")
    reader = ForeignReader(stand_in(kept=str(kept)))
    with reader, pytest.raises(FeaturesDamaged, match=r"refused: .*File too large"):
        reader.read(deed("append"), "here")
    assert kept.read_bytes() == b""


def test_even_a_reader_that_follows_external_storage_gets_nothing_from_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.array([11, 22, 33]).tobytes())
    with h5py.File.in_memory() as file:
        file.create_dataset("labels", (3,), np.int64, external=[(str(secret), 0, 24)])
        file.flush()
        content = file.id.get_file_image()
        assert file["labels"][()].tolist() == [11, 22, 33]  # outside the child it does
    with ForeignReader(stand_in()) as reader, pytest.raises(FeaturesDamaged, match=r"refused: .*unable to open external"):
        reader.read(deed("follow", content), "here")


def test_a_hung_child_ends_by_itself_once_it_has_used_its_time() -> None:
    # as where the parent was killed: here it merely has more patience
    reader = ForeignReader(stand_in(patience_s=0), patience_s=60)
    with reader, pytest.raises(FeaturesDamaged, match=f"killed by signal {signal.SIGXCPU.value} while"):
        reader.read(deed("burn"), "here")


def test_a_child_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from headstart.core.cache.foreign import ForeignReader\n"
        "reader = ForeignReader()\nprint(reader._start().pid, flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    wait_until(lambda: gone(child) or is_zombie(child))  # who adopts it, and when he waits for it, is not ours to say


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return gone(pid)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "did not happen within 30 s"
        time.sleep(0.01)


def test_ctrl_c_in_the_terminal_does_not_reach_the_child() -> None:
    with ForeignReader() as reader:
        reader.read(GOOD_BYTES, "here")
        assert os.getpgid(pid_of(reader)) != os.getpgid(0)
        assert os.getsid(pid_of(reader)) != os.getsid(0)


def test_an_interrupted_parent_leaves_no_child() -> None:
    # and does not wait for one that hangs
    def press(number: int, frame: object) -> None:
        raise KeyboardInterrupt("pressed")

    def interrupted(reader: ForeignReader) -> None:
        with reader:
            pids.append(reader._start().pid)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            reader.read(deed("hang"), "here")

    pids: list[int] = []
    before = signal.signal(signal.SIGALRM, press)
    try:
        with pytest.raises(KeyboardInterrupt, match="pressed"):
            interrupted(ForeignReader(stand_in(), patience_s=600))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [gone(pid) for pid in pids] == [True]


@pytest.mark.parametrize("code", ["import nothing_of_this_name", "import os; os.abort()", "print('hello' * 10)"])
def test_a_child_that_does_not_start_is_no_shards_fault(code: str) -> None:
    reader = ForeignReader([sys.executable, "-c", code])
    with reader, pytest.raises(OSError, match=r"the process that checks unlisted shards does not start: .*import h5py"):
        reader.read(GOOD_BYTES, "here")


# --- what the parent believes ----------------------------------------------------------------------------------------

FACTS = dataclasses.asdict(GOOD.facts)
LIES = {
    "nothing": {},
    "key is no digest": {**FACTS, "key": "../../etc"},
    "inputs are no digest": {**FACTS, "inputs": "5c" * 31},
    "key is a number": {**FACTS, "key": 5},
    "start is text": {**FACTS, "start": "0"},
    "start is true": {**FACTS, "start": True, "rows": 3, "skipped": FACTS["skipped"]},
    "start is a fraction": {**FACTS, "start": 0.0},
    "start below zero": {**FACTS, "start": -1, "rows": 5},
    "stop below start": {**FACTS, "stop": -5, "rows": -6},
    "stop beyond all numbers": {**FACTS, "stop": 2**63, "rows": 2**63 - 1},
    "more rows than there are": {**FACTS, "rows": 5},
    "more skipped than there are": {**FACTS, "stop": 0, "rows": -1},
    "skipped twice": {**FACTS, "stop": 1, "rows": -1, "skipped": [{"row": 0, "id": "a", "reason": "b"}] * 2},
    "skipped elsewhere": {**FACTS, "skipped": [{"row": 5, "id": "a", "reason": "b"}]},
    "skipped id is a list": {**FACTS, "skipped": [{"row": 2, "id": [], "reason": "b"}]},
    "skipped without a reason": {**FACTS, "skipped": [{"row": 2, "id": "a"}]},
    "skipped is a number": {**FACTS, "skipped": 1},
    "more than asked for": {**FACTS, "more": 1},
    "less than asked for": {name: value for name, value in FACTS.items() if name != "stop"},
    "a list": [FACTS],
    "a reason that is none": {"damaged": ["a"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_answer_that_no_shard_can_give_is_not_believed(lie: object) -> None:
    with pytest.raises(FeaturesDamaged, match=r"^here: its reader's answer (is no|can't be a) shard's facts$"):
        answered(canonical_json(lie))


def test_the_same_answer_unchanged_is_believed() -> None:
    assert answered(canonical_json(FACTS)) == GOOD.facts  # else the refusals above would say nothing


@pytest.mark.parametrize("answer", [b"", b"{", b"\xff\xfe", b"[" * 2000, b'{"start": NaN}', b'{"key": 1, "key": 2}'])
def test_an_answer_that_is_no_strict_json_is_not_believed(answer: bytes) -> None:
    with pytest.raises(FeaturesDamaged, match=r"^here: its reader's answer is no shard's facts$"):
        answered(answer)


def answered(answer: bytes) -> ShardFacts:
    """What becomes of a child's `answer`, told by a process of a few lines."""
    frame = len(answer).to_bytes(8, "big") + answer
    code = f"import os; os.write(1, bytes(8) + {frame!r}); os.read(0, 10**6); os.read(0, 10**6)"
    with ForeignReader([sys.executable, "-I", "-S", "-c", code]) as reader:
        return reader.read(GOOD_BYTES, "here")


# --- before anything is parsed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"hello", b"#!/bin/sh\n".ljust(512, b"\0") + GOOD_BYTES])
def test_what_does_not_begin_as_ours_costs_no_child(content: bytes) -> None:
    reader = ForeignReader(["/nowhere/python"])
    with reader, pytest.raises(FeaturesDamaged, match=r"^here: does not begin as an HDF5 file$"):
        reader.read(content, "here")
