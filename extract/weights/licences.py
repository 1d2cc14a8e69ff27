"""Under which licence a backbone's weights are, as far as it is known."""

_TORCHVISION = (
    "BSD-3-Clause (torchvision, which says that weights may have terms of their own, from the data they were trained on: "
    "ImageNet is for non-commercial research and education)"
)
"""https://github.com/pytorch/vision#pre-trained-model-license; https://www.image-net.org/download.php"""


def licence(label: str) -> str:
    """The licence of weights by their label in a key: an enum name, `random:SEED`, `file` or `file#MEMBER`."""
    if label.startswith("random"):
        return "none: the weights are random numbers"
    if label.partition("#")[0] == "file":
        return "unknown: the weights are from a file, ask whoever made it"
    return _TORCHVISION
