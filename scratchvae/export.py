"""§7.3.1 A trained VAE for other programs, as ONNX: raw columns to the heads of q(z | x), and z to E[x | z] in them.

    x, raw columns  -->  kept ones, standardised, as its kind enters  -->  mlp  -->  q's heads: mu, log_var
                                                    z, in both parts mu  -->  mlp  -->  p's head  -->  mean, raw columns

Networks run in float32, as in training; what standardises runs in float64, for a column may be large beside its spread.
Columns of words are codes 0, 1, 2, …; `metadata_props` name the columns and say whose words they are.
"""

import json
from typing import Any

import numpy as np

from .conditional import Net
from .conditional import kind as kind_of
from .data import UNIT
from .distributions.columns import Part
from .distributions.kinds import one_hot
from .errors import UsageError
from .kernels.activations import SLOPE
from .training.state import State

OPSET, IR = 17, 8  # of ONNX 1.12: old enough for every runtime that is about
FLOAT, WHOLE, DOUBLE = 1, 7, 11  # its numbers of types
Sizes = dict[str, tuple[int, int]]  # name → type, columns
PARTS = ("both", "encoder", "decoder")
ACTIVATE = {"tanh": "Tanh", "relu": "Relu", "leaky_relu": "LeakyRelu", "elu": "Elu", "softplus": "Softplus",
            "sigmoid": "Sigmoid", "identity": "Identity"}  # fmt: skip
MEANS = {  # of E[x | z] the head that says it, and the operations that lead there
    "bernoulli": ("logits", ("Sigmoid",)),
    "gaussian": ("mu", ()),
    "gaussian-fixed": ("mu", ()),
    "gaussian-sigmoid": ("mu", ("Sigmoid",)),
    "poisson": ("log_rate", ("Exp",)),
    "negative-binomial": ("log_mean", ("Exp",)),
    "gamma": ("log_mean", ("Exp",)),
    "exponential": ("log_rate", ("Neg", "Exp")),
    "student-t": ("mu", ()),
    "categorical": ("logits", ("ArgMax",)),  # the most probable class: codes have no average
}


class Graph:
    """Nodes and constants, in order; every operation returns the name of its result."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError:
            raise UsageError("an export needs onnx: pip install 'scratchvae[onnx]'") from None
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: str = "float32") -> str:
        """An array."""
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """The operation on those; its result may be given the name of an output."""
        name = name or f"n{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [name], **attributes))
        return name

    def columns(self, x: str, which: Any) -> str:
        """Those columns of x."""
        return self("Gather", x, self.constant(which, "int64"), axis=1)

    def model(self, inputs: Sizes, outputs: Sizes, about: str, props: dict[str, str]) -> Any:
        """The model, checked; N rows of each input and output."""
        helper = self.onnx.helper
        infos = [
            [helper.make_tensor_value_info(name, kind, ["N", width]) for name, (kind, width) in of.items()]
            for of in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "vae", *infos, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, doc_string=about)
        helper.set_model_props(made, props)
        self.onnx.checker.check_model(made)
        return made


def to_onnx(state: State, part: str = "both") -> Any:
    """The model as an `onnx.ModelProto`: x (N, columns) → mu, log_var (N, K) or what other heads q has, z (N, K) → mean
    (N, columns), or both parts, x → mu, log_var and the mean at z = mu. Rows are raw, grey levels in [0, 1].

    Raises UsageError for what has no such graph: a ladder, gaps in x, a likelihood whose mean is no plain formula.
    """
    check(state, part)
    g, K, q = Graph(), state.config.latent_size, state.phi.family
    rows = FLOAT if state.reading.scale is None else DOUBLE, state.reading.columns
    inputs: Sizes = {"z": (FLOAT, K)} if part == "decoder" else {"x": rows}
    outputs: Sizes = {}
    if part != "decoder":
        layers(g, entered(g, state, "x"), state.phi, {head: head for head in q.heads})
        outputs = {head: (FLOAT, width) for head, width in q.widths(K).items()}
    if part != "encoder":
        decoded(g, state, "mu" if part == "both" else "z")
        outputs["mean"] = rows
    known = {name: json.dumps(getattr(state.reading, name)) for name in ("names", "levels")}
    props = known | {name: str(getattr(state.config, name)) for name in ("likelihood", "posterior", "binarisation")}
    raw = "in [0, 1], pixels / 255" if state.config.likelihood in UNIT else "as in the table, words as their codes"
    about = f"A variational autoencoder, {part}. Columns of x and mean are raw, {raw}, counted from 0 along levels"
    return g.model(inputs, outputs, about, props)


def check(state: State, part: str) -> None:
    """One clear line for a run that cannot be exported."""
    config = state.config
    if part not in PARTS:
        raise UsageError(f"part={part!r}: expected one of {', '.join(PARTS)}")
    if config.network != "mlp":
        raise UsageError(f"network={config.network!r} has no export: train one with --network mlp")
    if config.deep or config.missing:
        what = f"latent={config.latent}, a ladder" if config.deep else f"missing={config.missing!r}, rows with gaps"
        raise UsageError(f"this run has {what}, which has no export: train one with one latent layer and whole rows")
    if part == "both" and config.posterior != "normal":
        raise UsageError(f"posterior {config.posterior!r}: its mean is no head of it: give --part encoder, or decoder")
    if odd := [p.name for p in parts(state) if p.name not in MEANS] if part != "encoder" else []:
        raise UsageError(f"likelihood {odd[0]!r}: its mean is no plain formula: give --part encoder, which has none")


def parts(state: State) -> tuple[Part, ...]:
    """Which columns that the model sees are of which kind."""
    likelihood, columns = state.config.likelihood, state.reading.width
    if not state.phi.enter:
        return (Part(likelihood, tuple(range(columns))),)
    found: tuple[Part, ...] = kind_of(likelihood).whole(columns).parts
    return found


def layers(g: Graph, h: str, net: Net, names: dict[str, str]) -> None:
    """The net's hidden layers, and those of its heads that are given names."""
    slope: dict[str, Any] = {"alpha": SLOPE} if net.activation == "leaky_relu" else {}
    for layer in net.hidden:
        h = g(ACTIVATE[net.activation], g("Gemm", h, g.constant(layer.W), g.constant(layer.b)), **slope)
    for head, layer in zip(net.family.heads, net.heads, strict=True):
        if head in names:
            g("Gemm", h, g.constant(layer.W), g.constant(layer.b), name=names[head])


