"""Kills of runs that write into an object store, and many writers of one set: a real server, workers in child processes.

A part runs by default; HEADSTART_TORTURE=all runs all.
"""

import json
import random
import signal
import time
from pathlib import Path

import pytest
from harness import trials
from storage_samples import BEGUN, PATIENCE_S, WORKER_ROWS, Server, kill_at_random, same_as, start_worker

pytestmark = pytest.mark.torture

KILLS_FOR_EACH_SET = 5
WRITERS = 4


@pytest.fixture(scope="module")
def local(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted worker makes on a disk."""
    here = tmp_path_factory.mktemp("local")
    start_worker(here / "run", s3_server, here / "features").wait()
    return here / "features"


def test_sigkill_and_resume_in_a_store(
    s3: Server, bucket: Path, local: Path, tmp_path: Path, record_property: object
) -> None:
    wanted, killed, life = trials(200, 5), 0, 0
    while killed < wanted:
        assert life < wanted, f"only {killed} of {life} runs could be killed at work"
        features, rng = bucket / f"life{life}", random.Random(f"store {life}")
        hits, _ = kill_at_random(tmp_path / f"life{life}", s3, features, rng, KILLS_FOR_EACH_SET)
        same_as(local, features)
        killed += hits
        life += 1
    report(record_property, f"SIGKILL, in a store: {killed} trials, 0 violations")


def test_many_writers_at_once_in_a_store(
    s3: Server, bucket: Path, local: Path, tmp_path: Path, record_property: object
) -> None:
    wanted = trials(20, 1)
    for trial in range(wanted):
        features = bucket / f"trial{trial}"
        everyone = [
            start_worker(tmp_path / f"{trial} {number}", s3, features, "--delay", 0.02) for number in range(WRITERS)
        ]
        computed = [json.loads(command.wait().results.splitlines()[-1])["computed"] for command in everyone]
        assert sorted(computed) == [0] * (WRITERS - 1) + [WORKER_ROWS]
        same_as(local, features)
    report(record_property, f"{WRITERS} starts at once, in a store: {wanted} trials, 0 violations")


def test_owners_are_paused_while_others_wait(
    s3: Server, bucket: Path, local: Path, tmp_path: Path, record_property: object
) -> None:
    """A paused owner still runs, so that only its heartbeat says that it is dead; then it goes on, or is killed."""
    wanted = trials(40, 2)
    for trial in range(wanted):
        features, rng = bucket / f"owner{trial}", random.Random(f"owner {trial}")
        owner = start_worker(tmp_path / f"{trial} owner", s3, features, "--delay", 0.05, HEADSTART_LEASE_S="1")
        owner.says(BEGUN)
        time.sleep(rng.uniform(0, 0.7))
        owner.process.send_signal(signal.SIGSTOP)
        try:
            others = [start_worker(tmp_path / f"{trial} {number}", s3, features) for number in range(2)]
            computed = [json.loads(command.wait().results.splitlines()[-1])["computed"] for command in others]
        finally:
            owner.process.send_signal(signal.SIGKILL if trial % 2 else signal.SIGCONT)
        code = owner.process.wait(PATIENCE_S)
        assert code in ({-signal.SIGKILL} if trial % 2 else {0, 1}), owner.said
        assert "Traceback" not in owner.said
        assert min(computed) == 0
        same_as(local, features)
    report(record_property, f"the lease's owner paused: {wanted} trials, 0 violations")


def report(record_property: object, line: str) -> None:
    """The summary line."""
    assert callable(record_property)
    record_property("gate", line)
    print(f"\n{line}")
