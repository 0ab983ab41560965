"""Who goes where: rows of a source in three parts, with the classes in proportion if that is asked for."""

import heapq
from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """Rows of a source: three index tensors without a common element."""

    train: Tensor
    val: Tensor
    test: Tensor


def stratified(order: Tensor, labels: Tensor) -> Tensor:
    """Rearrange an order so that each of its parts, from the front or from the end, holds the classes in proportion.

    In such a part, the number of samples of a class is less than one away from its share; in a part from the middle,
    less than two. Within a class the samples stay in order. The algorithm is R. Tijdeman's (The chairman assignment
    problem, Discrete Mathematics 32, 1980): of the classes that are behind their share, the one that would be too far
    behind first.

    Args:
        order: rows of the source, (n,), shuffled.
        labels: label of each row of the source.
    """
    n, class_of = len(order), labels[order]
    sizes = class_of.bincount()
    parts = max(2 * int(sizes.count_nonzero()) - 2, 2)  # a class is at most 1 − 1/parts ahead or behind
    rank = torch.empty_like(order)  # within the class
    for label, members in enumerate(sizes.tolist()):
        rank[class_of == label] = torch.arange(members)
    size = sizes[class_of]
    earliest = -((-n * (parts * rank + 1)) // (parts * size))
    latest = ((parts * (rank + 1) - 1) / size.double()).tolist()
    begin = earliest.argsort(stable=True)
    place, step = begin.tolist(), earliest[begin].tolist()
    waiting: list[tuple[float, int]] = []
    chosen: list[int] = []
    arrived = 0
    while len(chosen) < n:
        while arrived < n and step[arrived] <= len(chosen) + 1:
            heapq.heappush(waiting, (latest[place[arrived]], place[arrived]))
            arrived += 1
        chosen.append(heapq.heappop(waiting)[1])
    return order[chosen]