def entered(g: Graph, state: State, x: str) -> str:
    """`Reading.take`, then what `kinds.Decoder.features` makes of it, where a kind enters in its own way."""
    reading = state.reading
    if reading.kept is not None:
        x = g.columns(x, reading.kept)
    if reading.scale is not None:
        x = g("Div", g("Sub", x, g.constant(reading.shift, "float64")), g.constant(reading.scale, "float64"))
        x = g("Cast", x, to=FLOAT)
    if state.config.binarisation == "threshold":
        x = g("Cast", g("Greater", x, g.constant(0.5)), to=FLOAT)
    if not state.phi.enter:
        return x
    return g("Concat", *(seen(g, part, g.columns(x, part.columns)) for part in parts(state)), axis=1)


def seen(g: Graph, part: Part, x: str) -> str:
    """`kinds.seen_by` of whole rows."""
    limits, classes = part.kind.support(part.settings), one_hot(part)
    if classes > 1:
        hot = g("OneHot", g("Cast", x, to=WHOLE), g.constant(classes, "int64"), g.constant([0, 1]), axis=-1)
        return g("Reshape", hot, g.constant([-1, classes * len(part.columns)], "int64"))
    if limits.low == 0 and limits.high == np.inf:
        return g("Log", x if limits.open else g("Add", x, g.constant(1)))
    return g("Div", x, g.constant(limits.high)) if np.isfinite(limits.high) else x


def decoded(g: Graph, state: State, z: str) -> str:
    """E[x | z] in raw columns, called mean: part by part, in the columns' order, and `Reading.undo`."""
    theta, reading, mixed, several = state.theta, state.reading, "=" in state.config.likelihood, parts(state)
    if theta.enter:  # an angle
        z = g("Concat", g("Cos", z), g("Sin", z), axis=1)
    heads = [f"{i}.{p.name}." * mixed + MEANS[p.name][0] for i, p in enumerate(several)]
    layers(g, z, theta, {head: f"p.{head}" for head in heads})
    x = g("Concat", *(mean(g, p, f"p.{head}") for p, head in zip(several, heads, strict=True)), axis=1)
    x = g.columns(x, np.argsort([column for p in several for column in p.columns])) if mixed else x
    if reading.scale is not None:
        x = g("Mul", g("Cast", x, to=DOUBLE), g.constant(reading.scale, "float64"))
        x = g("Add", x, g.constant(reading.shift, "float64"))
    if reading.kept is not None:  # what was constant comes back: a column of zeros, and its value
        x = g("Pad", x, g.constant([0, 0, 0, 1], "int64"))
        where, constant = np.full(reading.columns, reading.width), np.array(reading.constants)
        where[reading.kept], constant[reading.kept] = np.arange(reading.width), 0
        x = g("Add", g.columns(x, where), g.constant(constant, "float64"))
    return g("Identity", x, name="mean")


def mean(g: Graph, part: Part, x: str) -> str:
    """The mean of a part's columns, from the head that says it."""
    for op in MEANS[part.name][1]:
        if op == "ArgMax":
            x = g("Reshape", x, g.constant([-1, len(part.columns), part.settings.classes], "int64"))
            x = g("Cast", g("ArgMax", x, axis=2, keepdims=0), to=FLOAT)
        else:
            x = g(op, x)
    return x
