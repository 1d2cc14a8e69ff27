"""One way of getting features, timed in a process of its own: `python ways.py '{"way": "plain", …}'`, JSON on stdout.

Run by `extraction.py`. The peers' ways follow what their own documentation tells a user to do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 64


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


def study(options: dict[str, str]) -> tuple[int, float]:
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
    return len(batches.dataset), time.perf_counter() - started


def plain(options: dict[str, str]) -> tuple[int, float]:
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
    return len(batches.dataset), time.perf_counter() - started


def timm(options: dict[str, str]) -> tuple[int, float]:
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
    return len(batches.dataset), time.perf_counter() - started


def thingsvision(options: dict[str, str]) -> tuple[int, float]:
    """thingsvision's get_extractor and extract_features over picture files (https://vicco-group.github.io/thingsvision)."""
    from PIL import Image
    from thingsvision import get_extractor
    from thingsvision.utils.data import DataLoader, ImageDataset

    pixels, _ = pictures()
    root = Path(os.environ["HEADSTART_BENCH"]) / "pictures"
    root.mkdir(exist_ok=True)
    for row, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{row:06d}.png")
    extractor = get_extractor(options["model"], source="torchvision", device="cpu", pretrained=False)
    data = ImageDataset(root=str(root), out_path=str(root.parent), backend="pt", transforms=extractor.get_transformations())
    batches = DataLoader(dataset=data, batch_size=BATCH, backend="pt")
    started = time.perf_counter()
    extractor.extract_features(batches, module_name="avgpool", flatten_acts=True, output_type="ndarray")
    return len(data), time.perf_counter() - started


def headstart(options: dict[str, str]) -> tuple[int, float]:
    """This tool's extraction into a new features directory: every check, digest, file and fsync included."""
    import tempfile

    from cache.store import FeatureStore
    from extract import jobs
    from extract.config import ExtractConfig
    from extract.run import extract
    from extract.tune import Way

    config = ExtractConfig(
        limit=int(options["rows"]),
        device=options["device"],
        precision=options["precision"],  # type: ignore[arg-type]
        engine=options["engine"],  # type: ignore[arg-type]
        image_size=int(options["image_size"]),
    )
    (job,) = jobs.plan(
        [options["model"]], options["dataset"], "train", [options["weights"]], config, Path(options["data_dir"])
    )
    network = jobs.load(job)
    if options["engine"] != "auto":  # prepared beforehand: what is measured then is the rate of a long run
        network = network.running(Way(options["engine"], network.batch_size))
    pixels = job.images.read(0, min(job.rows, network.batch_size), job.preprocessing.image_size, 1).pixels
    network(pixels)
    with tempfile.TemporaryDirectory(dir=os.environ["HEADSTART_BENCH"]) as folder:
        started = time.perf_counter()
        outcome = extract(job, lambda _: network, FeatureStore(Path(folder)), Silent())
        return outcome.computed, time.perf_counter() - started


class Silent:
    """An observer of the extraction run: what is not used and why goes to stderr, the rest nowhere."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def begin(self, title: str, rows: int, done: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def end(self) -> None: ...


def matmul(options: dict[str, str]) -> dict[str, float]:
    """The device's own rate in FLOP/s, the best of several square products, and the backbone's FLOPs for one image."""
    import torch

    from extract.backbones import get_backbone
    from extract.summary import summarise

    device = device_of(options)
    size = 8192 if device.startswith("cuda") else 2048
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        square = torch.randn(size, size, device=device).to(dtype)
        seconds = []
        for _ in range(8):
            synchronize(device)
            started = time.perf_counter()
            square @ square
            synchronize(device)
            seconds.append(time.perf_counter() - started)
        rates[name] = 2 * size**3 / min(seconds)
    return {**rates, "flops": float(summarise(get_backbone(options["model"]), int(options["image_size"])).flops)}


def device_of(options: dict[str, str]) -> str:
    from extract.devices import resolve

    return resolve(options["device"], "fp32").name


def synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given["way"] == "matmul":
        print(json.dumps(matmul(given)))
    else:
        count, seconds = globals()[given["way"]](given)
        print(json.dumps({"images": count, "pass_s": seconds}))
