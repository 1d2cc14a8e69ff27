"""A training session on features that are larger than memory: the same records as of one in memory, which say so."""

from collections.abc import Sequence

from headstart.core.cache.errors import FeaturesInvalid
from headstart.core.cache.feature_set import FeatureSet
from headstart.core.cache.text import volume
from headstart.core.heads.config import TrainConfig, grid
from headstart.core.heads.data import Pair, Parts
from headstart.core.heads.protocol import HELD_OUT, TEST_SPLIT
from headstart.core.heads.runs import Run, RunStore
from headstart.core.heads.selection.procedure import Fitted
from headstart.core.heads.sessions.cross_validation import OutOfFold
from headstart.core.heads.sessions.place import Place, loaded
from headstart.core.heads.statistics.outcomes import Outcomes
from headstart.core.heads.streams.budget import Budget, Needs
from headstart.core.heads.streams.on_disk import OnDisk
from headstart.core.heads.streams.procedure import SCORE_BYTES, Training, opened, refusal, said
from headstart.core.heads.streams.record import InBlocks
from headstart.core.heads.streams.unread import Unread
from headstart.core.heads.training.epoch import OnEpoch


def fit(
    pair: Pair,
    configs: Sequence[TrainConfig],
    device: str,
    description: str,
    store: RunStore,
    on_epoch: OnEpoch,
    memory: int,
    *,
    curve: bool,
) -> list[Run]:
    """What `session.fit` does, in so many bytes of `memory`; heads are trained one after the other. Raises as it does;
    FeaturesInvalid for what needs all rows at once, OutOfMemory where the memory is too little."""
    _check(pair, configs[0], memory, curve=curve)
    session = _Session(pair, configs[0], device, description, store, memory)
    found = session.fitted([opened(config, session.rows) for config in configs], on_epoch)
    return [session.save(*one) for one in zip(configs, found, strict=True)]


def sweep(
    pair: Pair, config: TrainConfig, device: str, description: str, store: RunStore, on_epoch: OnEpoch, memory: int
) -> Run:
    """What `session.sweep` does. Raises as `fit`."""
    _check(pair, config, memory, curve=False)
    session = _Session(pair, config, device, description, store, memory)
    (found,) = session.fitted([grid(config)], on_epoch)
    return session.save(found.trained.head.config, found)


def _check(pair: Pair, config: TrainConfig, memory: int, *, curve: bool) -> None:
    """Refuse, before anything is read, what needs all rows at once."""
    reason = refusal(config)
    if config.views:
        reason = "views are only trained on in memory; leave --views or --memory out"
    elif curve:
        reason = "a few-shot curve is only measured in memory; leave --curve or --memory out"
    elif config.group_by is not None:
        reason = "groups of ids are only told in memory; leave --group-by or --memory out"
    elif pair.test is None and config.test_fraction is None:
        reason = "without a test split each fold of a cross-validation would read all rows again; use --test-fraction 0.2"
    if reason is not None:
        raise FeaturesInvalid(f"{_too_large(pair, memory)}: {reason}")


def _too_large(pair: Pair, memory: int) -> str:
    return f"{pair.train.folder}: does not fit into --memory of {volume(memory)} as a whole"


class _Session:
    """The rows of a training in blocks, and where its heads are kept."""

    def __init__(
        self, pair: Pair, config: TrainConfig, device: str, description: str, store: RunStore, memory: int
    ) -> None:
        read = Unread()
        parts = loaded(pair, config, store, read)
        if read.grouped:
            way = "leave --memory out, or extract again without the column"
            raise FeaturesInvalid(f"{_too_large(pair, memory)}: groups of a list are only told in memory; {way}")
        assert parts.testing is not None
        self._place = Place(pair, parts, device, description, store)
        self._training_rows, self._testing_rows = _where(pair, parts, read)
        every = len(parts.training.labels) + len(parts.testing.labels)
        self._budget = Budget(memory, every, self._training_rows.dim, self._training_rows.chunk_rows)
        self._testing_labels, self._classes, self._device = parts.testing.labels, len(pair.key.classes), device

    @property
    def rows(self) -> int:
        """How many rows there are to learn from."""
        return len(self._place.parts.training.learning.labels)

    @property
    def _testing(self) -> Needs:
        return Needs(
            "testing", len(self._testing_labels) * self._classes * SCORE_BYTES + 2048 * self._training_rows.dim * 8
        )

    def fitted(self, several: Sequence[Sequence[TrainConfig]], on_epoch: OnEpoch) -> list[Fitted]:
        """The best head of each list of configurations."""
        known = self._place.parts.training
        training = Training(self._training_rows, known, self._classes, self._budget, self._device, self._testing)
        try:
            found = training.fit(several, on_epoch)
        except FeaturesInvalid as error:
            where = str(self._place.pair.train.folder)
            raise FeaturesInvalid(str(error) if where in str(error) else f"{where}: {error}") from error
        self._judges = training.judges
        return found

    def save(self, config: TrainConfig, found: Fitted) -> Run:
        """Test a head, and write it and its record."""
        head, sure, parts = found.trained.head, found.confidence, self._place.parts
        scores = said(head, self._testing_rows, self._budget.block_rows(self._testing), self._device)
        temperature = sure.temperature if sure else 1.0
        predicted = scores.argmax(dim=1).numpy()
        outcomes = Outcomes(self._testing_labels, predicted, scores.div_(temperature).softmax(dim=1).numpy())
        tested = OutOfFold(outcomes, TEST_SPLIT if self._place.pair.test else HELD_OUT)
        blocks = InBlocks(self._budget.memory, self._judges if found.selection or found.confidence else None)
        place = Place(self._place.pair, parts, self._device, self._place.description, self._place.store, blocks)
        return place.save(config, found, tested)


def _where(pair: Pair, parts: Parts, read: Unread) -> tuple[OnDisk, OnDisk]:
    """Where the rows to train and those to test on are."""
    assert parts.testing is not None
    sets: list[tuple[FeatureSet, int]] = [(pair.train, parts.first_added)]
    if pair.val is not None and parts.validation is not None and len(parts.validation.labels):
        sets.append((pair.val, len(parts.validation.labels)))
    tested = pair.test or pair.train
    return read.on_disk(parts.training, *sets), read.on_disk(parts.testing, (tested, len(parts.testing.labels)))
