"""A thousand hostile requests to a real service: each has the status that is right, and it answers as before.

By default 100 of them; HEADSTART_TORTURE=all sends all, and prints how many of each kind there were.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Iterator

import hostile_client as client
import hostile_samples as hostile
import pytest
from test_image_fuzz import mutants

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


def test_every_hostile_request_has_the_right_answer(
    service: client.Service, share: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    service.still_right()
    cases = hostile.hostile(share(1000, 100), mutated)
    middle = len(cases) // 2
    found = faults(service, cases[:middle])
    service.still_right()
    before = service.memory()
    found += faults(service, cases[middle:])
    service.still_right()
    after = service.memory()
    kinds = collections.Counter(min(case.right[-1]) for case in cases)
    with capsys.disabled():
        counts = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
        memory = f"{before / client.MIB:.0f} MiB after the first half, {after / client.MIB:.0f} after all"
        print(f"\n{len(cases):,} hostile requests: {counts}; {len(found)} answered wrongly; {memory}")
    assert not found, "\n".join(found)
    assert after - before < GROWTH
    service.no_error_logged()
