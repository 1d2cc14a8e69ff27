"""A head on disk: what is read back is what was written, to the bit, or an error."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from heads_samples import CLASSES, axis_head, blobs, make_checkpoint, make_config, make_key, trained_head
from heads_samples import one_thread as one_thread
from torch import Tensor

from headstart.core.cache.errors import RunDamaged, RunNotFound
from headstart.core.cache.files import sha256_file
from headstart.core.cache.key import NamedKey
from headstart.core.heads import checkpoint
from headstart.core.heads.checkpoint import Checkpoint, load, save
from headstart.core.heads.confidence import Confidence
from headstart.core.heads.config import HeadName
from headstart.core.heads.kinds import NAMES
from headstart.core.heads.kinds.linear import Linear
from headstart.core.heads.training.train import probabilities


class ShortKey(NamedKey):
    """A key as a program of ours might write it that knows one field less."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in super().to_json().items() if name != "precision"}


class Unheard(Linear):
    """A head of a kind that we don't have."""

    kind = "forest"


def same_checkpoint(one: Checkpoint, other: Checkpoint) -> bool:
    """Equal to the bit in all that is kept."""
    facts = [(c.classes, c.key, c.weights_from, c.head.kind, c.head.config, c.head.dim, c.head.rows) for c in (one, other)]
    ours, theirs = one.head.state_dict(), other.head.state_dict()
    return facts[0] == facts[1] and ours.keys() == theirs.keys() and all(same_bits(ours[k], theirs[k]) for k in ours)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.numpy().tobytes() == other.numpy().tobytes()


def loaded_or_refused(path: Path) -> Checkpoint | str:
    """The head, or what the error says."""
    try:
        return load(path)
    except RunDamaged as error:
        return str(error)


def written(path: Path, found: Checkpoint) -> bytes:
    save(found, path)
    return path.read_bytes()


