"""Run a frozen backbone over your images once, keep the features, train heads on them in seconds: the Python API.

    >>> import headstart as hs
    >>> features = hs.extract("folder:pets", model="resnet50")  # doctest: +SKIP
    >>> head = hs.train(features, head="mlp", seed=0)  # doctest: +SKIP
    >>> head.predict(["new.jpg"])  # doctest: +SKIP

`extract` and `open` give features as arrays, `train` and `load` a `Classifier` of pictures, `Backbone` and `Head` are
scikit-learn estimators. Whatever a user can cause is raised as a `HeadstartError`, which is also the builtin error that
fits: FileNotFoundError, ValueError and so on. Progress goes to an `Observer`.

What joins the rooms of `headstart.core` lies here too. Importing this package imports nothing else: each name is imported
when it is first used (PEP 562).
"""

import importlib

TYPE_CHECKING = False  # as type checkers know it; importing typing would take longer than all else here
if TYPE_CHECKING:
    from headstart.api.classifier import Classifier as Classifier
    from headstart.api.classifier import load as load
    from headstart.api.estimator import Head as Head
    from headstart.api.features import Features as Features
    from headstart.api.features import extract as extract
    from headstart.api.features import open as open  # noqa: A004  # read as headstart.open
    from headstart.api.train import train as train
    from headstart.api.transformer import Backbone as Backbone
    from headstart.core.cache.errors import HeadstartError as HeadstartError
    from headstart.core.heads.runs import Run as Run
    from headstart.observer import Observer as Observer

__all__ = [
    "Backbone",
    "Classifier",
    "Features",
    "Head",
    "HeadstartError",
    "Observer",
    "Run",
    "extract",
    "load",
    "open",
    "train",
]

_MODULES = {
    "Backbone": "headstart.api.transformer",
    "Classifier": "headstart.api.classifier",
    "Features": "headstart.api.features",
    "Head": "headstart.api.estimator",
    "HeadstartError": "headstart.core.cache.errors",
    "Observer": "headstart.observer",
    "Run": "headstart.core.heads.runs",
    "extract": "headstart.api.features",
    "load": "headstart.api.classifier",
    "open": "headstart.api.features",
    "train": "headstart.api.train",
}


if not TYPE_CHECKING:  # a type checker finds names that are not there

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
