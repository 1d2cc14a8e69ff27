"""A backbone in scikit-learn: rows cached by content, clones, grids, pickles, names of features."""

import dataclasses
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from api_samples import SMALL, Passes, arrays, coloured, here, passes, pets
from extract_samples import encoded
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import headstart as hs
from headstart.core.cache.errors import ArgumentInvalid, FeaturesInvalid, ImageUnreadable, WeightsMismatch, WeightsNotFound
from headstart.core.extract.config import Pool
from headstart.core.extract.featurise import featurise, outside
from headstart.core.extract.network.extractor import FeatureExtractor
from headstart.core.extract.pictures.preprocess import Preprocessing
from headstart.core.extract.restore import restore

__all__ = ["here", "passes"]


def small(**changes: object) -> hs.Backbone:
    return hs.Backbone("resnet18", **{**SMALL, **changes})


@pytest.mark.usefixtures("passes")
def test_a_row_is_what_extract_keeps_and_predict_computes(here: Path) -> None:
    pets(here / "pets", each=4)
    features = hs.extract("folder:pets", model="resnet18", **SMALL)
    files = [here / "pets" / name for name in features.ids]
    backbone = small()
    rows = backbone.transform(files)
    assert (rows.shape, rows.dtype) == ((12, backbone.dim), np.float32)
    assert np.array_equal(rows, features.X)
    extractor = restore(features.key, features.sets[0].manifest.provenance.weights_from, None, "cpu", None)
    for block in featurise(outside(files), extractor, 2, None, lambda _: None):
        assert np.array_equal(rows, np.stack(block.features))


@pytest.mark.usefixtures("passes")
def test_rows_of_digits_are_those_of_extract(here: Path) -> None:
    from headstart.core.extract.datasets.digits import open_split

    features = hs.extract("digits", model="resnet18", split="test", limit=40, **SMALL)
    batch = open_split("", "test", here).read(0, 40, Preprocessing(32), 1).pixels
    assert np.array_equal(small(preprocessing="squash").transform(batch), features.X)


def test_paths_images_and_arrays_of_one_picture_have_one_row(tmp_path: Path, passes: Passes) -> None:
    image = coloured("red", 3)
    (tmp_path / "a.png").write_bytes(encoded(image, "PNG"))
    backbone = small()
    rows = backbone.transform([tmp_path / "a.png", image, np.asarray(image), str(tmp_path / "a.png")])
    assert (rows == rows[0]).all()
    assert np.array_equal(backbone.transform(image), rows[:1])


def test_folds_shuffles_and_a_second_call_run_no_forward_pass(passes: Passes) -> None:
    pictures, labels = arrays()
    model = make_pipeline(
        hs.Backbone("resnet18", weights="random:0", image_size=64, device="cpu"), LogisticRegression(max_iter=500)
    )
    assert cross_val_score(model, pictures, labels, cv=3).mean() > 0.8
    first = passes.count
    assert first > 0
    cross_val_score(model, pictures[::-1], labels[::-1], cv=2)
    cross_val_score(model, list(pictures), labels, cv=3)
    assert passes.count == first


def test_a_grid_over_sizes_computes_each_size_once(passes: Passes) -> None:
    pictures, labels = arrays()
    model = make_pipeline(small(), LogisticRegression(max_iter=500))
    grid = {"backbone__image_size": [32, 40]}
    assert set(GridSearchCV(model, grid, cv=3).fit(pictures, labels).best_params_) == set(grid)
    first = passes.count
    GridSearchCV(model, grid, cv=2).fit(pictures, labels)
    assert passes.count == first


def test_another_backbone_has_other_rows(passes: Passes) -> None:
    pictures, _ = arrays(1)
    backbone = small()
    ours = backbone.transform(pictures)
    theirs = small(weights="random:1")
    assert backbone.digest != theirs.digest
    assert not np.array_equal(theirs.transform(pictures), ours)
    digest = backbone.digest
    backbone.set_params(image_size=40)  # what was prepared for other parameters is not used
    assert backbone.digest != digest
    assert not np.array_equal(backbone.transform(pictures), ours)


def test_a_clone_has_its_parameters_alone() -> None:
    backbone = small(batch_size=4)
    backbone.transform(coloured("red", 0))
    twin = clone(backbone)
    assert twin.get_params() == backbone.get_params()
    assert set(vars(twin)) == set(twin.get_params())