@pytest.mark.parametrize("recipe", ["study", "standard"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_head_read_back_gives_the_same_probabilities_to_the_bit(kind: HeadName, recipe: str, tmp_path: Path) -> None:
    found = make_checkpoint(trained_head(kind, recipe=recipe, seed=4))
    save(found, tmp_path / "head.safetensors")
    again = load(tmp_path / "head.safetensors")
    assert same_checkpoint(again, found)
    features = blobs(20, seed=1).features
    expected = probabilities(found.head, features, "cpu")
    assert probabilities(again.head, features, "cpu").tobytes() == expected.tobytes()


def test_a_head_read_back_is_ready_for_use(tmp_path: Path) -> None:
    save(make_checkpoint(trained_head("mlp", dropout=0.5)), tmp_path / "head.safetensors")
    head = load(tmp_path / "head.safetensors").head
    assert not head.training
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_names_of_classes_may_be_in_any_script(tmp_path: Path) -> None:
    names = ("Kätzchen", "犬", 'a "frog"\n')
    found = make_checkpoint(classes=names, key=make_key(classes=names), weights_from="/home/jörg/w.pth")
    save(found, tmp_path / "head.safetensors")
    assert same_checkpoint(load(tmp_path / "head.safetensors"), found)


def test_saving_returns_the_sha256_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    assert save(make_checkpoint(), path) == sha256_file(path)


def test_the_same_head_makes_the_same_file(tmp_path: Path) -> None:
    # several times: safetensors writes the entries of its metadata in an order of its own
    assert len({written(tmp_path / "head.safetensors", make_checkpoint()) for _ in range(10)}) == 1


def test_the_file_is_plain_safetensors_that_say_what_they_are(tmp_path: Path) -> None:
    found = make_checkpoint(trained_head("mlp"))
    content = written(tmp_path / "head.safetensors", found)
    size = int.from_bytes(content[:8], "little")
    facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["headstart"])
    assert facts["format"] == "headstart head"
    assert facts["classes"] == list(CLASSES)
    assert facts["key"]["backbone"] == "resnet50"
    assert facts["config"]["hidden"] == 8
    tensors = safetensors.torch.load_file(tmp_path / "head.safetensors")
    state = found.head.state_dict()
    assert set(tensors) == set(state)
    assert all(same_bits(tensors[name], value) for name, value in state.items())


# ------------------------------------------------------------------------------------------------------------- damage


def test_any_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    found = make_checkpoint()
    path = tmp_path / "head.safetensors"
    content = written(path, found)
    header = 8 + int.from_bytes(content[:8], "little")
    draw = random.Random(0)
    positions = [draw.randrange(header) for _ in range(250)] + [draw.randrange(header, len(content)) for _ in range(150)]
    noticed = 0
    for position in positions:
        altered = bytearray(content)
        altered[position] ^= 1 << draw.randrange(8)
        path.write_bytes(altered)
        outcome = loaded_or_refused(path)
        noticed += isinstance(outcome, str)
        assert isinstance(outcome, str) or same_checkpoint(outcome, found), f"byte {position} altered, nothing was said"
    assert noticed > 380  # harmless is white space in the header, and no more


def test_a_file_cut_off_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    content = written(path, make_checkpoint())
    for size in {0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 100, len(content) - 4, len(content) - 1}:
        path.write_bytes(content[:size])
        with pytest.raises(RunDamaged, match="not a head of ours, or altered"):
            load(path)


@pytest.mark.parametrize("more", [b"\0", b"more", bytes(1000)], ids=len)
def test_a_file_with_something_behind_it_is_noticed(more: bytes, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(written(path, make_checkpoint()) + more)
    with pytest.raises(RunDamaged, match="not a head of ours, or altered"):
        load(path)


def test_two_tensors_that_changed_places_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    content = written(path, make_checkpoint())
    swapped = content.replace(b'"mean"', b'"tmp_"').replace(b'"std"', b'"mean"').replace(b'"tmp_"', b'"std"')
    assert len(swapped) == len(content)
    path.write_bytes(swapped)
    with pytest.raises(RunDamaged, match="SHA-256 of its contents is"):
        load(path)


@dataclasses.dataclass(frozen=True)
class Stranger:
    """Bytes that are no head of ours."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


STRANGERS = [
    Stranger("text", b"not a head at all"),
    Stranger("empty safetensors", safetensors.torch.save({})),
    Stranger("safetensors of others", safetensors.torch.save({"weight": torch.zeros(3)}, {"format": "pt"})),
    Stranger("a header that is a list", (2).to_bytes(8, "little") + b"[]"),
    Stranger("a header of null", (4).to_bytes(8, "little") + b"null"),
    Stranger("a header beyond the file", (2**62).to_bytes(8, "little") + b"{}"),
    Stranger("deep nesting", (10**5).to_bytes(8, "little") + b"[" * 10**5),
    Stranger("a pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94."),
]


@pytest.mark.parametrize("case", STRANGERS, ids=str)
def test_a_strangers_file_is_refused_with_the_way_to_a_new_one(case: Stranger, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(case.content)
    with pytest.raises(RunDamaged, match=r"head\.safetensors: not a head of ours.*`headstart train-head` makes a new one"):
        load(path)


SURE = Confidence(1.5, np.array([0.1, 0.5, 0.9], dtype=np.float32), 3)


def test_how_sure_a_head_may_be_is_kept_with_it(tmp_path: Path) -> None:
    save(dataclasses.replace(make_checkpoint(axis_head()), confidence=SURE), tmp_path / "head.safetensors")
    found = load(tmp_path / "head.safetensors").confidence
    assert found is not None
    assert (found.temperature, found.rows, found.of_label.tolist()) == (1.5, 3, SURE.of_label.tolist())


def test_a_head_without_confidence_is_of_the_version_that_older_programs_read(tmp_path: Path) -> None:
    save(make_checkpoint(axis_head()), tmp_path / "head.safetensors")
    assert load(tmp_path / "head.safetensors").confidence is None
    assert b'\\"version\\":1' in (tmp_path / "head.safetensors").read_bytes()


def test_a_temperature_that_is_none_is_refused(tmp_path: Path) -> None:
    bad = dataclasses.replace(SURE, temperature=0.0)
    save(dataclasses.replace(make_checkpoint(axis_head()), confidence=bad), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match=r"temperature 0\.0, expected a number above 0"):
        load(tmp_path / "head.safetensors")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A module constant changed while the file is written: a whole file, of another program or another time."""

    name: str
    value: object
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Foreign("VERSION", 4, r"version 4, expected 'headstart head' 3"),
        Foreign("FORMAT", "footstart head", r"format 'footstart head' version 3, expected 'headstart head' 3"),
    ],
    ids=lambda case: case.name,
)
def test_another_format_or_version_is_refused_by_name(
    case: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(checkpoint, case.name, case.value)
        save(dataclasses.replace(make_checkpoint(axis_head()), confidence=SURE), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match=case.message):
        load(tmp_path / "head.safetensors")


def test_a_missing_field_of_the_key_is_refused_by_name(tmp_path: Path) -> None:
    short = ShortKey(**make_key().to_json())
    save(make_checkpoint(key=short), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match=r"key: fields \['precision'\] are missing or unknown"):
        load(tmp_path / "head.safetensors")


def test_an_unknown_kind_of_head_is_refused_by_name(tmp_path: Path) -> None:
    save(make_checkpoint(Unheard(4, 3, make_config("linear"), 1)), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match="forest"):
        load(tmp_path / "head.safetensors")


def test_parameters_that_do_not_fit_the_head_are_refused(tmp_path: Path) -> None:
    head = axis_head()
    head.dim = 99  # what the file then says of itself
    save(make_checkpoint(head), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match=r"Error\(s\) in loading state_dict for Linear"):
        load(tmp_path / "head.safetensors")


def test_class_names_that_do_not_fit_the_head_are_refused(tmp_path: Path) -> None:
    save(make_checkpoint(classes=("cat", "dog")), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match="not a head of ours"):
        load(tmp_path / "head.safetensors")


def test_a_missing_file_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        RunNotFound, match=r"nowhere: can't be read \(No such file.*expected a head\.safetensors or the run's"
    ):
        load(tmp_path / "nowhere")


