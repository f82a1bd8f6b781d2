"""One step ahead: order, how far ahead, errors."""

import threading

import pytest

from agon.metrics.ahead import ahead


def test_the_next_is_made_while_one_is_used_and_no_more():
    """The consumer holds item n only until item n + 1 has been made meanwhile: without a second thread this would wait for ever."""
    made = [threading.Event() for _ in range(5)]

    def make(index):
        made[index].set()
        return index * index

    got = []
    for value in ahead(make, range(5)):
        index = len(got)
        if index + 1 < 5:
            assert made[index + 1].wait(10)
        assert not any(event.is_set() for event in made[index + 2 :]), "two at a time: memory stays bounded"
        got.append(value)
    assert got == [0, 1, 4, 9, 16]


def test_nothing_of_nothing_and_errors_come_through():
    assert list(ahead(str, [])) == []

    def make(index):
        if index == 2:
            raise ValueError("broken")
        return index

    stream = ahead(make, range(4))
    assert next(stream) == 0 and next(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stream)
