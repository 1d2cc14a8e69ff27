"""timm's models as backbones: its own pooled features, transform, names of parameters and weights, without any download."""

import contextlib
import dataclasses
import json
import multiprocessing.reduction
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("timm", reason="needs timm, which the extra `timm` installs")

import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from extract_samples import printed_by_python, write_picture
from torch import Tensor

from headstart import extraction
from headstart.backbones.showing import show
from headstart.core import cli
from headstart.core.cache.errors import WeightsMismatch, WeightsNotFound
from headstart.core.extract import plan
from headstart.core.extract.backbones import Backbone, HubFile, get_backbone, known, names, sketch
from headstart.core.extract.backbones import timm as source
from headstart.core.extract.config import ExtractConfig, ExtractionRequest
from headstart.core.extract.network.body import Body, pooled
from headstart.core.extract.weights import hub, lacking, load, locate, usual
from headstart.core.extract.weights.licences import caution, licence
from headstart.observer import Observer
from headstart.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Family:
    """A member of a family, the size of the pictures that it is tried with in pixels, and how its map lies."""

    model: str
    size: int
    channels: str = "first"


FAMILIES = [
    Family("resnet10t", 64),
    Family("convnext_atto", 64),
    Family("test_vit", 160, "tokens"),
    Family("vit_small_patch14_reg4_dinov2", 28, "tokens"),
    Family("swin_tiny_patch4_window7_224", 224, "last"),
    Family("efficientnet_b0", 64),
    Family("mobilenetv4_conv_small", 64),
    Family("resnet50_clip", 224),
    Family("vit_medium_patch16_clip_224", 32, "tokens"),
    Family("vit_base_patch16_siglip_224", 32, "tokens"),
    Family("deit_tiny_distilled_patch16_224", 32, "tokens"),
    Family("xcit_nano_12_p16_224", 224, "tokens"),
    Family("crossvit_tiny_240", 240, "first"),
]
"""Small members, at small sizes where they take any."""
IDS = [family.model for family in FAMILIES]


def pictures(size: int, rows: int = 2) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(1))


@contextlib.contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def timms(name: str, **more: Any) -> Any:
    """timm's own model with random numbers that are always the same."""
    with seeded():
        return timm.create_model(name, **more).eval()


def filled(backbone: Backbone) -> Body:
    """Our body with the same random numbers."""
    with seeded():
        body = backbone.body().eval()
    assert isinstance(body, Body)
    return body


# ---- features


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_features_are_what_timm_classifies_on(family: Family) -> None:
    backbone = get_backbone(f"timm/{family.model}")
    any_size = {"dynamic_img_size": True} if family.size not in (160, 224, 240) and backbone.sizes.step > 1 else {}
    model, body, images = timms(family.model, **any_size), filled(backbone), pictures(family.size)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
        found = pooled(body, body(images))
    assert torch.equal(found, expected)
    assert found.shape == (2, backbone.feature_dim)
    assert body.layout.channels == family.channels


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_a_body_has_timms_own_parameters_but_the_classifiers(family: Family) -> None:
    backbone = get_backbone(f"timm/{family.model}")
    with torch.device("meta"):
        whole, body = timm.create_model(family.model).state_dict(), backbone.body().state_dict()
    classifier = tuple(backbone.classifier)
    expected = {name: value.shape for name, value in whole.items() if not (classifier and name.startswith(classifier))}
    assert {name: value.shape for name, value in body.items()} == expected


def test_timms_vgg_keeps_its_hidden_layers_and_torchvisions_does_not() -> None:
    assert (get_backbone("timm/vgg16").feature_dim, get_backbone("vgg16").feature_dim) == (4096, 512)


