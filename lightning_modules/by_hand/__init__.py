"""The lecture's modules M^k written by hand, without autograd.

`forward` computes z^k from z^(k-1) and stores the tensors that `backward` needs. `backward` computes delta^(k-1) from
delta^k, the gradient of the loss with respect to z^k, and adds the gradients of the parameters to their `.grad`.
`update(lr)` makes a step of gradient descent. A cost takes outputs and targets; its `backward` returns the last delta.

    network = ModularNetwork([Linear(w1, b1), Tanh(), Linear(w2, b2)])
    cost = MSE()
    loss = cost(network(x), y)
    network.zero_grad()
    network.backward(cost.backward())
    network.update(lr=0.1)
"""

from lightning_modules.by_hand.activations import ReLU, Sigmoid, Softmax, Tanh
from lightning_modules.by_hand.costs import BCE, MSE, Cost, CrossEntropy
from lightning_modules.by_hand.dropout import Dropout
from lightning_modules.by_hand.linear import Linear
from lightning_modules.by_hand.module import Module
from lightning_modules.by_hand.network import Chain, ModularNetwork
from lightning_modules.by_hand.normalization import BatchNorm, LayerNorm

__all__ = [
    "BCE",
    "MSE",
    "BatchNorm",
    "Chain",
    "Cost",
    "CrossEntropy",
    "Dropout",
    "LayerNorm",
    "Linear",
    "ModularNetwork",
    "Module",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
