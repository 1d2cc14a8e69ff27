"""A thousand hostile requests to a real service: each has the status that is right, and others are answered as before.

By default 100 of them; HEADSTART_TORTURE=all sends all, and prints how many of each kind there were. It ends ten services
under load, too, and turns schemathesis on the document for longer.
"""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile_client as client
import hostile_samples as hostile
import pytest
from test_image_fuzz import mutants
from test_serve_hostile import ended_under_load, losses, schemathesis

pytest.importorskip("uvicorn", reason="the service needs the extra serve")

CLIENTS = 8
GROWTH = 64 * client.MIB
"""What memory may grow by: allocators keep some of the largest pictures' pages."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[client.Service]:
    with client.service(tmp_path_factory.mktemp("service")) as found:
        yield found


def mutated(count: int) -> Iterator[tuple[str, bytes]]:
    return ((f"{one.source}, {one.mutation.__name__}", one.content) for one in mutants(count))


def faults(service: client.Service, cases: list[hostile.Case]) -> list[str]:
    """What was answered wrongly, by several clients at once."""

    def one(found: hostile.Case) -> str | None:
        fault = hostile.judged(found, service.ask(*found.parts, answers=len(found.right)))
        return None if fault is None else f"{found.name}: {fault}"

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        return [fault for fault in clients.map(one, cases) if fault is not None]


class Regular:
    """A client among the hostile ones, who asks for the same picture again and again and must hear the same."""

    def __init__(self, service: client.Service) -> None:
        self.answered, self._over = 0, threading.Event()
        self._service, self._thread = service, concurrent.futures.ThreadPoolExecutor(1)
        self._running = self._thread.submit(self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            self._service.still_right()
            self.answered += 1

    def stop(self) -> None:
        """Raises AssertionError where an answer was another."""
        self._over.set()
        self._thread.shutdown()
        self._running.result()


def test_every_hostile_request_has_the_right_answer(
    service: client.Service, share: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    service.still_right()
    cases = hostile.hostile(share(1000, 100), mutated)
    middle, regular = len(cases) // 2, Regular(service)
    found = faults(service, cases[:middle])
    before = service.memory()
    found += faults(service, cases[middle:])
    after = service.memory()
    regular.stop()
    kinds = collections.Counter(min(case.right[-1]) for case in cases)
    with capsys.disabled():
        counts = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
        memory = f"{before / client.MIB:.0f} MiB after the first half, {after / client.MIB:.0f} after all"
        print(
            f"\n{len(cases):,} hostile requests: {counts}; {len(found)} answered wrongly; {memory};"
            f" {regular.answered:,} regular requests among them were answered as ever"
        )
    assert not found, "\n".join(found)
    assert after - before < GROWTH
    service.is_idle()
    service.no_error_logged()


@pytest.mark.parametrize("number", range(10))
def test_ends_under_load_lose_nothing(number: int, share: Callable[[int, int], int], tmp_path: Path) -> None:
    if number >= share(10, 0):
        pytest.skip("one is ended in test_serve_hostile.py; HEADSTART_TORTURE=all ends ten")
    found = ended_under_load(tmp_path, clients=4 + 4 * number, after_s=0.2 + 0.3 * number)
    assert losses(found, 4 + 4 * number) == [], found


def test_the_document_is_turned_against_the_service_for_longer(
    service: client.Service, share: Callable[[int, int], int], tmp_path: Path
) -> None:
    if not (examples := share(300, 0)):
        pytest.skip("a short run is in test_serve_hostile.py; HEADSTART_TORTURE=all draws 300 examples of each kind")
    found = schemathesis(service, tmp_path, examples)
    assert found.returncode == 0, found.stdout
    service.still_right()