def test_a_transformer_sees_other_sizes_as_timm_does_when_it_loads_weights_for_them() -> None:
    native = timms("vit_small_patch14_dinov2")
    given = {"state_dict": native.state_dict()}
    resized = timms("vit_small_patch14_dinov2", img_size=56, pretrained=True, pretrained_cfg_overlay=given)
    body, images = filled(get_backbone("timm/vit_small_patch14_dinov2")), pictures(56)
    with torch.inference_mode():
        torch.testing.assert_close(pooled(body, body(images)), resized(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "only", "step", "takes", "refuses"),
    [
        ("resnet10t", None, 1, (32, 33), ()),
        ("vit_small_patch14_reg4_dinov2", None, 14, (28, 518), (30,)),
        ("mixer_s16_224", 224, 1, (224,), (240,)),
        ("test_maxvit", 160, 1, (160,), (192,)),
    ],
)
def test_which_sizes_a_model_takes(
    model: str, only: int | None, step: int, takes: tuple[int, ...], refuses: tuple[int, ...]
) -> None:
    sizes = get_backbone(f"timm/{model}").sizes
    assert (sizes.only, sizes.step) == (only, step)
    with torch.device("meta"):
        body = get_backbone(f"timm/{model}").body()
    for size in takes:
        body(torch.empty(1, 3, size, size, device="meta"))
    for size in refuses:
        with pytest.raises((AssertionError, RuntimeError)):
            body(torch.empty(1, 3, size, size, device="meta"))


def test_only_what_the_head_uses_stays_in_float32() -> None:
    siglip, convnext = (get_backbone(f"timm/{name}") for name in ("vit_base_patch16_siglip_224", "convnext_atto"))
    with torch.device("meta"):
        first, second = siglip.body(), convnext.body()
    assert isinstance(first, Body)
    assert isinstance(second, Body)
    assert "attn_pool" in first.float32
    assert not any(name.startswith("blocks") for name in first.float32)
    assert second.float32 == ("head.norm",)


def test_a_body_follows_eval_and_knows_its_parts_by_timms_names() -> None:
    body = get_backbone("timm/test_convnext").body()
    assert body.train()._model.training
    assert not body.eval()._model.training
    assert type(body.get_submodule("head.norm")).__name__.startswith("LayerNorm")


def test_a_backbone_can_be_sent_to_another_process() -> None:
    backbone = get_backbone("timm/test_vit")
    sent = multiprocessing.reduction.ForkingPickler.loads(multiprocessing.reduction.ForkingPickler.dumps(backbone))
    assert sent == backbone
    assert sent.preset("random:0") == backbone.preset("random:0") if backbone.preset else False


# ---- names and transforms


@pytest.mark.parametrize(
    "name", ["resnet50.a1_in1k", "resnet50", "vit_base_patch16_siglip_224", "test_vit", "vit_small_patch14_dinov2"]
)
def test_the_transform_is_timms_own(name: str) -> None:
    backbone = get_backbone(f"timm/{name}")
    with torch.device("meta"):
        config = timm.data.resolve_model_data_config(timm.create_model(name))
    assert backbone.preset is not None
    preset = backbone.preset(usual(backbone))
    resize, crop, *_ = timm.data.create_transform(**config, is_training=False).transforms
    assert preset is not None
    assert (preset.resize, preset.crop, preset.interpolation) == (resize.size, crop.size[0], resize.interpolation.value)
    assert (preset.mean, preset.std) == (config["mean"], config["std"])


def test_the_tag_names_the_weights_and_is_no_part_of_the_backbone() -> None:
    tagged, bare = get_backbone("timm/resnet50.tv_in1k"), get_backbone("timm/resnet50")
    assert (tagged.name, bare.name) == ("timm/resnet50", "timm/resnet50")
    assert (usual(tagged), usual(bare)) == ("tv_in1k", timm.get_pretrained_cfg("resnet50").tag)
    assert list(tagged.checkpoints)[-1] == "tv_in1k"
    assert {"a1_in1k", "tv_in1k"} <= set(bare.checkpoints)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet5O",
            r"'timm/resnet5O' is unknown to timm [\d.]+ \(did you mean timm/resnet50.*\); `headstart models 'timm/\*'`",
        ),
        ("resnet10t.a1_in1k", r"timm's resnet10t has no tag 'a1_in1k' \(did you mean .*c3_in1k.*\)?; there are c3_in1k"),
        ("vit_base_patch16_sapiens2", r"takes pictures of 768x1024 px, and ours are squares"),
        ("gemma4_vit_167m_enc", r"gives no features \(.*\); choose another"),
        ("tv_resnet50", r"'timm/tv_resnet50' is called timm/resnet50.tv_in1k in timm"),
    ],
)
def test_what_timm_has_not_got_is_refused_with_a_way_on(name: str, message: str) -> None:
    with pytest.raises(WeightsMismatch, match=message):
        get_backbone(f"timm/{name}")