def test_nothing_is_learnt_and_nothing_must_be() -> None:
    backbone = small()
    assert backbone.fit([]) is backbone
    assert backbone.__sklearn_is_fitted__()
    with pytest.raises(WeightsMismatch, match="model 'resnet17' is unknown"):
        hs.Backbone("resnet17").fit([])


def test_features_have_names() -> None:
    assert small().get_feature_names_out()[[0, -1]].tolist() == ["resnet18_0", "resnet18_511"]


def test_output_may_be_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    pictures, _ = arrays(1)
    frame = small().set_output(transform="pandas").transform(pictures)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns[1] == "resnet18_1"


def test_a_column_of_paths_is_a_list_of_pictures(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    files = [str(file) for file in sorted(pets(tmp_path / "pets", each=1).rglob("*.png"))]
    rows = small().transform(files)
    assert np.array_equal(small().transform(pandas.Series(files)), rows)
    assert np.array_equal(small().transform(pandas.DataFrame({"file": files})), rows)


@pytest.mark.usefixtures("passes")
def test_it_is_always_in_eval_mode() -> None:
    backbone = small()
    backbone.transform(coloured("red", 0))
    network = backbone._ready().frozen.network
    assert isinstance(network, FeatureExtractor)
    network.check_frozen()


def test_a_pickle_holds_digests_and_no_weights(tmp_path: Path, passes: Passes) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(weights(0), file)
    backbone = small(weights=str(file))
    rows = backbone.transform(coloured("red", 0))
    content = pickle.dumps(make_pipeline(backbone, LogisticRegression()))
    assert len(content) < 4000

    def sent() -> hs.Backbone:
        found: hs.Backbone = pickle.loads(content)[0]  # as joblib sends it to its workers; the bytes are this test's own
        return found

    again = sent()
    assert again.digest == backbone.digest
    assert np.array_equal(again.transform(coloured("red", 0)), rows)
    save_file(weights(1), file)
    with pytest.raises(WeightsMismatch, match="the pickle's features were made otherwise: weights_sha256 is"):
        sent().transform(coloured("red", 0))
    assert sent().set_params(image_size=40).transform(coloured("red", 0)).shape == (1, 512)
    file.unlink()
    with pytest.raises(WeightsNotFound, match="no such file"):
        sent().transform(coloured("red", 0))


def test_pictures_go_through_the_weights_own_transform_unless_they_are_to_be_squashed(tmp_path: Path) -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    cropped = wide.resize((81, 36), Image.Resampling.BILINEAR).crop((24, 2, 56, 34))
    assert small().transform_spec.words == "short side resized to 36 px (bilinear), the middle 32 x 32 px of that"
    squash = small(preprocessing="squash")
    assert np.array_equal(small().transform(wide), squash.transform(cropped))
    assert not np.array_equal(small().transform(wide), squash.transform(wide))
    assert small(preprocessing="preset").digest == small().digest != squash.digest
    with pytest.raises(ArgumentInvalid, match="preprocessing is 'crop', expected one of auto, preset, squash"):
        small(preprocessing="crop").fit([wide])


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize(
    ("pool", "layer", "dim"), [("max", None, 512), ("auto", "layer2", 128), ("max", "layer3", 256)], ids=str
)
def test_other_features_of_the_network_are_those_of_extract(here: Path, pool: Pool, layer: str | None, dim: int) -> None:
    from headstart.core.extract.datasets.digits import open_split

    features = hs.extract("digits", model="resnet18", split="test", limit=8, pool=pool, layer=layer, **SMALL)
    backbone = small(preprocessing="squash", pool=pool, layer=layer)
    batch = open_split("", "test", here).read(0, 8, Preprocessing(32), 1).pixels
    assert np.array_equal(backbone.transform(batch), features.X)
    assert (backbone.dim, backbone.digest) == (dim, features.key.feature_key.digest)
    assert backbone.get_feature_names_out()[-1] == f"resnet18_{dim - 1}"
    again = pickle.loads(pickle.dumps(backbone))  # as joblib sends it to its workers; the bytes are this test's own
    assert (again.pool, again.layer, again.digest) == (pool, layer, backbone.digest)
    assert backbone.digest != small(preprocessing="squash").digest
    assert small(pool="avg").digest == small().digest  # its own way by another word


def test_a_layer_or_a_way_of_pooling_that_the_network_has_not_got_is_refused_at_once() -> None:
    with pytest.raises(ArgumentInvalid, match="pool is 'min', expected one of auto, avg, cls, cls\\+avg, max"):
        small(pool="min").fit([])
    with pytest.raises(ArgumentInvalid, match=r"layer is 'layer9', which resnet18 has not got before its head"):
        small(layer="layer9").fit([])
    with pytest.raises(ArgumentInvalid, match="pool is cls, and resnet18 has no class token, expected auto, avg or max"):
        small(pool="cls").fit([])
    with pytest.raises(ArgumentInvalid, match="layer is 3, expected a text"):
        small(layer=3).fit([])


def test_a_pickle_of_the_time_without_other_features_goes_on_so() -> None:
    backbone = small()
    backbone.transform(arrays(1)[0])
    state = backbone.__getstate__()
    recorded = state["_recorded"]
    for old in (state, recorded.parameters):
        del old["pool"], old["layer"]
    again = hs.Backbone.__new__(hs.Backbone)
    again.__setstate__(state)
    assert (again.pool, again.layer, again.digest) == ("auto", None, backbone.digest)


def test_a_pickle_of_the_time_when_all_pictures_were_squashed_goes_on_so() -> None:
    backbone = small(preprocessing="squash")
    rows = backbone.transform(coloured("red", 0))
    state = backbone.__getstate__()
    recorded = state["_recorded"]
    old = {name: value for name, value in recorded.parameters.items() if name != "preprocessing"}
    del state["preprocessing"]
    again = hs.Backbone.__new__(hs.Backbone)
    again.__setstate__({**state, "_recorded": dataclasses.replace(recorded, parameters=old)})
    assert (again.preprocessing, again.digest) == ("squash", backbone.digest)
    assert np.array_equal(again.transform(coloured("red", 0)), rows)
    assert again.transform_spec == backbone.transform_spec


def weights(seed: int) -> dict[str, object]:
    import torch
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {name: value for name, value in resnet18().state_dict().items() if not name.startswith("fc.")}


def test_licences_are_said(tmp_path: Path) -> None:
    assert small().licence == "none: the weights are random numbers"
    save_file(weights(0), tmp_path / "weights.safetensors")
    assert small(weights=str(tmp_path / "weights.safetensors")).licence.startswith("unknown")


def test_a_picture_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match=r"a\.png: can't be decoded"):
        small().transform([coloured("red", 0), tmp_path / "a.png"])
    with pytest.raises(ImageUnreadable, match=r"b\.png: can't be opened: No such file"):
        small().transform([tmp_path / "b.png"])


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = weights(0)
    for name in ("layer4.0.bn2.weight", "layer4.1.bn2.weight"):
        state[name] *= 3e38  # type: ignore[operator]
    save_file(state, tmp_path / "weights.safetensors")
    backbone = small(weights=str(tmp_path / "weights.safetensors"))
    with pytest.raises(FeaturesInvalid, match="picture 0 gives features that are not finite"):
        backbone.transform([coloured("red", 0)])


def test_a_file_that_changes_is_another_picture(tmp_path: Path, passes: Passes) -> None:
    backbone, file = small(), tmp_path / "a.png"
    file.write_bytes(encoded(coloured("red", 0), "PNG"))
    first = backbone.transform(file)
    shutil.copy(file, tmp_path / "b.png")
    before = passes.count
    assert np.array_equal(backbone.transform(tmp_path / "b.png"), first)
    assert passes.count == before
    file.write_bytes(encoded(coloured("blue", 0), "PNG"))
    assert not np.array_equal(backbone.transform(file), first)


def test_threads_may_share_it(passes: Passes) -> None:
    pictures, _ = arrays(4)
    backbone, found = small(), dict[int, np.ndarray]()

    def work(number: int) -> None:
        found[number] = backbone.transform(pictures[number : number + 6])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    rows = backbone.transform(pictures)
    for number in range(5):
        assert np.array_equal(found[number], rows[number : number + 6])
