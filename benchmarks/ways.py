"""One way of getting features, timed in a process of its own: `python ways.py '{"way": "plain", …}'`, JSON on stdout.

Run by `extraction.py`, which says all of what it asks for as text. The peers' ways follow what their own documentation
tells a user to do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rates import device_of, matmul, synchronize

if TYPE_CHECKING:
    from headstart.core.extract.images import Images
    from headstart.core.extract.job import Job, ShardsDone
    from headstart.core.extract.network.extractor import FeatureExtractor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 64
RANDOM = "random"
"""The data set of random pixels of CIFAR-10's size: a network's time does not depend on the values."""

Found = dict[str, Any]
"""What a way says: `images`, the seconds `pass_s` of one pass over them, and what else is worth keeping."""


def pictures() -> tuple[Any, Any]:
    """What `extraction.py` keeps for the ways: uint8 (n, H, W, 3), and labels (n,)."""
    import numpy as np

    folder = Path(os.environ["HEADSTART_BENCH"])
    return np.load(folder / "pixels.npy"), np.load(folder / "labels.npy")


class Pictures:
    """A torch data set of PIL pictures, as torchvision's own."""

    def __init__(self, transform: Any) -> None:
        self.pixels, self.labels = pictures()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[row])), int(self.labels[row])


def torchvision_transform(options: dict[str, str]) -> Any:
    from torchvision import transforms

    size = int(options["image_size"])
    steps = [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return transforms.Compose(steps)


def torchvision_model(options: dict[str, str]) -> Any:
    """The backbone with its classifier cut off, pooled features (n, D)."""
    import torchvision
    from torch import nn

    model = getattr(torchvision.models, options["model"])(weights=None)
    if hasattr(model, "fc"):
        model.fc = nn.Identity()
        return model.requires_grad_(False)
    return nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)


def loader(transform: Any, shuffle: bool) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(Pictures(transform), batch_size=BATCH, shuffle=shuffle, num_workers=2)


