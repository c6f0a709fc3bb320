"""Ports for a lab's servers."""

import random
import socket

from lab.ports import free_pairs


def test_pairs_are_even_and_both_ports_of_each_can_be_had() -> None:
    pairs = free_pairs(20, random.Random(4))

    assert len(set(pairs)) == 20
    assert all(port % 2 == 0 for port in pairs)
    for port in pairs:
        for each in (port, port + 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", each))


def test_a_pair_whose_second_port_is_taken_is_passed_over() -> None:
    first = free_pairs(1, random.Random(9))[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", first + 1))

        assert free_pairs(1, random.Random(9))[0] != first
