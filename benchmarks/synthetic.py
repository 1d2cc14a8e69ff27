"""What the benchmarks' made-up feature sets are called, and how their features would have been computed."""

from headstart.core.cache.key import NamedKey


def synthetic_key(classes: tuple[str, ...]) -> NamedKey:
    """The key of features that no backbone has made, of these classes."""
    return NamedKey(
        backbone="synthetic",
        pooling="average",
        weights="none",
        weights_sha256="00" * 32,
        image_size=224,
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        precision="fp16",
        dataset="synthetic",
        classes=classes,
        feature_version=1,
    )
