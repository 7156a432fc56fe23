"""§7.2.4 Each adapter on a function that somebody could have written there: the right backward passes, a slip is found.

Each framework is optional, and its tests are skipped where it is not installed.
"""

import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.gradcheck import (
    Report,
    check,
    of_autograd,
    of_jax,
    of_numba,
    of_pytensor,
    of_torch,
    parameters_of,
)

rng = np.random.default_rng(3)
X, W = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks, about themselves


@pytest.fixture
def torch() -> Any:
    """One thread: several only wait for one another, on arrays of this size."""
    torch: Any = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


slip = pytest.mark.parametrize("slip", [1.0, 1 + 1e-4])


def agrees(report: Report, slip: float, block: str) -> bool:
    """Ok without a slip; with one, the block that has it is wrong and no other."""
    if slip == 1.0:
        return bool(report)
    return [row.block for row in report.rows if row.verdict == "wrong"] == [block]


class Two(NamedTuple):
    """Outputs by name."""

    y: Any
    count: Any


@slip
@pytest.mark.parametrize("new", [False, True])
def test_torch_function(slip: float, new: bool, torch: Any) -> None:
    """forward and backward of an autograd.Function, in the old style and the new; forward with constants, two outputs.
    Catches an adapter that lets torch differentiate the forward itself."""

    def swish(x: Any, w: Any, power: int, labels: Any) -> Any:
        return (x @ w) ** power * torch.sigmoid(x @ w), x.sum(0), labels + 1

    class Old(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any, power: int, labels: Any) -> Any:
            ctx.save_for_backward(x, w)
            ctx.power = power
            return swish(x, w, power, labels)

        @staticmethod
        def backward(ctx: Any, dy: Any, dsum: Any, _: Any) -> Any:
            x, w = ctx.saved_tensors
            a, s = x @ w, torch.sigmoid(x @ w)
            da = dy * (ctx.power * a ** (ctx.power - 1) * s + a**ctx.power * s * (1 - s))
            return da @ w.T + dsum, slip * x.T @ da, None, None

    class New(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(x: Any, w: Any, power: int, labels: Any) -> Any:
            return swish(x, w, power, labels)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs[:2])
            ctx.power = inputs[2]

        backward = Old.backward

    rule = New if new else Old
    report = check(*of_torch(rule), (X, W, 2, np.arange(3)))
    assert report.name == rule.__name__
    assert [row.block for row in report.rows] == ["x", "w"]
    assert agrees(report, slip, "w"), report
    assert report.worst("complex") is not None  # through torch itself


@slip
def test_torch_module(slip: float, torch: Any) -> None:
    """A module in float32 with its parameters by name, a hand-written rule and batch normalization in it; the user's
    own stays as it was, its running mean too."""

    class Cube(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return slip * 3 * ctx.saved_tensors[0] ** 2 * dy

    class Act(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return Cube.apply(x)

    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), Act(), torch.nn.Linear(3, 2, bias=False))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    report = check(*of_torch(net), (parameters_of(net), X))
    assert "parameters.0.weight" in {row.block for row in report.rows}
    assert report.ok == (slip == 1.0), report
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net[0].weight.dtype == torch.float32


def test_torch_buffers_start_anew(torch: Any) -> None:
    """Catches a module that remembers how often it was called."""

    class Counts(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            return x * self.calls.add_(1)

    report = check(*of_torch(Counts()), ({}, X))
    assert report, report


def test_torch_noise_is_named(torch: Any) -> None:
    """Dropout draws anew in each call: said, not differentiated."""
    report = check(*of_torch(torch.nn.Dropout()), ({}, X))
    assert "fresh noise" in report.problems[0]


def test_torch_missing_gradient_is_named(torch: Any) -> None:
    """backward returns None for an input on which forward depends, or nothing has a gradient."""
    report = check(*of_torch(lambda x, w: (x.detach() @ w).sin()), (X, W))
    assert "None for x, but f depends on it" in report.problems[0]
    assert "nothing was checked" in check(*of_torch(lambda x: x.detach()), (X,)).problems[0]


def test_torch_parameters_of_others_are_named(torch: Any) -> None:
    """Bug: of a function that closes over a layer only x was checked, and "ok" said nothing of the layer."""
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 2).double()
    pairs = [(lambda x: torch.tanh(net(x)), (X,)), (net, ({}, X)), (net, (parameters_of(net), X)), (torch.tanh, (X,))]
    said = ["parameters that f closes over are not checked" in str(check(*of_torch(f), args)) for f, args in pairs]
    assert said == [True, True, False, False]


def test_what_is_no_function_is_refused(torch: Any) -> None:
    """Bug: a TypeError from within, at the first call."""
    for adapter in (of_torch, of_jax, of_autograd, of_pytensor):
        with pytest.raises(UsageError, match=f"{adapter.__name__} got int: give a"):
            adapter(3)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="got the class Two: give a"):
            adapter(Two)


