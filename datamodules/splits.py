"""The split of a source into training, validation and test rows, and stratified orders."""

import heapq
from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """Rows of a source: three disjoint index tensors."""

    train: Tensor
    val: Tensor
    test: Tensor


def stratified(order: Tensor, labels: Tensor) -> Tensor:
    """Reorder rows so that every part from the front or from the end has the classes in proportion.

    In such a part, the number of samples of a class differs from its share by less than one; in a part from the middle,
    by less than two. Samples of one class stay in order. The algorithm is R. Tijdeman's (The chairman assignment
    problem, Discrete Mathematics 32, 1980): among the classes below their share, it takes the one that would be too
    far below first.

    Args:
        order: rows of the source, (n,), shuffled.
        labels: label of each row of the source.
    """
    n, class_of = len(order), labels[order]
    sizes = class_of.bincount()
    parts = max(2 * int(sizes.count_nonzero()) - 2, 2)  # a class deviates from its share by at most 1 − 1/parts
    rank = torch.empty_like(order)  # rank within the class
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
