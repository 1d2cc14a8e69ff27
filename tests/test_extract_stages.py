"""The stages from rows to features, and the stream of all of them, give the same features."""

from pathlib import Path

import numpy as np
import pytest
from extract_samples import file_images

from headstart.core.cache.errors import ImageUnreadable
from headstart.core.extract.backbones import get_backbone
from headstart.core.extract.network.devices import Device
from headstart.core.extract.network.extractor import FeatureExtractor, build
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.stages import stages


def untrained(batch_size: int) -> FeatureExtractor:
    body = get_backbone("resnet18").body()
    return build(body, Preprocessing(32), Device("cpu", "fp32", "this CPU"), batch_size)


def test_the_stream_gives_the_features_of_the_stages_batch_by_batch(tmp_path: Path) -> None:
    images, extractor = file_images(tmp_path, 7), untrained(3)
    side = stages(images, extractor, workers=1)
    found = list(side.stream(5))
    assert [len(features) for features in found] == [3, 2]
    expected = [extractor(side.read(start, stop)) for start, stop in ((0, 3), (3, 5))]
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


def test_a_picture_that_can_not_be_read_ends_the_stream(tmp_path: Path) -> None:
    images = file_images(tmp_path, 7)
    (tmp_path / "04.png").write_bytes(b"text")
    stream = stages(images, untrained(3), workers=1).stream(7)
    with pytest.raises(ImageUnreadable, match=r"04\.png: can't be decoded \(.*\)$"):  # no option leaves it out here
        list(stream)
