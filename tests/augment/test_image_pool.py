"""Oracles: the rule written as a loop over Python lists, and the same pool however the batch is split."""

import threading

import pytest
import torch

from agon.augment.image_pool import ImagePool


def alone(x):
    return x


def play(pool, batches, draws, parts=1):
    """What is shown in each step, its batch in equal ``parts``."""
    shown = []
    for fakes, u in zip(batches, draws, strict=True):
        n = len(fakes) // parts
        shown.append(torch.cat([pool.query(fakes[i * n : (i + 1) * n], u[i * n : (i + 1) * n], (i * n, len(fakes))) for i in range(parts)]))
        pool.settle(alone)
    return torch.stack(shown)


def by_hand(size, batches, draws):
    """Lists: answers from the pool as the step began, storing in order afterwards."""
    pictures, shown = [None] * size, []
    count = 0
    for fakes, u in zip(batches.tolist(), draws.tolist(), strict=True):
        before, answers = list(pictures), []
        for i, (fake, (chance, which)) in enumerate(zip(fakes, u, strict=True)):
            slot = count + i if count + i < size else int(which * size)
            swaps = count + i >= size and chance > 0.5
            answers.append(before[slot] if swaps and before[slot] is not None else fake)
            if swaps or count + i < size:
                pictures[slot] = fake
        count = min(size, count + len(fakes))
        shown.append(answers)
    return torch.tensor(shown), pictures


def numbers(steps, batch):
    """Fakes that can be told apart, and draws."""
    torch.manual_seed(0)
    return torch.arange(steps * batch, dtype=torch.float32).view(steps, batch, 1, 1, 1), torch.rand(steps, batch, 2)


@pytest.mark.parametrize("size, batch", [(2, 1), (5, 1), (3, 4), (6, 4), (10, 4)])
def test_it_is_the_rule_as_a_loop(size, batch):
    batches, draws = numbers(12, batch)
    pool = ImagePool(size, (1, 1, 1))
    shown = play(pool, batches, draws)
    expected, pictures = by_hand(size, batches.view(12, batch), draws)
    assert torch.equal(shown.view(12, batch), expected)
    assert pool.pictures.view(-1).tolist() == pictures and int(pool.count) == size
    assert not torch.equal(expected, batches.view(12, batch))  # something of the past was shown


def test_half_of_what_is_shown_is_of_the_past_once_it_is_full():
    batches, draws = numbers(2000, 1)
    shown = play(ImagePool(50, (1, 1, 1)), batches, draws)
    assert torch.equal(shown[:50], batches[:50])
    assert abs((shown[50:] != batches[50:]).float().mean() - 0.5) < 0.04


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_leave_what_the_whole_leaves(parts):
    batches, draws = numbers(9, 4)
    whole, split = ImagePool(6, (1, 1, 1)), ImagePool(6, (1, 1, 1))
    assert torch.equal(play(whole, batches, draws), play(split, batches, draws, parts))
    assert torch.equal(whole.pictures, split.pictures) and torch.equal(whole.count, split.count)


def test_ranks_leave_what_the_whole_leaves():
    """Two threads play the ranks; the mean over them is what torch.distributed would give."""
    batches, draws = numbers(9, 4)
    whole = ImagePool(6, (1, 1, 1))
    expected = play(whole, batches, draws)
    meeting, board, pools, shown = threading.Barrier(2), [None, None], [ImagePool(6, (1, 1, 1)) for _ in range(2)], [[], []]

    def rank(r):
        def mean(x):
            board[r] = x
            meeting.wait()
            total = (board[0] + board[1]) / 2
            meeting.wait()
            return total

        for fakes, u in zip(batches, draws, strict=True):
            for i in (2 * r, 2 * r + 1):  # and each rank's share in two parts
                shown[r].append(pools[r].query(fakes[i : i + 1], u[i : i + 1], (i, 4)))
            pools[r].settle(mean)

    threads = [threading.Thread(target=rank, args=(r,), daemon=True) for r in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    both = torch.cat([torch.cat(shown[r]).view(9, 2, 1, 1, 1) for r in range(2)], 1)
    assert torch.equal(both, expected)
    for pool in pools:
        assert torch.equal(pool.pictures, whole.pictures) and int(pool.count) == 6


def test_what_an_interrupted_step_noted_is_dropped():
    pool = ImagePool(2, (1, 1, 1))
    pool.query(torch.ones(1, 1, 1, 1), torch.zeros(1, 2), (0, 1))  # the step ended here, without settling
    pool.query(torch.full((1, 1, 1, 1), 5.0), torch.zeros(1, 2), (0, 1))
    pool.settle(alone)
    assert pool.pictures.view(-1).tolist() == [5.0, 0.0] and int(pool.count) == 1


def test_the_pool_is_saved_and_goes_on_as_before():
    batches, draws = numbers(10, 2)
    straight, stopped, resumed = (ImagePool(3, (1, 1, 1)) for _ in range(3))
    expected = play(straight, batches, draws)
    play(stopped, batches[:6], draws[:6])
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(play(resumed, batches[6:], draws[6:]), expected[6:])


def test_no_pool_shows_every_fake():
    batches, draws = numbers(3, 2)
    pool = ImagePool(0, (1, 1, 1))
    assert torch.equal(play(pool, batches, draws), batches) and not pool.pictures.numel()