def test_an_adapter_is_forty_lines_at_most() -> None:
    """Its docstring included."""
    for adapter in (of_torch, of_jax, of_autograd, of_numba, of_pytensor):
        assert len(inspect.getsource(adapter).splitlines()) <= 40, adapter.__name__


@slip
def test_jax(slip: float) -> None:
    """A custom_vjp rule, in float64 although JAX has float32 by default, which stays so."""
    jax: Any = pytest.importorskip("jax")

    def plain(x: Any, net: Any, labels: Any) -> Any:
        return {"y": jax.numpy.tanh(x @ net["w"]), "a": (labels + 1, x[0] * net["scale"])}

    swish = jax.custom_vjp(plain)

    def forward(x: Any, net: Any, labels: Any) -> Any:
        out = swish(x, net, labels)
        return out, (x, net, out["y"])

    def backward(kept: Any, dout: Any) -> Any:
        x, net, y = kept
        da, dx0 = dout["y"] * (1 - y**2), dout["a"][1]
        dx = (da @ net["w"].T).at[0].add(dx0 * net["scale"])
        return dx, {"w": slip * x.T @ da, "scale": jax.numpy.sum(dx0 * x[0])}, None

    swish.defvjp(forward, backward)
    report = check(*of_jax(swish), (X, {"w": W, "scale": 0.7}, np.arange(3)))
    assert report.name == "plain"
    assert agrees(report, slip, "net.w"), report
    assert report.worst("complex") is not None
    assert jax.numpy.ones(1).dtype == np.float32


@slip
def test_autograd(slip: float) -> None:
    """A primitive and its defvjp; one that has no rule for an argument."""
    pytest.importorskip("autograd")
    from autograd.extend import defvjp, primitive

    def plain(x: Any, w: Any) -> Any:
        return np.sin(x) * w

    scaled = primitive(plain)
    defvjp(scaled, lambda y, x, w: lambda dy: slip * dy * np.cos(x) * w, lambda y, x, w: lambda dy: dy * np.sin(x))
    assert agrees(check(*of_autograd(scaled), (X, 1 / X)), slip, "x")
    assert agrees(check(*of_autograd(lambda x, w: Two(scaled(x, w), 3)), (X, 1 / X)), slip, "x")
    defvjp(alone := primitive(plain), lambda y, x, w: lambda dy: dy * np.cos(x) * w)
    assert "None for w, but f depends on it" in check(*of_autograd(alone), (X, 1 / X)).problems[0]


def test_numba() -> None:
    """Two compiled functions: the complex step goes through Python, and compiles nothing."""
    numba = pytest.importorskip("numba")

    def scaled(x: float, w: float) -> Any:
        return np.sin(x) * w

    def scaled_vjp(dy: float, x: float, w: float) -> tuple[float, float]:
        return dy * np.cos(x) * w, dy * np.sin(x)

    compiled, compiled_vjp = map(numba.njit, (scaled, scaled_vjp))
    report = check(*of_numba(compiled, compiled_vjp), (0.7, 1.3))
    assert report, report
    assert report.name == "scaled"
    assert report.worst("complex") is not None
    assert len(compiled.signatures) == 1
    wrong = check(*of_numba(compiled, lambda dy, x, w: (dy * np.cos(x) * w, 1.0001 * dy * np.sin(x))), (0.7, 1.3))
    assert agrees(wrong, 1.0001, "w"), wrong
    with pytest.raises(UsageError, match="has no py_func"):
        of_numba(scaled, scaled_vjp)


@slip
def test_pytensor(slip: float) -> None:
    """An Op with perform and L_op; a function of variables around it, with an integer array and two outputs."""
    pytest.importorskip("pytensor")
    import pytensor.tensor as pt
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op

    class Scaled(Op):  # type: ignore[misc]
        __props__ = ()

        def make_node(self, *inputs: Any) -> Any:
            x, w = map(pt.as_tensor_variable, inputs)
            return Apply(self, [x, w], [x.type()])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = np.sin(inputs[0]) * inputs[1]

        def L_op(self, inputs: Any, outputs: Any, grads: Any) -> Any:
            (x, w), dy = inputs, grads[0]
            return [slip * dy * pt.cos(x) * w, dy * pt.sin(x)]

        pullback = L_op

    op = Scaled()
    report = check(*of_pytensor(op), (X, 1 / X))
    assert (report.name, report.worst("complex") is not None) == ("Scaled", True)
    assert agrees(report, slip, "arg0"), report
    report = check(*of_pytensor(lambda x, w, rows: (rows + 1, op(x, w)[rows])), (X, 1 / X, np.array([0, 2, 2])))
    assert agrees(report, slip, "x"), report