def test_a_folder_is_no_head(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"can't be read \(Is a directory\)"):
        load(tmp_path)


@pytest.mark.parametrize("kind", NAMES)
def test_a_file_holds_all_that_the_head_learned_and_its_standardisation(kind: HeadName, tmp_path: Path) -> None:
    save(make_checkpoint(trained_head(kind)), tmp_path / "head.safetensors")
    kept = safetensors.torch.load_file(tmp_path / "head.safetensors")
    learned = {
        "mlp": {"hidden.weight", "hidden.bias", "out.weight", "out.bias"},
        "knn": {"known", "labels"},
        "prototype": {"means"},
    }.get(kind, {"out.weight", "out.bias"})
    assert set(kept) == learned | {"mean", "std"}
    assert all(torch.isfinite(value).all() for value in kept.values())


# ---------------------------------------------------------------------------------------- classes without a training row


@pytest.mark.parametrize("kind", NAMES)
def test_a_head_read_back_knows_the_classes_that_it_never_predicts(kind: HeadName, tmp_path: Path) -> None:
    head = trained_head(kind, blobs(40, classes=2))  # of three
    save(make_checkpoint(head), tmp_path / "head.safetensors")
    again = load(tmp_path / "head.safetensors").head
    assert again.absent == head.absent == (2,)
    features = blobs(30, seed=1).features
    assert probabilities(again, features, "cpu").tobytes() == probabilities(head, features, "cpu").tobytes()
    assert (probabilities(again, features, "cpu")[:, 2] == 0).all()


def version_of(path: Path) -> int:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    version: int = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["headstart"])["version"]
    return version


def test_only_a_head_that_an_older_program_would_use_wrongly_has_another_version(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save(make_checkpoint(trained_head("mlp")), path)
    assert version_of(path) == 1
    save(make_checkpoint(trained_head("mlp", blobs(40, classes=2))), path)
    assert version_of(path) == 2


@pytest.mark.parametrize("absent", [(3,), (-1,), (0, 1, 2)])
def test_absent_classes_that_are_none_are_refused(absent: tuple[int, ...], tmp_path: Path) -> None:
    head = axis_head()
    head.absent = absent
    save(make_checkpoint(head), tmp_path / "head.safetensors")
    with pytest.raises(RunDamaged, match=r"absent classes \[.*\], expected some of 0 to 2"):
        load(tmp_path / "head.safetensors")
