"""The lock of a feature set in an object store, across machines: numbered leases with an owner and a heartbeat.

    .NAME.lock/00000007    JSON: owner, beat, after how many seconds without one it is dead, whether it is released

The highest number owns the set. Its owner puts its own object again, with another beat, every sixth of that time. Whoever
waits watches the object by a clock of its own, so machines' clocks are never compared: once the object says that it is
released, or has not changed for as long as it says itself, the next number is created, which a store lets one of several
do (a PUT with `If-None-Match: *`, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). The
others go on waiting. A store that lets a second one do it too is refused.

An owner that was paused for longer finds a higher number before its next shard or manifest, and ends. What it puts between
that question and its answer is a whole object, and nothing a reader believes: a manifest lists each shard's SHA-256, and a
shard that is not the listed one is made anew by the next `extract`.
"""

import contextlib
import dataclasses
import errno
import math
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.cache.files import parse_json, pretty_json
from headstart.core.cache.objects import Entry, ObjectPath
from headstart.core.cache.places import stored

FORMAT, VERSION = "headstart lease", 1
VARIABLE, DEAD_AFTER_S = "HEADSTART_LEASE_S", 60.0
_BEATS = 6
"""Heartbeats in the time after which a lease is dead: some may come late or fail."""
_LONGEST_S = 86400.0
_MOST_BYTES = 2**16
_NUMBERED = re.compile(r"[0-9]{8}")


