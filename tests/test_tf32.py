"""TF32's one switch: each thread finds it as it wants it, and whoever comes afterwards as it was."""

import threading
import time

import pytest
import torch
from headstart.core.extract.network.tf32 import tf32_allowed

SWITCH = torch.backends.cudnn


@pytest.mark.parametrize("before", [False, True])
def test_the_switch_is_set_inside_and_put_back(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SWITCH, "allow_tf32", before)
    for allow in (False, True):
        with tf32_allowed(allow):
            assert SWITCH.allow_tf32 == allow
        assert SWITCH.allow_tf32 == before


def test_an_error_inside_puts_it_back() -> None:
    before = SWITCH.allow_tf32
    with pytest.raises(ValueError, match="in this test"), tf32_allowed(not before):
        raise ValueError("in this test")
    assert SWITCH.allow_tf32 == before


@pytest.mark.parametrize("before", [False, True])
def test_threads_of_both_precisions_each_see_their_own(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SWITCH, "allow_tf32", before)
    wrong = list[int]()

    def work(number: int) -> None:
        allow = number % 2 == 0
        for _ in range(50):
            with tf32_allowed(allow):
                for _ in range(3):
                    if SWITCH.allow_tf32 != allow:
                        wrong.append(number)
                    time.sleep(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert SWITCH.allow_tf32 == before


def test_threads_that_want_the_same_need_not_wait_for_each_other() -> None:
    both = threading.Barrier(2, timeout=30)

    def work() -> None:
        with tf32_allowed(True):
            both.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
