"""The key: every field counts, and nothing but a whole key is read back."""

import dataclasses
from typing import Any

import pytest
from cache_samples import make_key
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache.files import canonical_json, parse_json
from headstart.core.cache.key import FeatureKey, NamedKey

OWN = [field.name for field in dataclasses.fields(FeatureKey)]
FIELDS = [field.name for field in dataclasses.fields(NamedKey)]
LATER = ("resize", "crop", "view")
"""Left out where they have the value that held before they were fields."""

# JSON in UTF-8 can't hold lone surrogates
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
keys = st.builds(
    NamedKey,
    backbone=texts,
    pooling=texts,
    weights=texts,
    weights_sha256=texts,
    image_size=st.integers(1, 10_000),
    interpolation=texts,
    mean=st.lists(numbers, max_size=4).map(tuple),
    std=st.lists(numbers, max_size=4).map(tuple),
    precision=texts,
    dataset=texts,
    classes=st.lists(texts, max_size=4).map(tuple),
    feature_version=st.integers(0, 99),
    resize=st.none() | st.integers(1, 10_000),
    crop=texts | st.just("squash"),
    view=texts | st.just(""),
)


def other_value(value: Any) -> Any:
    """Another value of the same type, as close as it gets."""
    if value is None:
        return 256
    if isinstance(value, tuple):
        return (other_value(value[0]), *value[1:])
    return value + {str: "x", int: 1, float: 1e-9}[type(value)]


@pytest.mark.parametrize("field", FIELDS)
def test_digest_changes_with_each_field(field: str) -> None:
    key = make_key()
    changed = dataclasses.replace(key, **{field: other_value(getattr(key, field))})
    assert changed.digest != key.digest
    assert changed.digest8 != key.digest8


@pytest.mark.parametrize("field", OWN)
def test_how_features_are_computed_changes_with_each_field(field: str) -> None:
    key = make_key().feature_key
    assert dataclasses.replace(key, **{field: other_value(getattr(key, field))}).digest8 != key.digest8


def test_names_are_no_part_of_how_features_are_computed() -> None:
    named = make_key(dataset="other", classes=("other", "names"))
    assert named.feature_key == make_key().feature_key
    assert named != named.feature_key


def test_digest_depends_on_the_order_of_the_classes() -> None:
    assert make_key(classes=("one", "zero", "two")).digest != make_key(classes=("zero", "one", "two")).digest


def test_digest_depends_on_where_one_class_name_ends() -> None:
    assert make_key(classes=("ab", "c")).digest != make_key(classes=("a", "bc")).digest


def test_digest_is_the_same_in_every_release() -> None:
    # shards carry the one, folder names the other: should it drift, every feature set on every disk is lost from sight
    assert make_key().digest == "11d3952a46de872fef9f1dfa9a6468577a11f9ae3097e34232aea33fffc9080d"
    assert make_key().feature_key.digest8 == "7b2c90a4"


def test_digest8_is_the_start_of_the_digest() -> None:
    assert make_key().digest[:8] == make_key().digest8


def test_equal_keys_have_equal_digests() -> None:
    # 0 and 0.0 are equal to Python, but not spelled alike in JSON
    whole, decimal = make_key(mean=(0, 0, 0), std=(1, 1, 1)), make_key(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert whole == decimal
    assert whole.digest == decimal.digest


@given(keys)
@settings(max_examples=50)
def test_json_gives_the_same_key_back(key: NamedKey) -> None:
    found = NamedKey.from_json(parse_json(canonical_json(key.to_json())))
    assert found == key
    assert found.digest == key.digest
    own = FeatureKey.from_json(parse_json(canonical_json(key.feature_key.to_json())))
    assert own == key.feature_key == own.feature_key
    assert NamedKey.of(own, key.dataset, key.classes) == key


@pytest.mark.parametrize("field", FIELDS)
def test_differences_name_the_field_what_is_there_and_what_was_asked_for(field: str) -> None:
    there = make_key()
    asked = dataclasses.replace(there, **{field: other_value(getattr(there, field))})
    ours = None if field == "view" else getattr(there, field)
    assert there.differences(asked) == [f"{field} is {ours!r}, not {getattr(asked, field)!r}"]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("", ""),
        ("flip", "flip"),
        ("crop area=0.25-1 ratio=3/4-4/3 seed=12 number=3", "crop 3 of seed 12"),
        (
            "crop area=0.08-1 ratio=3/4-4/3 seed=12 number=3 colour=0.4",
            "crop area=0.08-1 ratio=3/4-4/3 seed=12 number=3 colour=0.4",
        ),
        ("turn 90", "turn 90"),
    ],
)
def test_views_have_words(view: str, words: str) -> None:
    assert make_key(view=view).view_words == words


def test_differences_tell_views_in_words() -> None:
    flip, drawn = make_key(view="flip"), make_key(view="crop area=0.25-1 ratio=3/4-4/3 seed=0 number=2")
    assert flip.differences(drawn) == ["view is 'flip', not 'crop 2 of seed 0'"]
    assert drawn.differences(make_key()) == ["view is 'crop 2 of seed 0', not None"]


def test_the_plain_key_of_a_view_is_that_of_the_pictures_as_they_are() -> None:
    key = make_key().feature_key
    assert dataclasses.replace(key, view="flip").plain == key == key.plain
    assert "view" not in key.to_json()


def test_differences_come_in_field_order() -> None:
    changed = make_key(precision="bf16", backbone="vgg16", image_size=32)
    found = make_key().differences(changed)
    assert [text.split(" is ")[0] for text in found] == ["backbone", "image_size", "precision"]


def test_equal_keys_have_no_differences() -> None:
    assert make_key().differences(make_key()) == []


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in LATER])
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    found = make_key().to_json()
    del found[field]
    with pytest.raises(ValueError, match=rf"\['{field}'\] are missing or unknown"):
        NamedKey.from_json(found)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\['colour'\] are missing or unknown"):
        NamedKey.from_json({**make_key().to_json(), "colour": "green"})


@dataclasses.dataclass(frozen=True)
class Mistyped:
    field: str
    value: Any

    def __str__(self) -> str:
        return f"{self.field}={self.value!r}"


MISTYPED = [
    *(Mistyped(field, 5) for field in FIELDS if isinstance(getattr(make_key(), field), str)),
    *(Mistyped(field, None) for field in FIELDS),
    Mistyped("image_size", "224"),
    Mistyped("image_size", 224.0),
    Mistyped("image_size", True),
    Mistyped("feature_version", "1"),
    Mistyped("mean", "0.485"),
    Mistyped("mean", 0.485),
    Mistyped("mean", ["0.485", "0.456", "0.406"]),
    Mistyped("mean", [None, None, None]),
    Mistyped("std", {"0": 0.229}),
    Mistyped("std", [[0.229]]),
    Mistyped("classes", "abc"),
    Mistyped("classes", [0, 1, 2]),
    Mistyped("classes", [None]),
]


@pytest.mark.parametrize("case", MISTYPED, ids=str)
def test_a_mistyped_field_is_refused_by_name(case: Mistyped) -> None:
    with pytest.raises(ValueError, match=case.field):
        NamedKey.from_json({**make_key().to_json(), case.field: case.value})


@dataclasses.dataclass(frozen=True)
class Weights:
    weights: str
    untrained: bool


@pytest.mark.parametrize(
    "case", [Weights("random:0", True), Weights("IMAGENET1K_V2", False), Weights("file", False)], ids=lambda c: c.weights
)
def test_only_random_weights_count_as_untrained(case: Weights) -> None:
    assert make_key(weights=case.weights).untrained is case.untrained
