"""The lock in a store, against a real server: one owner at a time, and a dead one is followed by another."""

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from headstart.core.cache import lease as leases
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import parse_json
from headstart.core.cache.lease import Lease, State, dead_after_s, leased
from headstart.core.cache.objects import ObjectPath

PATIENCE_S = 60.0
QUICK_S = 0.6
"""A lease is dead after so long: a tenth of it passes between heartbeats."""
ELSEWHERE = State("another machine, process 1", "theirs", QUICK_S, machine="another", process=1, began=1)


@pytest.fixture
def folder(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """A lock that nobody has held."""
    monkeypatch.setenv("HEADSTART_LEASE_S", str(QUICK_S))
    found: object = bucket / "features" / ".set.lock"
    assert isinstance(found, ObjectPath)
    return found


def hold(folder: ObjectPath, on_wait: Callable[[], None] | None = None) -> Any:
    """Hold the lock, without waiting where no `on_wait` is given."""
    where: Any = folder
    return leased(where, on_wait or never)


def never() -> None:
    raise AssertionError("had to wait")


def there(folder: ObjectPath) -> list[str]:
    """The leases' numbers."""
    return [entry.name for entry in folder.entries()]


def read(path: ObjectPath) -> dict[str, Any]:
    """What a lease says."""
    found: dict[str, Any] = parse_json(path.read(9999))
    return found


def test_a_lock_is_taken_kept_and_released(folder: ObjectPath) -> None:
    with hold(folder) as lease:
        lease.check()
        assert there(folder) == ["00000001"]
        assert read(folder / "00000001")["released"] is False
    assert read(folder / "00000001")["released"] is True
    with hold(folder) as lease:
        assert lease.number == 2
        assert there(folder) == ["00000002"]


def test_a_lock_is_released_after_an_error(folder: ObjectPath) -> None:
    with pytest.raises(RuntimeError, match="the run failed"), hold(folder):
        raise RuntimeError("the run failed")
    with hold(folder):
        pass


def test_one_that_waits_says_so_once_and_goes_on_after_the_release(
    folder: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_LEASE_S", "2")
    waits, order = threading.Event(), list[str]()

    def other() -> None:
        with hold(folder, waits.set):
            order.append("second")

    thread = threading.Thread(target=other)
    with hold(folder):
        thread.start()
        assert waits.wait(PATIENCE_S)
        time.sleep(3)  # an owner who gives signs of life keeps the lock for as long as it likes
        order.append("first")
    thread.join(PATIENCE_S)
    assert order == ["first", "second"]


def test_many_at_once_hold_it_one_after_the_other(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_LEASE_S", "3")
    inside, most, done = list[int](), list[int](), list[int]()

    def work(number: int) -> None:
        with hold(folder, lambda: None) as lease:
            inside.append(number)
            most.append(len(inside))
            lease.check()
            inside.remove(number)
            done.append(lease.number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (most, done) == ([1] * 5, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("content", [ELSEWHERE.to_bytes(), b"", b"nonsense", b'{"format": "headstart lease"}', b"[" * 9999])
def test_a_lease_that_does_not_change_is_taken_over_after_its_time(folder: ObjectPath, content: bytes) -> None:
    (folder / "00000007").write(content)
    waited, began = list[bool](), time.monotonic()
    with hold(folder, lambda: waited.append(True)) as lease:
        assert time.monotonic() - began >= QUICK_S
        assert (lease.number, waited) == (8, [True])
    assert there(folder) == ["00000008"]


def test_the_time_is_the_owners_not_that_of_who_waits(folder: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "00000001").write(ELSEWHERE.to_bytes())
    monkeypatch.setenv("HEADSTART_LEASE_S", "3600")
    with hold(folder, lambda: None) as lease:
        assert lease.number == 2


def test_a_killed_process_of_this_machine_is_followed_at_once(folder: ObjectPath) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        began = leases._began(process.pid)
        own = dataclasses.replace(leases._own(3600.0), process=process.pid, began=began)
        assert own.machine == "" or began > 0
        assert not own.over
        process.kill()
        process.wait()
    if not own.machine:
        pytest.skip("this system does not say what runs")
    (folder / "00000001").write(own.to_bytes())
    with hold(folder) as lease:
        assert lease.number == 2


def test_another_process_of_the_same_number_is_another() -> None:
    own = leases._own(3600.0)
    assert not own.over
    if own.machine:
        assert dataclasses.replace(own, began=own.began - 1).over
    assert not dataclasses.replace(own, machine="another", began=own.began - 1).over
    assert not dataclasses.replace(own, machine="", began=own.began - 1).over


def test_an_owner_that_was_taken_for_dead_is_told(folder: ObjectPath) -> None:
    with hold(folder) as lease:
        (folder / "00000002").write(ELSEWHERE.to_bytes(), new=True)
        with pytest.raises(OSError, match=r"gave no sign for 0.6 s, so that another one has taken its lock and writes the"):
            lease.check()
    assert read(folder / "00000002")["owner"] == ELSEWHERE.owner


def test_what_is_no_lease_is_left_alone(folder: ObjectPath) -> None:
    (folder / "notes.txt").write(b"mine")
    with hold(folder):
        assert there(folder) == ["00000001", "notes.txt"]


def test_a_request_that_was_sent_twice_is_one(folder: ObjectPath) -> None:
    lease = Lease(folder, 1, leases._own(QUICK_S))
    assert leases._created(lease)
    assert leases._created(lease)
    assert not leases._created(dataclasses.replace(lease, state=leases._own(QUICK_S)))


class Careless(ObjectPath):
    """A store that creates what is there already."""

    def write(self, content: bytes, *, new: bool = False) -> None:
        super().write(content)


class Without(ObjectPath):
    """A store that knows no exclusive creation."""

    def write(self, content: bytes, *, new: bool = False) -> None:
        raise OSError(38, "not implemented", str(self))


@pytest.mark.parametrize("kind", [Careless, Without])
def test_a_store_that_keeps_no_two_writers_apart_is_refused(folder: ObjectPath, kind: type[ObjectPath]) -> None:
    with (
        pytest.raises(
            OSError, match=r"knows no conditional writes \(If-None-Match\), .*; give another store, or a mounted"
        ),
        hold(kind(folder.scheme, folder.key)),
    ):
        raise AssertionError("was locked")
    assert there(folder) == []


def test_a_heartbeat_that_fails_is_followed_by_the_next(folder: ObjectPath) -> None:
    @dataclasses.dataclass(frozen=True)
    class Flaky(ObjectPath):
        """A store that fails every other time."""

        beats: list[bytes] = dataclasses.field(default_factory=list, compare=False)

        def write(self, content: bytes, *, new: bool = False) -> None:
            self.beats.append(content)
            if len(self.beats) % 2:
                raise OSError(5, "the network is down", str(self))
            super().write(content, new=new)

    place, ended = Flaky(folder.scheme, folder.key), threading.Event()
    keeping = threading.Thread(target=Lease(place, 1, leases._own(0.06)).keep, args=(ended,))
    keeping.start()
    deadline = time.monotonic() + PATIENCE_S
    while len(place.beats) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    ended.set()
    keeping.join(PATIENCE_S)
    assert read(folder / "00000001")["beat"] >= 6


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1e9"])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HEADSTART_LEASE_S", text)
    with pytest.raises(ArgumentInvalid, match=r"HEADSTART_LEASE_S is '.*', expected seconds, at most 86400"):
        dead_after_s()


def test_a_minute_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTART_LEASE_S", raising=False)
    assert dead_after_s() == 60.0


def test_a_folder_of_this_machine_has_no_lease(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="is in no store"):
        leased(tmp_path, never)


def test_numbers_are_eight_digits() -> None:
    assert leases._path(ObjectPath("s3", PurePosixPath("b/l")), 12).name == "00000012"
