"""Stage two: one head, many heads at once, and what else one would run on the same features in memory.

    .venv/bin/python benchmarks/heads.py --json heads.json

Features are drawn from a seed (class means with noise): a head's time does not depend on the values. Ways take turns, a
figure is the median over the turns, and what counts are ratios within one run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from hardware import hardware
from scaling import Numbers
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headstart.core.cache.errors import HeadstartError
from headstart.core.extract.network.devices import resolve
from headstart.core.heads.config import RECIPES, TrainConfig
from headstart.core.heads.data import Labelled
from headstart.core.heads.training.train import train_many

CLASSES = 10


def draw(rows: int, dim: int) -> Labelled:
    """Features (rows, dim) around ten class means, non-negative as pooled activations are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, rows)
    means = rng.gamma(1.0, 0.4, (CLASSES, dim)).astype(np.float32)
    features = np.abs(means[labels] + rng.standard_normal((rows, dim), dtype=np.float32) * 0.4)
    return Labelled(features, labels)


def ours(data: Labelled, configs: list[TrainConfig], device: str) -> None:
    """This tool."""
    train_many(data, CLASSES, configs, device, lambda *_: None)


def loader(data: Labelled, config: TrainConfig, device: str) -> None:
    """The same head as tutorials train it: DataLoader over a TensorDataset, Adam, one batch after the other."""
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(data.features), torch.from_numpy(data.labels))
    batches = torch.utils.data.DataLoader(pairs, config.batch_size, shuffle=True)
    dim = data.features.shape[1]
    layers = nn.Linear(dim, config.hidden), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(config.hidden, CLASSES)
    head = nn.Sequential(*layers, nn.Sigmoid()).to(device)
    adam, loss = torch.optim.Adam(head.parameters(), lr=config.lr), nn.CrossEntropyLoss()
    for _ in range(config.epochs):
        for features, labels in batches:
            adam.zero_grad()
            found = loss(head(features.to(device)), labels.to(device))
            found.backward()
            adam.step()
            found.item()  # what progress bars show


def lbfgs(data: Labelled, device: str) -> None:
    """A linear probe by full-batch L-BFGS on standardised features, 100 steps (DINOv2's and torchgeo-bench's way)."""
    features, labels = torch.from_numpy(data.features).to(device), torch.from_numpy(data.labels).to(device)
    features = (features - features.mean(0)) / features.std(0)
    head = nn.Linear(features.shape[1], CLASSES).to(device)
    search = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = nn.functional.cross_entropy(head(features), labels)
        loss.backward()
        return loss

    search.step(closure)


def sklearn(data: Labelled) -> None:
    """scikit-learn's LogisticRegression, 100 iterations at most."""
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        LogisticRegression(max_iter=100).fit(StandardScaler().fit_transform(data.features), data.labels)


def timed(work: Callable[[], None], device: str) -> float:
    started = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def found_device(device: str) -> str:
    """torch's name of it. Ends the program, in one line, where it is not here."""
    try:
        return resolve(device, "fp32").name
    except HeadstartError as error:
        sys.exit(str(error))


@click.command()
@click.option("--rows", default=24_000, show_default=True)
@click.option("--dim", default=2048, show_default=True)
@click.option("--seeds", default=32, show_default=True, help="Heads at once.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--scaling/--no-scaling", default=False, show_default=True, help="Also one head by --scale-rows.")
@click.option("--scale-rows", default="1000,5000,10000,50000", show_default=True, type=Numbers())
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(rows: int, dim: int, seeds: int, repeats: int, device: str, output: Path | None, **scale: Any) -> None:
    """Print medians and ratios."""
    name, data, study = found_device(device), draw(rows, dim), RECIPES["study"]
    linear = dataclasses.replace(RECIPES["standard"], head="linear")
    many = [dataclasses.replace(study, seed=seed) for seed in range(seeds)]
    ways: dict[str, Callable[[], None]] = {
        "study recipe, one head": lambda: ours(data, [study], name),
        f"study recipe, {seeds} heads": lambda: ours(data, many, name),
        "standard recipe, one head": lambda: ours(data, [RECIPES["standard"]], name),
        "linear, standard recipe": lambda: ours(data, [linear], name),
        "DataLoader, study recipe": lambda: loader(data, study, name),
        "L-BFGS linear probe": lambda: lbfgs(data, name),
        "scikit-learn logistic": lambda: sklearn(data),
    }
    if scale["scaling"]:
        for count in scale["scale_rows"]:
            ways[f"study recipe, {count:,} rows"] = functools.partial(ours, draw(count, dim), [study], name)
    ours(draw(1_000, dim), [study], name)  # warms up
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            times[way].append(timed(work, name))
    base = statistics.median(times["study recipe, one head"])
    print(f"{rows:,} x {dim} features on {name}")
    for way, found in times.items():
        middle = statistics.median(found)
        print(f"  {way:28s} {middle:8.2f} s ({min(found):.2f} to {max(found):.2f})  {middle / base:6.2f} x one head")
    if output:
        facts = {"hardware": hardware(), "device": name, "rows": rows, "dim": dim, "seeds": seeds, "times": times}
        output.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