def test_without_timm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "installed", lambda: False)
    with pytest.raises(WeightsMismatch, match=r"'timm/x': timm is not installed; pip install 'headstart\[timm\]'"):
        get_backbone("timm/x")
    assert source.known() == []


def test_the_short_list_and_other_names_import_no_timm() -> None:
    code = (
        "import sys; from headstart.core.extract import backbones; backbones.names(); backbones.get_backbone('resnet18'); "
        "from headstart.core import cli; print('timm' in sys.modules, 'torch' in sys.modules)"
    )
    assert printed_by_python(code) == "False False\n"


# ---- weights


STATE = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> STATE:
    """A whole test_vit, classifier included."""
    found: STATE = timms("test_vit").state_dict()
    return found


def test_a_local_file_is_read_by_timms_names_whatever_its_classifier(tmp_path: Path, state: STATE) -> None:
    backbone, path, said = get_backbone("timm/test_vit"), tmp_path / "mine.pth", list[str]()
    torch.save({"model": {f"module.{name}": value for name, value in state.items() if not name.startswith("head.")}}, path)
    body = load(backbone, locate(backbone, str(path)), said.append)
    images = pictures(160)
    with torch.inference_mode():
        model = timms("test_vit")
        assert torch.equal(pooled(body, body(images)), model.forward_head(model.forward_features(images), pre_logits=True))
    assert "stripped 'module.' from the names" in said[0]


def test_numbers_that_no_file_has_are_computed(tmp_path: Path) -> None:
    backbone, path = get_backbone("timm/swin_tiny_patch4_window7_224"), tmp_path / "swin.safetensors"
    model = timms("swin_tiny_patch4_window7_224")
    safetensors.torch.save_file(model.state_dict(), path)
    body, images = load(backbone, locate(backbone, str(path))), pictures(224, 1)
    with torch.inference_mode():
        assert torch.equal(pooled(body, body(images)), model.forward_head(model.forward_features(images), pre_logits=True))


def as_its_authors_call_it(name: str) -> str:
    """A parameter of timm's ConvNeXt under the name it has in the authors' repository (facebookresearch/ConvNeXt)."""
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name)
    name = re.sub(r"^(stages\.\d+)\.blocks\.", r"\1.", name)
    name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return name.replace("head.norm.", "norm.").replace("head.fc.", "head.")


def test_a_file_with_its_authors_names_is_read_by_timms_rules(tmp_path: Path) -> None:
    backbone, path, said = get_backbone("timm/test_convnext"), tmp_path / "authors.pth", list[str]()
    model, images = timms("test_convnext"), pictures(64)
    theirs = {as_its_authors_call_it(name): value for name, value in model.state_dict().items()}
    torch.save({"model": theirs}, path)
    body = load(backbone, locate(backbone, f"{path}#model"), said.append)
    with torch.inference_mode():
        assert torch.equal(pooled(body, body(images)), model.forward_head(model.forward_features(images), pre_logits=True))
    assert said == [f"{path}: its authors' names of parameters were turned into those of timm/test_convnext"]
    torch.save({name: value for name, value in theirs.items() if name != "downsample_layers.2.1.weight"}, path)
    with pytest.raises(WeightsMismatch, match=r"authors\.pth: .* timm/test_convnext"):
        load(backbone, locate(backbone, str(path)))


def test_what_a_file_lacks_is_not_drawn_where_timm_would_draw_it() -> None:
    """timm loads DLA without looking whether all is there."""
    state = timms("dla46_c").state_dict()
    whole = source.convert("dla46_c", "in1k", state)
    assert torch.equal(whole["level5.root.conv.weight"], state["level5.root.conv.weight"])
    del state["level5.root.conv.weight"]
    with pytest.raises(WeightsMismatch, match=r"lacks level5.root.conv.weight of timm/dla46_c"):
        source.convert("dla46_c", "in1k", state)


def test_a_file_that_lacks_a_part_is_refused_and_nothing_is_drawn_for_it(tmp_path: Path, state: STATE) -> None:
    backbone, path = get_backbone("timm/test_vit"), tmp_path / "part.safetensors"
    safetensors.torch.save_file({name: value for name, value in state.items() if name != "blocks.3.mlp.fc1.weight"}, path)
    with pytest.raises(WeightsMismatch, match=r"lacks blocks.3.mlp.fc1.weight of timm/test_vit"):
        load(backbone, locate(backbone, str(path)))