@dataclasses.dataclass(frozen=True)
class State:
    """What a lease says of itself. `process` and `began`, its number and start, tell on the same `machine` whether the
    owner still runs; empty and 0 where that can't be said."""

    owner: str
    token: str
    dead_after_s: float
    beat: int = 0
    released: bool = False
    machine: str = ""
    process: int = 0
    began: int = 0

    def to_bytes(self) -> bytes:
        """The state as the bytes of its object."""
        return pretty_json({"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)})

    @property
    def over(self) -> bool:
        """Whether the owner has released it, or is a process of this machine that runs no longer."""
        here = self.machine != "" and self.machine == _machine()
        return self.released or (here and _began(self.process) != self.began)


def leased(folder: Path, on_wait: Callable[[], None]) -> "contextlib.AbstractContextManager[Lease]":
    """Hold the lock whose leases are in `folder`. `on_wait` is called once before waiting for another owner. Raises
    OSError, also for a store without conditional writes; ArgumentInvalid for a time in HEADSTART_LEASE_S that is none."""
    place = stored(folder)
    if place is None:
        raise TypeError(f"{folder} is in no store")
    return _held(place, on_wait, dead_after_s())


def dead_after_s() -> float:
    """After how many seconds without a heartbeat a lease of this process is dead. Raises ArgumentInvalid."""
    text = os.environ.get(VARIABLE)
    try:
        found = DEAD_AFTER_S if text is None else float(text)
    except ValueError:
        found = math.nan
    if not 0 < found <= _LONGEST_S:
        raise ArgumentInvalid(f"{VARIABLE} is {text!r}, expected seconds, at most {_LONGEST_S:.0f}")
    return found


@contextlib.contextmanager
def _held(folder: ObjectPath, on_wait: Callable[[], None], dead_s: float) -> Iterator["Lease"]:
    lease = _acquired(folder, on_wait, dead_s)
    ended = threading.Event()
    beating = threading.Thread(target=lease.keep, args=(ended,), daemon=True)
    beating.start()
    try:
        lease.remove_older()
        yield lease
    finally:
        ended.set()
        beating.join()
        lease.release()


@dataclasses.dataclass(frozen=True)
class Lease:
    """A lease that this process owns, or owned until another took it for dead."""

    folder: ObjectPath
    number: int
    state: State

    @property
    def path(self) -> ObjectPath:
        """Its object."""
        return _path(self.folder, self.number)

    def check(self) -> None:
        """Raises OSError where another process has taken the lock over."""
        last = _last(self.folder)
        if last is not None and int(last.name) > self.number:
            what = (
                f"this process gave no sign for {self.state.dead_after_s:g} s, so that another one has taken its lock and "
                f"writes the set; the same command goes on from there"
            )
            raise OSError(errno.ENOLCK, what, str(self.path))

    def keep(self, ended: threading.Event) -> None:
        """Give signs of life until `ended`. One that fails is followed by the next: whether the lock was lost meanwhile
        `check` finds out."""
        beat = 0
        while not ended.wait(self.state.dead_after_s / _BEATS):
            beat += 1
            with contextlib.suppress(OSError):
                self.path.write(dataclasses.replace(self.state, beat=beat).to_bytes())

    def remove_older(self) -> None:
        """Remove the leases before it. One that can't be removed now will be by the next owner."""
        with contextlib.suppress(OSError):
            for entry in _leases(self.folder):
                if int(entry.name) < self.number:
                    (self.folder / entry.name).unlink()

    def release(self) -> None:
        """Say that it is over; where that fails, the next owner waits until it is dead."""
        with contextlib.suppress(OSError):
            self.path.write(dataclasses.replace(self.state, released=True).to_bytes())


def _acquired(folder: ObjectPath, on_wait: Callable[[], None], dead_s: float) -> Lease:
    """Wait for the lock and take it."""
    mine = _own(dead_s)
    look_s, told = min(1.0, dead_s / _BEATS), False
    seen, since, theirs = Entry("", False), 0.0, mine
    while True:
        last = _last(folder)
        if last is not None and last != seen:
            seen, since, theirs = last, time.monotonic(), _read(folder / last.name, dead_s)
        if last is None or theirs.over or time.monotonic() - since > theirs.dead_after_s:
            lease = Lease(folder, int(last.name) + 1 if last else 1, mine)
            if _created(lease):
                return lease
        elif not told:
            on_wait()
            told = True
        time.sleep(look_s)


def _created(lease: Lease) -> bool:
    """Whether this process created it. Raises OSError, also for a store that would let another one do so too."""
    content = lease.state.to_bytes()
    try:
        lease.path.write(content, new=True)
    except FileExistsError:  # which is also the answer to a request that was sent again, since its first answer was lost
        return _read(lease.path, lease.state.dead_after_s).token == lease.state.token
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ENOTSUP):
            raise _unsafe(lease) from error
        raise
    try:
        lease.path.write(content, new=True)
    except FileExistsError:
        return True
    lease.path.unlink()
    raise _unsafe(lease)


def _unsafe(lease: Lease) -> OSError:
    what = (
        "the store knows no conditional writes (If-None-Match), so that two writers could not be kept apart; give another "
        "store, or a mounted folder"
    )
    return OSError(errno.ENOTSUP, what, str(lease.path))


def _read(path: ObjectPath, dead_s: float) -> State:
    """What a lease says; one that can't be read is dead once it has not changed for `dead_s`."""
    try:
        found = parse_json(path.read(_MOST_BYTES))
        kind = (found.pop("format"), found.pop("version"))
        state = State(**found)
        kinds = [type(value) for value in dataclasses.astuple(state)]
        right = kinds == [str, str, float, int, bool, str, int, int] and 0 < state.dead_after_s <= _LONGEST_S
        if right and kind == (FORMAT, VERSION):
            return state
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return State("unknown", "", dead_s)


def _path(folder: ObjectPath, number: int) -> ObjectPath:
    return folder / f"{number:08d}"


def _leases(folder: ObjectPath) -> list[Entry]:
    return [entry for entry in folder.entries() if _NUMBERED.fullmatch(entry.name)]


def _last(folder: ObjectPath) -> Entry | None:
    """The lease that owns the set."""
    return max(_leases(folder), key=lambda entry: entry.name, default=None)


def _own(dead_s: float) -> State:
    """That of this process, and where it runs, as far as a later process of the same machine can look it up."""
    process, machine = os.getpid(), _machine()
    state = State(f"{socket.gethostname()}, process {process}", secrets.token_hex(16), dead_s, machine=machine)
    return dataclasses.replace(state, process=process, began=_began(process)) if machine else state


def _machine() -> str:
    """What names the running system and its space of process numbers, which each container has its own of: Linux says it,
    and elsewhere it is not known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(process: int) -> int:
    """When a process began, in the system's ticks (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html); -1 where
    none of that number runs."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return -1 if after_name[0] in "ZX" else int(after_name[19])
    except (OSError, ValueError, IndexError):
        return -1
