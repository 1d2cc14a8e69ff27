"""Which transform pictures go through before a backbone: the one that its weights were published with, or the whole picture
squashed to a square."""

from headstart.core.cache.key import FeatureKey
from headstart.core.extract.backbones import Backbone, Preset
from headstart.core.extract.config import ExtractConfig
from headstart.core.extract.images import Images
from headstart.core.extract.images.arrays import ArrayImages
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.weights import Weights


def chosen(config: ExtractConfig, backbone: Backbone, weights: Weights, images: Images | None) -> Preprocessing:
    """The transform that a run is asked for, at the weights' own size where none is named.

    `auto` is `preset`, but `squash` for rows of one small size: a crop would take an eighth of a picture of 32 px off each
    side, which its subject mostly fills, to keep a shape that is square already. None are anybody's pictures.
    """
    preset = preset_of(backbone, weights)
    small = isinstance(images, ArrayImages)
    if config.transform == "squash" or (config.transform == "auto" and small):
        return Preprocessing(config.image_size or preset.crop, mean=preset.mean, std=preset.std)
    return preset.at(config.image_size)


def preset_of(backbone: Backbone, weights: Weights) -> Preset:
    """The transform of weights by their name; of a file by its SHA-256, which may be that of a published one. Others have
    the architecture's first: random weights, and people's own."""
    files = backbone.checkpoints
    same = (name for name, file in files.items() if file.sha256 and weights.sha256.startswith(file.sha256))
    label = weights.label if weights.label in files else next(same, weights.label)
    return (backbone.preset and backbone.preset(label)) or FIRST


def goes_through(key: FeatureKey, backbone: Backbone) -> bool:
    """Whether features are of pictures that went through this backbone's transform: that of its tag where their weights are
    random or a file's, which have none of their own."""
    preset = preset_of(backbone, Weights(key.weights, key.weights_sha256, ""))
    own = Preprocessing(key.image_size, mean=preset.mean, std=preset.std)
    try:
        return Preprocessing.of_key(key) == (own if key.transform == "squash" else preset.at(key.image_size))
    except ValueError:  # of a headstart to come
        return False


FIRST = Preset(256, 224, Preprocessing.interpolation, Preprocessing.mean, Preprocessing.std)
"""What torchvision evaluated its first weights with (references/classification/presets.py)."""
