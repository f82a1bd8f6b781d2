"""Oracles: SplitMix64's published outputs, counting, and the binomial distribution."""

import itertools

import torch

from agon.train.randomness import mix


def splitmix_outputs(seed, count):
    """Vigna's reference generator, transcribed."""
    mask = (1 << 64) - 1
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield z ^ (z >> 31)


def test_the_reference_generator_is_the_published_one_and_one_part_is_its_output():
    assert next(splitmix_outputs(1234567, 1)) == 6457827717110365317
    for part in (0, 1, 77, 2**40):
        assert mix(part) == next(splitmix_outputs(part + 0x9E3779B97F4A7C15, 1)) >> 1


def test_no_two_near_by_inputs_collide():
    triples = [mix(*key) for key in itertools.product(range(40), repeat=3)]
    pairs = [mix(seed, images) for seed in range(10) for images in range(0, 64_000, 64)]
    singles = [mix(n) for n in range(2000)]
    assert len({*triples, *pairs, *singles}) == len(triples) + len(pairs) + len(singles)


def test_order_and_number_of_parts_matter():
    assert len({mix(), mix(0), mix(0, 0), mix(0, 0, 0), mix(1, 2), mix(2, 1), mix(1, 2, 0), mix(-1), mix(2**64 - 2)}) == 9


def test_every_bit_is_up_half_of_the_time():
    values = [mix(3, images, ordinal) for images in range(0, 64_000, 64) for ordinal in range(4)]
    n = len(values)
    for bit in range(63):
        ups = sum(value >> bit & 1 for value in values)
        assert abs(ups - n / 2) < 5 * (n / 4) ** 0.5, bit


def test_one_bit_of_input_turns_half_of_the_output():
    turned = [(mix(5, n) ^ mix(5, n ^ 1 << bit)).bit_count() for n in range(50) for bit in range(40)]
    assert abs(sum(turned) / len(turned) - 31.5) < 5 * (63 / 4 / len(turned)) ** 0.5


def test_a_seed_that_torch_takes():
    for value in (mix(), mix(2**63, 2**64 - 1), mix(-7, -(2**63))):
        assert 0 <= value < 2**63
        torch.Generator().manual_seed(value)