def study(options: dict[str, str]) -> Found:
    """An epoch of the published study: DataLoader, PIL, backbone and head forward, the head backward, fp32."""
    import torch
    from torch import nn

    device = device_of(options)
    body = torchvision_model(options).to(device)
    size = int(options["image_size"])
    dim = body(torch.zeros(2, 3, size, size, device=device)).shape[1]
    head = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10), nn.Sigmoid()).to(device)
    adam, loss = torch.optim.Adam(head.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    batches = loader(torchvision_transform(options), shuffle=True)
    started = time.perf_counter()
    for pixels, labels in batches:
        adam.zero_grad()
        loss(head(body(pixels.to(device))), labels.to(device)).backward()
        adam.step()
    synchronize(device)
    return {"images": len(batches.dataset), "pass_s": time.perf_counter() - started}


def plain(options: dict[str, str]) -> Found:
    """Cached features by hand: the same loader, the backbone once in eager fp32, numpy.save."""
    import numpy as np
    import torch

    device = device_of(options)
    body, batches = torchvision_model(options).eval().to(device), loader(torchvision_transform(options), False)
    body(torch.zeros(2, 3, 64, 64, device=device))
    started = time.perf_counter()
    with torch.inference_mode():
        found = [body(pixels.to(device)).cpu().numpy() for pixels, _ in batches]
    np.save(Path(os.environ["HEADSTART_BENCH"]) / "plain.npy", np.concatenate(found))
    return {"images": len(batches.dataset), "pass_s": time.perf_counter() - started}


def timm(options: dict[str, str]) -> Found:
    """timm's feature extraction: create_model(num_classes=0) and the transform of its own data configuration
    (https://huggingface.co/docs/timm/feature_extraction)."""
    import timm
    import torch

    device = device_of(options)
    name = {"vgg16": "vgg16.tv_in1k", "vgg19": "vgg19.tv_in1k"}.get(options["model"], options["model"])
    model = timm.create_model(name, pretrained=False, num_classes=0).eval().to(device)
    config = timm.data.resolve_model_data_config(model)
    batches = loader(timm.data.create_transform(**config, is_training=False), False)
    with torch.inference_mode():
        model(torch.zeros(2, 3, 224, 224, device=device))
        started = time.perf_counter()
        for pixels, _ in batches:
            model(pixels.to(device)).cpu()
    return {"images": len(batches.dataset), "pass_s": time.perf_counter() - started}


def thingsvision(options: dict[str, str]) -> Found:
    """thingsvision's get_extractor and extract_features over picture files (https://vicco-group.github.io/thingsvision)."""
    from PIL import Image
    from thingsvision import get_extractor
    from thingsvision.utils.data import DataLoader, ImageDataset

    pixels, _ = pictures()
    root = Path(os.environ["HEADSTART_BENCH"]) / "pictures"
    root.mkdir(exist_ok=True)
    for row, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{row:06d}.png")
    kind = device_of(options).partition(":")[0]
    extractor = get_extractor(options["model"], source="torchvision", device=kind, pretrained=False)
    data = ImageDataset(root=str(root), out_path=str(root.parent), backend="pt", transforms=extractor.get_transformations())
    batches = DataLoader(dataset=data, batch_size=BATCH, backend="pt")
    started = time.perf_counter()
    extractor.extract_features(batches, module_name="avgpool", flatten_acts=True, output_type="ndarray")
    return {"images": len(data), "pass_s": time.perf_counter() - started}


def headstart(options: dict[str, str]) -> Found:
    """This tool's extraction into a new features directory: every check, digest, file and fsync included."""
    rows = int(options["rows"])
    return timed_extraction(planned(options, "train", rows), options)


def whole(options: dict[str, str]) -> Found:
    """The same over the first `rows` images of all splits one after the other; random pixels where there are fewer."""
    from headstart.core.cache.errors import HeadstartError

    rows = int(options["rows"])
    try:
        jobs = planned(options, None, rows)
        for job in jobs:
            job.images.read(job.rows - 1, job.rows, job.preprocessing, 1)  # files of a data set may be missing
    except HeadstartError:
        jobs = []
    if sum(job.rows for job in jobs) < rows:
        jobs = planned(options | {"dataset": RANDOM}, None, rows)
    return timed_extraction(jobs, options)


def planned(options: dict[str, str], split: str | None, rows: int) -> list[Job]:
    """A job for each split until there are `rows` images."""
    import dataclasses

    from headstart.core.extract import plan as jobs
    from headstart.core.extract.config import ExtractConfig, ExtractionRequest

    config = ExtractConfig(
        device=options["device"],
        precision=options["precision"],  # type: ignore[arg-type]
        engine=options["engine"],  # type: ignore[arg-type]
        image_size=int(options["image_size"]),
        batch_size=None if options["batch_size"] == "auto" else int(options["batch_size"]),
    )
    random = options["dataset"] == RANDOM
    dataset, split = ("digits", "train") if random else (options["dataset"], split)  # a job needs some data set's name
    asked = ExtractionRequest((options["model"],), dataset, split, (options["weights"],), config=config)
    found = jobs.plan(asked, Path(options["data_dir"]))
    if random:
        found = [dataclasses.replace(found[0], images=random_images(rows))]
    kept = []
    for job in found:
        if rows > 0:
            kept.append(
                dataclasses.replace(job, config=dataclasses.replace(config, weights=job.config.weights, limit=rows))
            )
            rows -= kept[-1].rows
    return kept


def timed_extraction(found: list[Job], options: dict[str, str]) -> Found:
    """Seconds of `extract` over the jobs, by one network that was prepared and warmed up before."""
    import dataclasses
    import tempfile

    from headstart.core.cache.store import FeatureStore
    from headstart.core.extract import plan as jobs
    from headstart.core.extract.run import extract

    network = prepared(jobs.load(found[0]), found[0], options["engine"])
    if options["engine"] != "auto":  # nothing is left to be tried out within the time
        size = network.batch_size
        found = [dataclasses.replace(job, config=dataclasses.replace(job.config, batch_size=size)) for job in found]
    with tempfile.TemporaryDirectory(dir=os.environ["HEADSTART_BENCH"]) as folder:
        store = FeatureStore(Path(folder))
        started = time.perf_counter()
        outcomes = [extract(job, lambda _: network, store, Silent(), found[i + 1 :]) for i, job in enumerate(found)]
        seconds = time.perf_counter() - started
        made = outcomes[0].features.manifest.provenance
    images = found[0].images
    pixels = "random 32 x 32 pixels" if images.name == RANDOM else images.name
    chosen = {"engine": made.engine, "batch_size": made.batch_size, "precision": found[0].device.precision}
    return {"images": sum(outcome.computed for outcome in outcomes), "pass_s": seconds, "pixels": pixels, **chosen}


def prepared(network: FeatureExtractor, job: Job, engine: str) -> FeatureExtractor:
    """The network by this engine, after one batch. Compiled beforehand, its rate is that of a long run."""
    from headstart.core.extract.network.interface import EngineConfig

    if engine != "auto":
        network = network.running(EngineConfig(engine, network.batch_size))
    network(job.images.read(0, min(job.rows, network.batch_size), job.preprocessing, 1).pixels)
    return network


def random_pixels(rows: int) -> tuple[Any, Any]:
    """uint8 (rows, 32, 32, 3) and labels (rows,), from a seed."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, rows)


def random_images(rows: int) -> Images:
    """Random pixels as a data set."""
    from headstart.core.extract.images.arrays import ArrayImages

    pixels, labels = random_pixels(rows)

    def load(start: int, stop: int) -> tuple[Any, Any]:
        return pixels[start:stop], labels[start:stop]

    return ArrayImages(RANDOM, "train", tuple("0123456789"), rows, "random pixels", load)


class Silent:
    """An observer of the extraction run: what is not used and why goes to stderr, the rest nowhere."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def begin(self, title: str, rows: int, done: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def shards(self, done: ShardsDone) -> None: ...
    def end(self) -> None: ...


if __name__ == "__main__":
    from headstart.core.cache.errors import HeadstartError  # imports nothing: a peer's Python has none of our packages

    given = json.loads(sys.argv[1])
    ways = {way.__name__: way for way in (study, plain, timm, thingsvision, headstart, whole, matmul)}
    try:
        print(json.dumps(ways[given["way"]](given)))
    except HeadstartError as error:
        sys.exit(str(error))
