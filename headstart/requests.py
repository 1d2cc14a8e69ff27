"""What a join is asked to do: one frozen dataclass for each, whose defaults are those of the command line.

Imports nothing heavy, so that the command line can read its defaults here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.cache.arguments import choice, whole
from headstart.core.cache.errors import ArgumentInvalid
from headstart.core.extract.config import STUDY_MODELS, ExtractConfig, ExtractionRequest
from headstart.core.heads.config import RECIPES, STUDY_STANDARD, TEST_FRACTION, BenchConfig, TrainConfig
from headstart.core.heads.feature_choice import ANY, FeatureChoice

if TYPE_CHECKING:
    from headstart.core.heads.study.analyses import Budget


BENCH = BenchConfig()
STUDIED = (RECIPES["study"], STUDY_STANDARD)
"""The recipes that the study compares."""
EXTRACT = ExtractConfig()
STUDY_EXTRACT = ExtractConfig(limit=24_000)
"""The study took the first 24,000 images."""


EVERY_HEAD = frozenset({"head", "train_limit", "test_fraction", "group_by"})
"""The settings of a training that name the head or concern the rows: no head is without a use for them."""


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """Heads on kept features: for every model named (all there are where none is), with `seeds` seeds from the config's on.

    `dataset` is a data set as `extract` takes it or as `cache ls` shows it, `choice` how its features were computed; both
    narrow down the features that are meant. With `sweep`, validation rows choose learning rate and weight decay for each
    seed. `predictions` is a CSV file for what the heads say of their test rows. With `curve` the accuracy against the
    number of training rows is measured too, of one head of each set. With `views` the kept views of the training pictures
    are trained on too. Where the features do not fit into so many bytes of `memory`, they are read in blocks.
    `corrections` is a file of decisions on labels (`docs/corrections.md`), by which heads are trained and tested.
    """

    models: tuple[str, ...] = ()
    dataset: str | None = None
    choice: FeatureChoice = ANY
    config: TrainConfig = RECIPES["standard"]
    seeds: int = 1
    sweep: bool = False
    predictions: Path | None = None
    curve: bool = False
    views: bool = False
    memory: int | None = None
    corrections: Path | None = None


@dataclasses.dataclass(frozen=True)
class ChoosingRequest:
    """Backbones to compare on the first `sample` training rows of a data set, which are a sample of all. Images in whose
    ids the regular expression `group_by` finds the same text are never on both sides of a division. Raises
    ArgumentInvalid."""

    models: tuple[str, ...] = ("resnet18", "resnet50", "densenet169")
    dataset: str = ExtractionRequest.dataset
    sample: int = 1000
    weights: tuple[str, ...] = ()
    no_splits: bool = False
    group_by: str | None = None
    config: ExtractConfig = EXTRACT

    def __post_init__(self) -> None:
        whole("sample", self.sample, 1)


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """Trained heads: those at `paths` (a run's folder or its head file), else the newest run of each model named, else with
    `every_model` the newest of each there is, else the newest of all."""

    models: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    every_model: bool = False


@dataclasses.dataclass(frozen=True)
class InferenceOptions:
    """How images go through the backbones of trained heads: where weights are that are no longer where the head found them
    (`VALUE` or `MODEL=VALUE`), the images of a forward pass (None: by device), the threads that decode image files, and the
    engine."""

    weights: tuple[str, ...] = ()
    batch_size: int | None = None
    workers: int = ExtractConfig.workers
    engine: str = ExtractConfig.engine

    @property
    def asked(self) -> tuple[str, int | None]:
        """The engine and the batch size, as `settle` takes them and a timing records them."""
        return self.engine, self.batch_size


@dataclasses.dataclass(frozen=True)
class TimingRequest:
    """End-to-end inference of trained heads on a data set's last split; `dataset` None means the head's own."""

    dataset: str | None = None
    options: InferenceOptions = InferenceOptions()
    config: BenchConfig = BENCH


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """A trained head with its backbone as one file at `path`, whose suffix says of which kind, checked on `pictures`
    (files, folders and patterns), of which `embed` puts small copies into the file.

    `input` is pixels or resized, `precision` fp32, fp16 or int8. Agreement and accuracy are measured on the first `limit`
    rows of the last split of `dataset`, None means the head's own; 0 measures nothing. `card` writes a model card beside
    the file. `corrections` is a file of decisions on labels, by which accuracy is measured. Raises ArgumentInvalid.
    """

    path: Path
    pictures: tuple[str, ...] = ()
    input: str = "pixels"
    precision: str = "fp32"
    embed: bool = False
    dataset: str | None = None
    limit: int = 200
    card: bool = True
    weights: tuple[str, ...] = ()
    corrections: Path | None = None

    def __post_init__(self) -> None:
        kinds = EXPORTS.get(self.kind)
        if kinds is None:
            raise ArgumentInvalid(f"{self.path}: a file ends in {', '.join(EXPORTS)}; choose one")
        choice("input", self.input, INPUTS)
        choice("precision", self.precision, EXPORT_PRECISIONS)
        whole("limit", self.limit, 0)
        for name, asked, there in (("precision", self.precision, kinds[0]), ("input", self.input, kinds[1])):
            if asked not in there:
                raise ArgumentInvalid(f"--{name} {asked}: a file ending in {self.kind} has {' or '.join(there)} alone")
        if self.kind == ".safetensors" and (self.pictures or self.dataset):
            raise ArgumentInvalid(
                f"{self.path}: holds tensors, which nothing runs on pictures; leave pictures and --dataset out"
            )
        if self.corrections is not None and (self.kind == ".safetensors" or not self.limit):
            reason = "--limit 0" if self.kind != ".safetensors" else f"a file ending in {self.kind}"
            raise ArgumentInvalid(f"--corrections: with {reason} no accuracy is measured; leave the option out")
        if self.embed and not self.pictures:
            raise ArgumentInvalid("--embed puts copies of pictures into the file: name some behind FILE")

    @property
    def kind(self) -> str:
        """The suffix of the file."""
        return self.path.suffix.lower()


@dataclasses.dataclass(frozen=True)
class CheckRequest:
    """An exported file to be run again on the test pictures in it, and on `pictures` beside `predict`. A .pt2 file, which
    can run anything when it is loaded, needs the `sha256` that it has to have. Raises ArgumentInvalid."""

    path: Path
    pictures: tuple[str, ...] = ()
    sha256: str | None = None
    weights: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        runs = (".onnx", ".pt2")
        if self.kind not in runs:
            raise ArgumentInvalid(f"{self.path}: --check runs files that end in {' or '.join(runs)}")
        if self.kind == ".pt2" and self.sha256 is None:
            raise ArgumentInvalid(
                f"{self.path}: a .pt2 file can run any code when it is loaded; give --digest with the SHA-256 that export "
                f"said when it was made, or check an .onnx file"
            )
        if self.kind == ".onnx" and self.sha256 is not None:
            raise ArgumentInvalid("--digest is for .pt2 files, which must not be loaded unknown; leave it out")

    @property
    def kind(self) -> str:
        """The suffix of the file."""
        return self.path.suffix.lower()


INPUTS = ("pixels", "resized")
EXPORT_PRECISIONS = ("fp32", "fp16", "int8")
EXPORTS = {
    ".onnx": (EXPORT_PRECISIONS, INPUTS),
    ".pt2": (("fp32",), INPUTS),
    ".safetensors": (("fp32",), ("pixels",)),
}
"""The kinds of exported files by their suffixes, with the precisions and the inputs that each has."""


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """Where a report's outside photographs, test images and weights are, and where its files go (None: the runs
    directory's `report`)."""

    photos: Path | None = None
    dataset: str | None = None
    output: Path | None = None
    weights: tuple[str, ...] = ()

    def folder(self, runs_dir: Path) -> Path:
        """Where the files go."""
        return self.output or runs_dir / "report"


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """The published study: the first `config.limit` rows of each split, `seeds` heads of each recipe from `seed` on,
    `curve_seeds` for each point of a curve of up to `curve_epochs` epochs. `bench_limit` test images are timed, None means
    all; the BatchNorm experiment takes `batch_norm_images` training images, 0 leaves it out."""

    models: tuple[str, ...] = STUDY_MODELS
    dataset: str = ExtractionRequest.dataset
    weights: tuple[str, ...] = ()
    config: ExtractConfig = STUDY_EXTRACT
    bench_limit: int | None = None
    seeds: int = 30
    curve_seeds: int = 3
    curve_epochs: int = 100
    batch_norm_images: int = 1000
    seed: int = TrainConfig.seed
    photos: Path | None = None

    @property
    def budget(self) -> Budget:
        """How much is trained to answer the study's questions."""
        from headstart.core.heads.study.analyses import Budget

        shorter = tuple(epochs for epochs in Budget().epochs if epochs < self.curve_epochs)
        return Budget(self.seeds, self.curve_seeds, (*shorter, self.curve_epochs))

    @property
    def timing(self) -> TimingRequest:
        """How inference is timed."""
        config = self.config
        options = InferenceOptions(self.weights, config.batch_size, config.workers, config.engine)
        return TimingRequest(self.dataset, options, BenchConfig(limit=self.bench_limit))

    def extraction(self, model: str) -> ExtractionRequest:
        """One model's part of stage one. The study's pictures were squashed, and so are any, unless something else is
        said."""
        config = self.config
        if config.transform == "auto":
            config = dataclasses.replace(config, transform="squash")
        return ExtractionRequest((model,), self.dataset, weights=self.weights, config=config)

    def trainings(self, rows: int, divided: bool) -> list[TrainConfig]:
        """Each recipe for a set of `rows` training rows; a limit only where it leaves some out. A set without a test split
        is `divided`, so that all of the study's questions are answered on the same test rows."""
        limit = self.config.limit if self.config.limit and self.config.limit < rows else None
        own = {"seed": self.seed, "train_limit": limit, **({"test_fraction": TEST_FRACTION} if divided else {})}
        return [dataclasses.replace(recipe, **own) for recipe in STUDIED]  # type: ignore[arg-type]
