"""The quadratic against autograd, torch and scikit-learn; the checks with right and wrong formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from experiments.gradient_descent import checks, quadratic


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    x = rng.normal([1.0, 0.0, -2.0], size=(30, 3))
    return x, x @ [1.0, -1.0, 0.5] + 0.3 + rng.normal(size=30)


def loss_of(x, y, w):
    rows = torch.cat([torch.from_numpy(x), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    return (rows @ w - torch.from_numpy(y)).square().mean()


def test_hessian_minimum_and_excess_are_those_of_autograd_and_scikit_learn(points):
    x, y = points
    found = quadratic.quadratic_of(x, y)
    w = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hessian = torch.autograd.functional.hessian(lambda v: loss_of(x, y, v), w)
    assert found.hessian == pytest.approx(hessian.numpy())
    reference = LinearRegression().fit(x, y)
    assert found.minimum == pytest.approx([*reference.coef_, reference.intercept_])
    assert found.lowest == pytest.approx(np.mean((reference.predict(x) - y) ** 2))
    assert found.excess(w.numpy()) == pytest.approx(loss_of(x, y, w).item() - found.lowest)
    both = found.excess(np.stack([w.numpy(), found.minimum]))
    assert both == pytest.approx([float(found.excess(w.numpy())), 0.0], abs=1e-12)
    assert found.threshold == pytest.approx(2 / torch.linalg.eigvalsh(hessian)[-1].item())


def test_the_closed_form_is_torchs_gradient_descent(points):
    """The truth is torch's optimiser itself, in double precision."""
    x, y = points
    found = quadratic.quadratic_of(x, y)
    w = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    start, step = w.detach().numpy().copy(), 0.7 * found.threshold
    optimizer = torch.optim.SGD([w], lr=step)
    for t in range(1, 20):
        optimizer.zero_grad()
        loss_of(x, y, w).backward()
        optimizer.step()
        assert found.after(t, start, step) == pytest.approx(w.detach().numpy(), rel=1e-9)
        rows = quadratic.with_ones(x)
        assert checks.descend(rows, y, start, step, t) == pytest.approx(w.detach().numpy(), rel=1e-9)
    assert found.after(0, start, step) == pytest.approx(start)


def test_checks_find_what_theory_says():
    numbers = checks.closed_form(3)
    assert numbers["error"] <= 1e-10
    assert numbers["draws"] == 100
    found = checks.step_threshold(3)
    assert abs(found["relative_difference"]) < 1e-3
    assert found["relative_difference"] == pytest.approx(found["measured"] / found["predicted"] - 1)
    assert found["decades_inside"] < -1 < 1 < found["decades_outside"]
    for multiple in checks.MULTIPLES:
        decades = found[f"decades/{multiple:.2f}"]
        assert decades == pytest.approx(found[f"predicted_decades/{multiple:.2f}"], abs=1e-6)
        assert (decades > 0.5) == (multiple > 1)


def test_a_wrong_closed_form_is_found(monkeypatch):
    right = quadratic.Quadratic.after
    monkeypatch.setattr(quadratic.Quadratic, "after", lambda self, t, w, step: right(self, t, w, 1.01 * step))
    assert checks.closed_form(3)["error"] > 1e-4


def test_a_wrong_threshold_is_found(monkeypatch):
    """1/λmax is where the descent stops jumping across the valley, not where it stops converging."""
    right = quadratic.Quadratic.threshold
    monkeypatch.setattr(quadratic.Quadratic, "threshold", property(lambda self: right.fget(self) / 2))
    assert checks.step_threshold(3)["relative_difference"] > 0.5


def test_the_search_measures_the_descent_and_not_the_theory(monkeypatch):
    right = checks.descend
    monkeypatch.setattr(checks, "descend", lambda rows, y, w, step, n: right(rows, y, w, 1.1 * step, n))
    assert checks.step_threshold(3)["relative_difference"] == pytest.approx(1 / 1.1 - 1, abs=1e-3)


def test_a_loss_that_is_no_longer_a_number_is_no_convergence():
    rows, y = np.ones((2, 1)), np.ones(2)
    assert not checks._converges(rows, y, np.zeros(1), 1e200)
    assert checks._converges(rows, y, np.zeros(1), 0.4)
    assert math.isfinite(checks.descend(rows, y, np.zeros(1), 0.4, 10)[0])
