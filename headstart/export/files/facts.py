"""What an exported file says of itself: a text for each fact, as ONNX keeps them (`metadata_props`); values are JSON.

format, version       what these facts are, "headstart graph" and 1
classes               class names in the order of the probabilities; `absent` are indices of those never predicted
input                 "pixels": uint8 (N, H, W, 3) of any size; "resized": of the size that the backbone sees
precision             fp32, fp16 or int8
transform             what is done to a picture, by value and in words
key                   how the features are computed: backbone, pooling, weights and their SHA-256, transform
head_sha256           of head.safetensors; `temperature` is what its scores are divided by
licence               of the backbone's weights
measured              how the file was checked when it was made
test_pictures         small PNG and JPEG files in base64 with the probabilities (C,) expected, `tolerance` apart at most
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, cast

from headstart.core.cache.files import parse_json
from headstart.core.cache.key import NamedKey
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.requests import EXPORT_PRECISIONS, INPUTS

FORMAT, VERSION = "headstart graph", 1
STRICT = {"fp32": 1e-4, "fp16": 0.02, "int8": 0.1}
"""How far a file's own probabilities may be from those that stand in it, where another processor or another ONNX Runtime
adds up in another order."""
MOST_BYTES = 2**22
"""Of a test picture; those that are made have some kilobytes."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A test picture: a PNG or JPEG file, and the probabilities (C,) that the file gives for it. `predict` are those of
    `headstart predict` in fp32, which are the same but for what the precision costs."""

    name: str
    content: bytes
    expected: tuple[float, ...]
    predict: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a file says of itself; `made_by` is headstart's version, `made_from` says whose the test pictures are."""

    classes: tuple[str, ...]
    absent: tuple[int, ...]
    input: str
    precision: str
    transform: Mapping[str, Any]
    key: Mapping[str, Any]
    head_sha256: str
    temperature: float
    licence: str
    made_by: str
    made_from: str
    tolerance: float
    pictures: tuple[Picture, ...]
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_texts(self) -> dict[str, str]:
        """As they stand in a file."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "pictures"}
        pictures = [{**dataclasses.asdict(one), "content": base64.b64encode(one.content).decode()} for one in self.pictures]
        values = {**own, "test_pictures": pictures, "weights_sha256": self.key["weights_sha256"]}
        texts = {name: value if isinstance(value, str) else _json(value) for name, value in values.items()}
        return {"format": FORMAT, "version": str(VERSION), **texts}

    @classmethod
    def of_texts(cls, found: Mapping[str, str]) -> Facts:
        """Those of a file from anywhere. Raises ValueError, KeyError, TypeError for what `to_texts` would not have made."""
        form = (found.get("format"), found.get("version"))
        if form != (FORMAT, str(VERSION)):
            raise ValueError(f"format {form[0]!r} version {form[1]!r}, expected {FORMAT!r} {VERSION}")
        read: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.name != "pictures":
                read[field.name] = _value(field.name, found[field.name])
        for name in ("classes", "absent"):
            read[name] = tuple(read[name])
        NamedKey.from_json(read["key"])
        Preprocessing(**{name: value for name, value in read["transform"].items() if name != "words"})
        for name, known in (("input", INPUTS), ("precision", EXPORT_PRECISIONS)):
            if read[name] not in known:
                raise ValueError(f"{name} is {read[name][:80]!r}, expected {' or '.join(known)}")
        if not 0 < read["tolerance"] <= STRICT[read["precision"]]:
            raise ValueError(f"tolerance is {read['tolerance']}, expected above 0 and at most {STRICT[read['precision']]}")
        pictures = tuple(_picture(one, len(read["classes"])) for one in parse_json(found["test_pictures"].encode()))
        if not pictures:
            raise ValueError("there are no test pictures")
        return cls(**read, pictures=pictures)


_JSON: Mapping[str, type] = {
    **dict.fromkeys(("classes", "absent"), list),
    **dict.fromkeys(("transform", "key", "measured"), dict),
    **dict.fromkeys(("temperature", "tolerance"), float),
}


_MEMBERS: Mapping[str, type] = {"classes": str, "absent": int}


def _value(name: str, text: str) -> Any:
    """A fact as it was before it became a text."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is {text!r}, expected a text")
    if name not in _JSON:
        return text
    value: Any = parse_json(text.encode())
    kind, member = _JSON[name], _MEMBERS.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is {str(value)[:80]!r}, expected {kind.__name__}")
    if member is not None and not all(type(one) is member for one in cast(list[Any], value)):
        raise ValueError(f"{name} is {str(value)[:80]!r}, expected {member} in it")
    return value


def _picture(found: Mapping[str, Any], classes: int) -> Picture:
    content = base64.b64decode(found["content"], validate=True)
    if len(content) > MOST_BYTES:
        raise ValueError(f"a test picture has {len(content):,} bytes, expected at most {MOST_BYTES:,}")
    return Picture(str(found["name"]), content, _shares(found["expected"], classes), _shares(found["predict"], classes))


def _shares(found: Any, classes: int) -> tuple[float, ...]:
    shares = tuple(float(value) for value in found)
    if len(shares) != classes or not all(math.isfinite(share) for share in shares):
        raise ValueError(f"{len(shares)} probabilities are expected of {classes} classes")
    return shares


def _json(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=True, allow_nan=False
    )  # onnx takes no lone surrogates, of names that are no UTF-8
