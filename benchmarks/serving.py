"""`headstart serve` beside `bench-inference`, over the same pictures and in one run: throughput, latency, memory.

    .venv/bin/python benchmarks/serving.py --json serving.json
    .venv/bin/python benchmarks/serving.py --weights resnet18.safetensors --rounds 3

Makes JPEG files and a head on them in a folder that is removed again. In each round `bench-inference` times batches and
single images, as a process of its own; then a service, in another one, is asked over loopback by one client and by many,
which send the next request when they have the answer. A figure is the median over the rounds. The clients are one thread of
this process, and so share the processor with the service. Then more requests follow, and the service's resident memory is
read at the start, after the first 1,000, and at the end.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import numpy as np
from hardware import hardware
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("one", "two")


def pictures(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """JPEG files of smooth colours with a little noise: about as large as photographs of that size."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        found.append(folder / CLASSES[number % 2] / f"{number:05d}.jpg")
        found[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(found[-1], quality=88)
    return found


def headstart(*words: object) -> Any:
    """A command's document."""
    call = [sys.executable, ROOT / "cli.py", *map(str, words), "--json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


class Client:
    """A connection with a request under way. `since` is when it was sent."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.since = 0.0

    def ask(self, request: bytes) -> None:
        """Send the next request."""
        self.received.clear()
        self.since = time.perf_counter()
        self.socket.sendall(request)

    def hear(self) -> bool:
        """Whether the answer is there. Raises ClickException for one that is no success."""
        part = self.socket.recv(2**16)
        self.received += part
        end = self.received.find(b"\r\n\r\n")
        if not part or (end >= 0 and not self.received.startswith(b"HTTP/1.1 200 ")):
            raise click.ClickException(f"no answer but {bytes(self.received[:2000])!r}")
        if end < 0:
            return False
        place = self.received.index(b"content-length: ") + 16
        return len(self.received) >= end + 4 + int(self.received[place : self.received.index(b"\r\n", place)])


def load(address: tuple[str, int], requests: Sequence[bytes], clients: int, count: int) -> Iterator[float]:
    """The seconds of each of `count` requests by so many clients, each of which waits for its answer."""
    waiting, sent = selectors.DefaultSelector(), 0
    there = [Client(address) for _ in range(min(clients, count))]
    for client in there:
        waiting.register(client.socket, selectors.EVENT_READ, client)
        client.ask(requests[sent % len(requests)])
        sent += 1
    done = 0
    while done < count:
        for key, _ in waiting.select():
            client = key.data
            if client.hear():
                done += 1
                yield time.perf_counter() - client.since
                if sent < count:
                    client.ask(requests[sent % len(requests)])
                    sent += 1
    for client in there:
        client.socket.close()


def resident(process: int) -> int:
    """Bytes of a process's memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


class Service:
    """`headstart serve` in a process of its own."""

    def __init__(self, place: Path, *words: object) -> None:
        call = [sys.executable, ROOT / "cli.py", "serve", "--port", 0, "--json", "--runs-dir", place / "runs", *words]
        self.process = subprocess.Popen(list(map(str, call)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = next((line for line in self.process.stdout if line.startswith("{")), None)
        if found is None:
            raise click.ClickException(f"serve: {self.process.communicate()[1].strip()}")
        self.url = json.loads(found)["url"]
        split = urlsplit(self.url)
        self.address = (str(split.hostname), int(split.port or 0))
        while not self.is_ready():
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Whether it takes pictures."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz") as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def metrics(self) -> dict[str, float]:
        """What it counted."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def end(self) -> None:
        """A signal, and its exit code. Raises ClickException for another than 0."""
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate()[1]
        if self.process.returncode:
            raise click.ClickException(f"serve ended with {self.process.returncode}: {said.strip()}")


def request(path: Path, address: tuple[str, int]) -> bytes:
    """A file as the request that sends it."""
    content = path.read_bytes()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: image/jpeg\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def measured(
    place: Path, files: Sequence[Path], clients: int, count: int, singles: int, words: Sequence[str]
) -> dict[str, Any]:
    """One round: `bench-inference`, then a service."""
    bench = headstart(
        "bench-inference", "--runs-dir", place / "runs", "--features-dir", place / "features", "--dataset",
        f"folder:{place / 'pictures'}",
    )[0]  # fmt: skip
    service = Service(place, "--features-dir", place / "features", *words)
    requests = [request(path, service.address) for path in files]
    list(load(service.address, requests, clients, 4 * clients))  # warm
    single = list(load(service.address, requests, 1, singles))
    before, started = service.metrics(), time.perf_counter()
    many = list(load(service.address, requests, clients, count))
    elapsed = time.perf_counter() - started
    after = service.metrics()
    service.end()
    batches = after["headstart_batch_pictures_count"] - before["headstart_batch_pictures_count"]
    return {
        "bench_images_per_s": bench["images_per_s"],
        "bench_single_s": bench["latency_s"]["p50"],
        "single_s": statistics.median(single),
        "images_per_s": count / elapsed,
        "many_s": {
            name: float(value) for name, value in zip(("p50", "p90", "p99"), np.percentile(many, [50, 90, 99]), strict=True)
        },
        "batch": count / batches,
        "way": bench["way"],
    }


def remembered(place: Path, files: Sequence[Path], clients: int, count: int, words: Sequence[str]) -> dict[str, int]:
    """Resident bytes of a fresh service: once it is ready, after 1,000 requests, and at the end."""
    service = Service(place, "--features-dir", place / "features", *words)
    requests = [request(path, service.address) for path in files]
    found = {"0": resident(service.process.pid)}
    for done, _ in enumerate(load(service.address, requests, clients, count), 1):
        if done % 1000 == 0 or done == count:
            found[str(done)] = resident(service.process.pid)
    service.end()
    return found


def table(found: dict[str, Any]) -> str:
    """The figures for docs/performance.md."""
    rounds = found["rounds"]

    def middle(name: str, scale: float = 1.0) -> str:
        values = [scale * one[name] for one in rounds]
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
        return f"{statistics.median(values):.1f}{spread}"

    memory = ", ".join(f"{int(count):,}: {size / 1e6:,.0f}" for count, size in found["resident_bytes"].items())
    lines = [
        ("", "bench-inference", f"serve, {found['clients']} clients or 1", "ratio"),
        ("---", "---", "---", "---"),
        ("images/s", middle("bench_images_per_s"), middle("images_per_s"), f"{found['throughput_ratio']:.2f}"),
        ("one image, p50 ms", middle("bench_single_s", 1e3), middle("single_s", 1e3), f"{found['latency_ratio']:.2f}"),
    ]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    p99 = statistics.median(one["many_s"]["p99"] for one in rounds)
    return f"{rows}\n\n{found['clients']} clients: p99 {1e3 * p99:.0f} ms. Resident MB after so many requests: {memory}"


@click.command(help=__doc__)
@click.option("-m", "--model", default="resnet18", show_default=True)
@click.option("--weights", default="random:0", show_default=True)
@click.option("--image-size", default=224, show_default=True)
@click.option("--images", default=512, show_default=True, help="Different pictures.")
@click.option("--width", default=400, show_default=True)
@click.option("--height", default=300, show_default=True)
@click.option("--clients", default=32, show_default=True)
@click.option("--requests", default=3000, show_default=True, help="By all clients together, in each round.")
@click.option("--singles", default=300, show_default=True, help="By the one client, in each round.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--memory-requests", default=5000, show_default=True)
@click.option("--serve", "words", default="", help="More options of `serve`.")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(
    model: str, weights: str, image_size: int, images: int, width: int, height: int, clients: int, requests: int,
    singles: int, rounds: int, memory_requests: int, words: str, target: Path | None,
) -> None:  # fmt: skip
    """Measure, and print a table and, as the last line, the document."""
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        place, more = Path(scratch), words.split()
        files = pictures(place / "pictures", images, width, height)
        made = ("--features-dir", place / "features", "--runs-dir", place / "runs")
        where = ("-m", model, "--dataset", f"folder:{place / 'pictures'}", *made)
        headstart("extract", *where, "--weights", weights, "--image-size", image_size)
        headstart("train-head", *where, "--head", "logreg")
        found: dict[str, Any] = {"hardware": hardware(), "model": model, "clients": clients, "threads": os.cpu_count()}
        found["picture_bytes"] = statistics.mean(path.stat().st_size for path in files)
        found["rounds"] = []
        for _ in range(rounds):
            found["rounds"].append(measured(place, files, clients, requests, singles, more))
            click.echo(json.dumps(found["rounds"][-1]), err=True)
        found["resident_bytes"] = remembered(place, files, clients, memory_requests, more) if memory_requests else {}
    middle = {
        name: statistics.median(one[name] for one in found["rounds"])
        for name in found["rounds"][0]
        if name.endswith("_s") and name != "many_s"
    }
    found["throughput_ratio"] = middle["images_per_s"] / middle["bench_images_per_s"]
    found["latency_ratio"] = middle["single_s"] / middle["bench_single_s"]
    click.echo(table(found))
    if target is not None:
        target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
