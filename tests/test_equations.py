"""Every loss equals its paper's definition written out by hand, in value and in gradient."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F

from sslcourse.methods import simclr
from sslcourse.runtime.errors import CourseError


def nt_xent_by_hand(z1, z2, temperature):
    """Algorithm 1 of SimCLR, loop for loop: views 2k-1 and 2k belong together."""
    views = [v for pair in zip(z1, z2) for v in pair]
    n = len(views)

    def s(i, j):
        return (views[i] @ views[j]) / (views[i].norm() * views[j].norm())

    def ell(i, j):
        below = sum(torch.exp(s(i, k) / temperature) for k in range(n) if k != i)
        return -torch.log(torch.exp(s(i, j) / temperature) / below)

    return sum(ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k) for k in range(n // 2)) / n


def pair(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("n, d", [(1, 3), (2, 1), (5, 4), (8, 16)])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_nt_xent_is_the_papers_double_loop(n, d, temperature):
    a, b = pair(n, d)
    ours, by_hand = simclr.nt_xent(a, b, temperature), nt_xent_by_hand(a, b, temperature)
    torch.testing.assert_close(ours, by_hand, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(by_hand, (a, b))):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def _wrong(change):
    """nt_xent with one mistake planted."""

    def loss(z1, z2, temperature):
        z = torch.cat([z1, z2])
        if change != "no normalisation":
            z = F.normalize(z, dim=1)
        s = z @ z.T * temperature if change == "temperature multiplied" else z @ z.T / temperature
        if change != "self-similarity kept":
            s = s.masked_fill(
                torch.eye(len(z), dtype=torch.bool), -1.0 if change == "masked with -1" else float("-inf")
            )
        partner = torch.arange(len(z)).roll(1 if change == "wrong partner" else len(z1))
        reduction = "sum" if change == "sum for mean" else "mean"
        if change == "one direction only":
            return F.cross_entropy(s[: len(z1)], partner[: len(z1)])
        return F.cross_entropy(s, partner, reduction=reduction)

    return loss


@pytest.mark.parametrize(
    "change",
    [
        "no normalisation",
        "temperature multiplied",
        "self-similarity kept",
        "masked with -1",
        "wrong partner",
        "sum for mean",
        "one direction only",
    ],
)
def test_the_double_loop_tells_planted_mistakes_apart(change):
    a, b = pair(5, 4)
    assert abs(_wrong(change)(a, b, 0.5).item() - nt_xent_by_hand(a, b, 0.5).item()) > 1e-3
    torch.testing.assert_close(
        _wrong("nothing")(a, b, 0.5), nt_xent_by_hand(a, b, 0.5)
    )  # and the unharmed one passes


def test_nt_xent_gradcheck():
    a, b = pair(4, 3)
    assert torch.autograd.gradcheck(lambda x, y: simclr.nt_xent(x, y, 0.3), (a, b))


def test_nt_xent_closed_forms():
    same = torch.ones(8, 5, dtype=torch.float64)
    assert float(simclr.nt_xent(same, same, 0.1)) == pytest.approx(math.log(2 * 8 - 1))  # tells nothing apart
    basis = torch.eye(6, dtype=torch.float64)
    tau = 0.5
    assert float(simclr.nt_xent(basis, basis, tau)) == pytest.approx(
        math.log(1 + (2 * 6 - 2) * math.exp(-1 / tau))
    )
    four = torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64)
    assert float(simclr.nt_xent(four, four, 0.5)) == pytest.approx(0.2395, abs=5e-5)
    a, b = pair(7, 4)
    assert float(simclr.nt_xent(a, b, 1e6)) == pytest.approx(
        math.log(13), abs=1e-4
    )  # temperature to infinity


def test_nt_xent_invariances():
    a, b = pair(6, 5)
    value = simclr.nt_xent(a, b, 0.4)
    assert torch.isclose(value, simclr.nt_xent(b, a, 0.4))  # the views are alike
    order = torch.randperm(6)
    assert torch.isclose(value, simclr.nt_xent(a[order], b[order], 0.4))
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    assert torch.isclose(value, simclr.nt_xent(a @ turn, b @ turn, 0.4))
    scale = torch.rand(6, 1, dtype=torch.float64) * 9 + 0.1
    assert torch.isclose(value, simclr.nt_xent(a * scale, b, 0.4))
    (gradient,) = torch.autograd.grad(value, a)
    assert torch.allclose(
        (gradient * a).sum(1), torch.zeros(6, dtype=torch.float64), atol=1e-12
    )  # length does not matter


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("temperature", [0.005, 0.5, 100.0])
def test_nt_xent_stays_finite(dtype, temperature):
    z = (torch.randn(16, 8) * 100).to(dtype).requires_grad_()
    dead = torch.zeros(16, 8, dtype=dtype)
    for other in (z.detach(), dead, torch.randn(16, 8).to(dtype)):
        loss = simclr.nt_xent(z, other, temperature)
        assert loss.dtype == torch.float32 and torch.isfinite(loss)
        (gradient,) = torch.autograd.grad(loss, z)
        assert torch.isfinite(gradient).all()


def test_nt_xent_under_autocast_loses_nothing():
    a, b = torch.randn(32, 16), torch.randn(32, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(simclr.nt_xent(a, b, 0.1), simclr.nt_xent(a, b, 0.1))
        inside = simclr.nt_xent(a, b, 0.1)
    assert torch.equal(inside, simclr.nt_xent(a, b, 0.1))


def test_nt_xent_equals_lightly():
    lightly = pytest.importorskip("lightly.loss", reason="lightly is an optional oracle: pip install lightly")
    a, b = torch.randn(16, 8), torch.randn(16, 8)
    torch.testing.assert_close(
        simclr.nt_xent(a, b, 0.3), lightly.NTXentLoss(temperature=0.3)(a, b), rtol=1e-5, atol=1e-5
    )


def test_partner_found():
    z = torch.eye(8)
    assert float(simclr.partner_found(z, z)) == 1
    far = torch.cat([torch.eye(4), torch.zeros(4, 4)]), torch.cat([torch.zeros(4, 4), torch.eye(4)])
    assert (
        float(simclr.partner_found(far[0].T.contiguous(), -far[0].T.contiguous())) == 0
    )  # the partner is the farthest


def test_errors_name_the_value():
    with pytest.raises(CourseError, match=r"\(4, 3\).*\(5, 3\)"):
        inspect.unwrap(simclr.nt_xent)(torch.rand(4, 3), torch.rand(5, 3), 0.5)
    with pytest.raises(CourseError, match="temperature=0"):
        simclr.nt_xent(torch.rand(4, 3), torch.rand(4, 3), 0.0)
    with pytest.raises(CourseError, match="'nonlinear', 'linear' or 'none'"):
        simclr.projector(4, 4, 4, "deep")