def test_random_weights_are_the_same_each_time_and_name_timms_version() -> None:
    backbone = get_backbone("timm/test_resnet")
    first, second = (load(backbone, locate(backbone, "random:3")).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert locate(backbone, "random:3").origin.endswith(f"timm=={timm.__version__}")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, STATE], Path]:
    """Puts files of weights where huggingface_hub keeps them; nothing can be downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "_offline", lambda: "no network in this test")

    def put(repository: str, name: str, state: STATE) -> Path:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        path = folder / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
        safetensors.torch.save_file(state, path)
        return path

    return put


def test_published_weights_come_from_the_hubs_cache_with_their_commit(
    hub_cache: Callable[[str, str, STATE], Path], state: STATE
) -> None:
    path = hub_cache("timm/test_vit.r160_in1k", "model.safetensors", state)
    backbone = get_backbone("timm/test_vit")
    found = locate(backbone, "DEFAULT")
    page = "https://huggingface.co/timm/test_vit.r160_in1k"
    assert (found.label, found.path, found.origin) == ("r160_in1k", path, f"{page}/resolve/{COMMIT}/model.safetensors")
    assert lacking(backbone, "r160_in1k") is None
    assert load(backbone, found).state_dict().keys() == {name for name in state if not name.startswith("head.")}


def test_without_a_network_one_line_says_the_ways_out(hub_cache: object) -> None:
    backbone = get_backbone("timm/test_vit")
    with pytest.raises(
        WeightsNotFound,
        match=r"timm/test_vit\.r160_in1k: not in .*hub, and it can't be downloaded \(no network in this test\); three ways",
    ):
        locate(backbone, usual(backbone))
    missing = lacking(backbone, "DEFAULT")
    assert missing is not None
    assert missing.url == "https://huggingface.co/timm/test_vit.r160_in1k"


def test_default_is_torchvisions_where_a_source_has_none_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert usual(get_backbone("mobilenet_v2")) == "IMAGENET1K_V1"
    missing = lacking(get_backbone("mobilenet_v2"), "DEFAULT")
    assert missing is not None
    assert missing.url.endswith("mobilenet_v2-7ebf99e0.pth")


def test_weights_of_torchvisions_names_are_not_timms(hub_cache: object) -> None:
    with pytest.raises(
        WeightsNotFound, match=r"IMAGENET1K_V1: no such file, and timm/test_vit knows only r160_in1k, DEFAULT"
    ):
        locate(get_backbone("timm/test_vit"), "IMAGENET1K_V1")


def test_a_plan_takes_the_tags_weights_where_nobody_says(
    hub_cache: Callable[[str, str, STATE], Path], state: STATE, tmp_path: Path
) -> None:
    hub_cache("timm/test_vit.r160_in1k", "model.safetensors", state)
    (job, _) = plan.plan(ExtractionRequest(("timm/test_vit.r160_in1k",), "digits"), tmp_path)
    assert (job.key.backbone, job.key.weights) == ("timm/test_vit", "r160_in1k")
    assert job.key.is_of("timm/test_vit")
    assert job.key.is_of("timm/test_vit.r160_in1k")
    assert not job.key.is_of("timm/test_vit.another")
    assert not job.key.is_of("timm/test_vit2")


def test_a_tag_and_other_weights_contradict_each_other(tmp_path: Path) -> None:
    request = ExtractionRequest(("timm/resnet18.a3_in1k",), "digits", weights=("a1_in1k",))
    with pytest.raises(
        WeightsMismatch,
        match=r"--weights a1_in1k: -m timm/resnet18\.a3_in1k means .* a3_in1k; say -m timm/resnet18\.a1_in1k",
    ):
        plan.lacking(request, tmp_path)


def test_weights_for_one_of_several_models_are_named_by_it() -> None:
    asked = ["timm/test_vit=random:1", "random:2", "some/pa.th=x.pth"]
    assert plan.weights_asked("timm/test_vit", asked[:2]) == "random:1"
    assert plan.weights_asked("resnet18", asked) == "some/pa.th=x.pth"
    with pytest.raises(WeightsMismatch, match=r"this command uses resnet18, not timm/test_vit"):
        plan.check_weights_asked(["resnet18"], asked)


def test_the_tags_of_random_weights_and_files_say_nothing_of_features(tmp_path: Path) -> None:
    (job, _) = plan.plan(ExtractionRequest(("timm/test_vit.r160_in1k",), "digits", weights=("random:0",)), tmp_path)
    assert job.key.is_of("timm/test_vit.r160_in1k")


# ---- licences


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        ("resnet50.a1_in1k", "apache-2.0", None),
        ("convnextv2_atto.fcmae_ft_in1k", "cc-by-nc-4.0", "not for commercial use"),
        ("vit_small_patch16_dinov3.lvd1689m", "dinov3-license", "terms of its own"),
    ],
)
def test_licences_are_timms_and_what_they_restrict_is_said(name: str, expected: str, said: str | None) -> None:
    backbone = get_backbone(f"timm/{name}")
    found = licence(backbone, usual(backbone))
    assert found == expected
    remark = caution(found)
    assert (remark is None) == (said is None)
    assert said is None or said in str(remark)


@dataclasses.dataclass
class Remarks(Observer):
    """Keeps what must be said of an extraction."""

    found: list[str] = dataclasses.field(default_factory=list)

    def remark(self, text: str) -> None:
        self.found.append(text)


def test_extract_says_that_weights_are_not_for_commercial_use(
    hub_cache: Callable[[str, str, STATE], Path], tmp_path: Path
) -> None:
    hub_cache("timm/convnextv2_atto.fcmae_ft_in1k", "model.safetensors", {"unread": torch.zeros(1)})
    config = ExtractConfig(precision="fp32")  # where bf16 is fast, `auto` compares it with fp32 and reads the file
    request, observer = ExtractionRequest(("timm/convnextv2_atto.fcmae_ft_in1k",), "digits", config=config), Remarks()
    extraction.plan(Workspace(tmp_path, tmp_path, tmp_path, "cpu"), request, observer)
    expected = "their licence is cc-by-nc-4.0: not for commercial use, nor is what is made with them"
    assert f"timm/convnextv2_atto fcmae_ft_in1k: {expected}" in observer.found


def test_what_no_identifier_says_is_not_judged() -> None:
    assert caution("unknown") == "their licence is not known: ask whoever published them"
    assert caution(licence(get_backbone("resnet50"), "IMAGENET1K_V1")) is None
    assert "not for commercial use" in str(caution("fair-noncommercial-research-license"))


# ---- the registry as a whole


def test_every_published_model_is_a_file_of_the_hub_or_an_address() -> None:
    for name in source.known():
        architecture, _, tag = name.removeprefix("timm/").partition(".")
        config = source._config(architecture, tag)
        file = source._file(config)
        assert (file is not None) == bool(config.get("hf_hub_id") or config.get("url"))
        assert file is None or file.licence
        if isinstance(file, HubFile):
            assert file.url == f"https://huggingface.co/{file.repository}"
            assert file.files[0].endswith(".safetensors")


# ---- what the command line says


def said(*words: str) -> str:
    result = CliRunner().invoke(cli.cli, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_models_lists_what_matches_a_pattern_with_numbers_of_few() -> None:
    few = json.loads(said("models", "timm/test_vit*", "--json").splitlines()[-1])
    names = [entry["name"] for entry in few["entries"]]
    assert {"timm/test_vit.r160_in1k", "timm/test_vit2.r160_in1k"} <= set(names)
    (first,) = (entry for entry in few["entries"] if entry["name"] == "timm/test_vit.r160_in1k")
    assert first["counted"]["feature_dim"] == 64
    assert first["counted"]["image_size"] == 160
    assert first["licence"] == "apache-2.0"
    many = said("models", "VIT_small*")
    assert "timm/vit_small_patch14_dinov2.lvd142m" in many
    assert "Fewer at once have features" in many


def test_models_without_a_pattern_is_the_short_list_and_how_many_more_there_are() -> None:
    text = said("models")
    assert [line.split()[0] for line in text.splitlines()[1:7]] == names()
    others = len([name for name in known() if name.startswith("timm/")])
    assert f"{others:,} of timm" in text


def test_a_pattern_without_a_match_is_one_line() -> None:
    result = CliRunner().invoke(cli.cli, ["models", "nothing-like-it*"])
    assert result.exit_code == 1
    assert "no model's name matches 'nothing-like-it*'" in result.output


def test_models_show_tells_sizes_transform_and_licences() -> None:
    text = said("models", "show", "timm/vit_small_patch14_dinov2", "--image-size", "56")
    assert "for one image of 56 px, 384 features, pooling: own head" in text
    assert "takes images of 28 px or more, in steps of 14" in text
    assert "crop 518 px" in text
    assert "weights lvd142m: apache-2.0" in text
    result = CliRunner().invoke(cli.cli, ["models", "show", "timm/vit_small_patch14_dinov2", "--image-size", "60"])
    assert result.exit_code == 1
    assert "image_size is 60, expected a multiple of 14 for timm/vit_small_patch14_dinov2: 56 or 70" in result.output


def test_operations_of_the_head_are_counted_too() -> None:
    shown = show("timm/vit_base_patch16_siglip_224", 32)
    assert any(layer.name.startswith("attn_pool") and layer.flops for layer in shown.summary.layers)
    assert sketch("timm/vit_base_patch16_siglip_224.webli").image_size == (224, 224)


def test_from_pictures_to_labels(tmp_path: Path) -> None:
    for number in range(20):
        write_picture(tmp_path / "pets" / ("cat" if number % 2 else "dog") / f"{number:02d}.png", number)
    places = ["--features-dir", str(tmp_path / "features"), "--runs-dir", str(tmp_path / "runs"), "--device", "cpu"]
    pets = ["--dataset", f"folder:{tmp_path / 'pets'}"]
    model = ["-m", "timm/test_resnet"]
    made = said("extract", *model, *pets, "--weights", "random:0", "--image-size", "32", *places)
    assert "timm_test_resnet" in made
    (features,) = (tmp_path / "features").glob("folder-pets-all-timm_test_resnet-*")
    manifest = json.loads((features / "manifest.json").read_text())
    assert manifest["provenance"]["licence"] == "none: the weights are random numbers"
    assert manifest["provenance"]["versions"]["timm"] == timm.__version__
    assert "licence of the weights: none" in said("cache", "show", features.name, *places)
    assert features.name in said("cache", "ls", *places)
    said("train-head", "-m", "timm/test_resnet.r160_in1k", *pets, "--head", "ridge", *places)
    (run,) = (tmp_path / "runs").glob("timm_test_resnet-*")
    assert "cat" in said("predict", str(tmp_path / "pets" / "cat"), *model, *places)
    assert "images/s" in said("bench-inference", *model, *pets, "--repeats", "1", "--warmup", "0", *places)
    assert "timm/test_resnet" in said("report", *places)
    assert "none: the weights are random numbers" in json.dumps(header(run / "head.safetensors"))


def test_of_random_weights_the_tag_means_the_features_that_went_through_its_transform(tmp_path: Path) -> None:
    for number in range(20):
        write_picture(tmp_path / "pets" / ("cat" if number % 2 else "dog") / f"{number:02d}.png", number)
    places = ["--features-dir", str(tmp_path / "features"), "--runs-dir", str(tmp_path / "runs"), "--device", "cpu"]
    small = ["--weights", "random:0", "--image-size", "32", "--precision", "fp32"]
    tags = ("tv_in1k", "a1_in1k")  # of another interpolation, which no option says
    for tag in tags:
        said("extract", "-m", f"timm/resnet18.{tag}", "--dataset", f"folder:{tmp_path / 'pets'}", *small, *places)
    for tag, interpolation in zip((*tags, "a2_in1k"), ("bilinear", "bicubic", "bicubic"), strict=True):
        text = said("train-head", "-m", f"timm/resnet18.{tag}", "--head", "ridge", "--json", *places)
        (run,) = json.loads(text.splitlines()[-1])
        assert run["key"]["interpolation"] == interpolation
    made_last = said("train-head", "-m", "timm/resnet18.gluon_in1k", "--head", "ridge", "--json", *places)
    assert json.loads(made_last.splitlines()[-1])[0]["key"]["interpolation"] == "bicubic"


def header(path: Path) -> Any:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], sys.byteorder)
    return json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["headstart"])
