"""A real Ray cluster of two nodes on this machine: actors, nodes and drivers die, and the features are those of `local`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from extract_samples import ROOT

pytest.importorskip("ray", reason="the extra headstart[ray] is not installed")
pytestmark = pytest.mark.torture

PATIENCE_S = 240.0
FEATURES = "-m resnet18 --weights random:0 --dataset digits --split train --limit 768 --image-size 64 --shard-rows 64"
ALIKE = "--precision fp32 --device cpu --batch-size 8"
WORDS = [sys.executable, "cli.py", "extract", *FEATURES.split(), *ALIKE.split()]


STARTED: "list[subprocess.Popen[str]]" = []


@dataclass
class Cluster:
    """Two nodes of one CPU each."""

    address: str
    process: "subprocess.Popen[str]"

    def tell(self, what: str) -> None:
        """Have a node removed or added, and wait for that."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        while "done" not in (line := self.process.stdout.readline()):
            assert line, "the cluster has ended"

    def actors(self) -> list[int]:
        """The processes of our actors that are alive on its nodes."""
        return [pid for pid, name in descendants(self.process.pid) if name.startswith("ray::Shards")]


def descendants(root: int) -> Iterator[tuple[int, str]]:
    """Every process below one, and its title."""
    parents = {int(path.parent.name): path for path in Path("/proc").glob("[0-9]*/stat")}
    children: dict[int, list[int]] = {}
    for pid, path in parents.items():
        try:
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(pid)
        except OSError:
            continue
    left = [root]
    while left:
        for pid in children.get(left.pop(), []):
            left.append(pid)
            try:
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # a short path, since Ray's sockets lie below it and a socket's path has 107 bytes at most
    place = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    script = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "ray_cluster.py"), place]
    process = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address
    yield Cluster(address, process)
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()
    process.wait(60)
    shutil.rmtree(place, ignore_errors=True)


def started(features: Path, cluster: Cluster | None) -> "subprocess.Popen[str]":
    """An extraction under way, by this process or by the cluster's actors."""
    by = [] if cluster is None else ["--executor", "ray", "--address", cluster.address, "--num", "2"]
    process = subprocess.Popen(
        [*WORDS, "--features-dir", str(features), *by],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A test that fails must not leave an extraction running."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def ended(process: "subprocess.Popen[str]") -> str:
    """What it printed; it must have ended well."""
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    return said


def until(what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for something that happens while a process runs."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def shards(features: Path) -> dict[str, bytes]:
    """The shards of the one set in a directory, by name."""
    return {path.name: path.read_bytes() for path in features.glob("*/shard-*.h5")}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    features = tmp_path_factory.mktemp("local")
    ended(started(features, None))
    found = shards(features)
    assert len(found) == 12
    return found


def test_an_actor_and_a_node_die_and_the_rest_finish(cluster: Cluster, local: dict[str, bytes], tmp_path: Path) -> None:
    process = started(tmp_path, cluster)
    until(lambda: len(shards(tmp_path)) >= 2 and len(cluster.actors()) == 2, process)
    for pid in cluster.actors():  # the first of them has a shard in hand, the other may still be loading
        os.kill(pid, signal.SIGKILL)
    there = len(shards(tmp_path))
    until(lambda: len(shards(tmp_path)) >= there + 3, process)
    cluster.tell("remove")
    said = ended(process)
    cluster.tell("add")
    assert "made anew" in said
    assert shards(tmp_path) == local
    assert len(list(tmp_path.glob("*/manifest.json"))) == 1


def test_a_driver_is_killed_and_started_again(cluster: Cluster, local: dict[str, bytes], tmp_path: Path) -> None:
    first = started(tmp_path, cluster)
    until(lambda: len(shards(tmp_path)) >= 3, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kept = shards(tmp_path)
    assert 3 <= len(kept) < len(local)
    assert kept.items() <= local.items()
    second = started(tmp_path, cluster)
    said = ended(second)
    assert shards(tmp_path) == local
    done = int(said.partition(" images to do")[0].rpartition(": ")[2].partition(" of ")[0].replace(",", ""))
    assert done <= 768 - 64 * len(kept)  # what was there was not made again
    assert "768 x 512 float32" in said


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    words = [*WORDS, "--features-dir", str(tmp_path), "--executor", "ray", "--address", "127.0.0.1:1"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert found.returncode == 1
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("headstart: ")]
    assert "--address 127.0.0.1:1: no Ray cluster answers there, or it wants the token" in line
    assert "Traceback" not in found.stderr
    assert not list(tmp_path.glob("*/"))
