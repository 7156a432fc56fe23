"""§7.3 Everything that decides a run's result, in one frozen record: it goes into config.json and the checkpoint."""

import dataclasses
import json
import math
import reprlib
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import BINARISATIONS
from ..errors import UsageError, did_you_mean, unknown
from ..initial import INITIALISERS
from ..models.convolutional import channels
from ..models.ladder import LadderArchitecture
from ..models.semi_supervised import SemiSupervised
from ..models.sequence import SequenceArchitecture
from ..models.vae import Architecture
from ..noise import LIMIT
from ..types import Array
from .algorithms import check_algorithm
from .missing import fraction
from .model_options import check_model
from .optim import Optimizer
from .orders import parsed

if TYPE_CHECKING:
    from .reading import Reading

__all__ = ["BINARISATIONS", "Config", "from_dict", "known", "read_json"]

LARGEST = 1_000_000  # bytes of a config's file: JSON takes thirty times as many once it is read


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run. Two runs with equal configs on equal data give equal bits, whatever the number of threads; with
    the compiled kernels on processors whose vectors have one width."""

    data: str = "mnist"
    test: str | None = None  # the test rows, where they are a file of their own
    binarisation: str = "dynamic"
    model: str = "vae"  # or "m2", "sequence" (training.model_options)
    labels: int = 0  # rows that tell their class, as many of each; 0: all, and m2 is a conditional VAE
    labels_from: str = ""  # name of the column that holds the classes, which is then not taken
    alpha: float = 0.1  # weight of the mean of log q(y | x) over rows that tell, beside the bound
    tokens: str = "characters"  # of a text: or "words", "smiles"
    embedding: int = 32  # numbers that stand for a token
    word_dropout: float = 0.0  # share of the tokens that a decoder of sequences is not shown in training
    free_bits: float = 0.0  # nats of KL that each latent of such a model has for nothing in what is maximised
    latent: int | tuple[int, ...] = 20  # several sizes, from x upwards, make a ladder …
    hidden: tuple[Any, ...] = (500,)  # … whose every arrow has widths of its own: ((200, 200), (100, 100))
    activation: str = "tanh"
    network: str = "mlp"  # or "conv", "conv:32,64": convolutions between the image and `hidden`
    image: tuple[int, ...] = ()  # (H, W) or (H, W, C) of a row, where the data do not say it
    likelihood: str = "bernoulli"  # of all columns, "poisson", "categorical:17", or of each: "0=gaussian,1=poisson"
    columns: str = ""  # mixed ones, by name or number: "age=gaussian,sex=categorical"
    leave_out: tuple[str, ...] = ()  # names of columns that are not taken
    variance: float | None = None  # σ²'s floor in units of the raw columns; None: a share (`training.reading`)
    standardise: bool = True  # real columns under a Gaussian likelihood
    initial: str = "glorot"
    algorithm: str = "aevb"  # or a rival: "wake-sleep", "reweighted-wake-sleep:5" (training.algorithms)
    estimator: str = "sgvb_b"
    samples: int = 1  # L of eq. 7, or K of the importance-weighted bound
    order: str = "permutation"  # of rows, "keyed" or "blocks:1024" (training.orders)
    batch: int = 100
    epochs: float = 20.0
    validation: float = 0.0  # share of the training rows held out for the stop (training.stopping); 0: no stop
    patience: int = 10  # looks in a row without a better bound of theirs that end the run
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    weights: str = ""  # of rows: the name of a column, which is then not taken, or a .npy (training.weights)
    missing: str = ""  # values that training does not see: "nan" in the data, or "random:0.5"
    posterior: str = "normal"  # q(z | x), by its family's name; "planar:10" is a flow of ten layers
    prior: str | bool = "standard"  # p(z): the family's standard member, or "mixture:10", "vamp:500", which are learned
    beta: float = 1.0  # weight of the KL in what is maximised; figures are bounds whatever it is
    warm_up: float = 0.0  # epochs in which that weight rises from 0
    weight_prior: bool = False  # p(θ) = N(0, I) on the generative parameters: MAP, eq. 8; called prior until 2026-11
    seed: int = 0
    dtype: str = "float32"
    kernels: str = "numba"

    def __post_init__(self) -> None:
        if isinstance(self.prior, bool):  # of a run made when `prior` was what `weight_prior` is now
            object.__setattr__(self, "weight_prior", self.weight_prior or self.prior)
            object.__setattr__(self, "prior", "standard")
        check_prior(self)
        object.__setattr__(self, "image", tuple(self.image))
        check_network(self)
        object.__setattr__(self, "hidden", tuple(tuple(h) if isinstance(h, list) else h for h in self.hidden))
        object.__setattr__(self, "leave_out", tuple(self.leave_out))
        if isinstance(self.latent, list | tuple):
            object.__setattr__(self, "latent", tuple(self.latent))
        if isinstance(self.optimizer, dict):
            object.__setattr__(self, "optimizer", known(Optimizer, self.optimizer, "optimizer"))
        if not isinstance(self.optimizer, Optimizer):
            raise UsageError(f"optimizer={self.optimizer!r}: expected its options, such as {{'name': 'adam'}}")
        for field, choices in (
            ("binarisation", BINARISATIONS),
            ("initial", INITIALISERS),
            ("dtype", ("float32", "float64")),
            ("kernels", ("numpy", "numba")),
        ):
            if getattr(self, field) not in choices:
                raise unknown(field, getattr(self, field), choices)
        if not self.deep and any(isinstance(widths, tuple) for widths in self.hidden):
            raise UsageError(f"hidden={self.hidden} has widths for several latent layers, latent={self.latent} is one")
        if self.deep and self.weights:
            raise UsageError(f"weights={self.weights!r}: rows are weighed with one latent layer, latent has several")
        fraction(self.missing)
        parsed(self.order)
        if self.batch < 1 or self.samples < 1 or not self.epochs > 0:
            raise UsageError(f"batch={self.batch}, samples={self.samples}, epochs={self.epochs} must be above 0")
        check_model(self)
        check_algorithm(self)
        if self.epochs > LIMIT:
            raise UsageError(f"epochs={self.epochs}: expected at most {LIMIT}, for there is no noise for more steps")
        if self.patience < 1:
            raise UsageError(f"patience={self.patience}: expected so many looks without a rise, 1 or more")
        if not 0 <= self.validation < 1:
            raise UsageError(f"validation={self.validation} is a share of the training rows: 0 (no stop) to below 1")

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of columns that are no part of x."""
        weights = (self.weights,) if self.weights and not self.weights.endswith(".npy") else ()
        return (*self.leave_out, *weights, *((self.labels_from,) if self.labels_from else ()))

    @property
    def deep(self) -> bool:
        """Whether the model has several latent layers (§7.1)."""
        return isinstance(self.latent, tuple)

    @property
    def latent_size(self) -> int:
        """Columns of noise for one sample of z: K, or Σ K_l of a ladder."""
        return sum(self.latent) if isinstance(self.latent, tuple) else self.latent

    def architecture(
        self, reading: "Reading", variance: float | Array | None = None
    ) -> Architecture | LadderArchitecture | SemiSupervised | SequenceArchitecture:
        """The model for rows as their reading has them; `variance` instead of what that says of it."""
        columns, log_scale, image = reading.width, reading.log_scale, reading.image
        if variance is None:
            variance = reading.variance(self.variance, self.likelihood)
        if self.model == "sequence":
            V = len(reading.vocabulary)
            return SequenceArchitecture(columns, V, self.latent_size, self.hidden[0], self.embedding)
        rest = self.activation, self.likelihood, variance, log_scale
        if self.model == "m2":
            return SemiSupervised(columns, len(reading.classes), self.latent_size, self.hidden, *rest)
        if isinstance(self.latent, tuple):
            return LadderArchitecture(columns, self.latent, self.hidden, *rest)
        families = self.posterior, str(self.prior)
        return Architecture(columns, self.latent, self.hidden, *rest, *families, self.network, image)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` takes them back."""
        return dataclasses.asdict(self)


def check_prior(config: "Config") -> None:
    """One clear line for a q or a p(z) that is none, or that the model has no place for."""
    name, _, count = str(config.prior).partition(":")
    if name not in ("standard", "mixture", "vamp") or (name != "standard") != count.isdecimal() or count == "0":
        raise UsageError(f"prior={config.prior!r}: expected standard, mixture:COMPONENTS or vamp:PSEUDO-INPUTS")
    if name == "vamp" and config.posterior != "normal":
        raise UsageError(f"prior={config.prior!r} is a mixture of normal q, and posterior is {config.posterior!r}: "
                         "another q over the real numbers may take mixture:COMPONENTS")  # fmt: skip
    if name == "mixture" and config.posterior not in REAL and not config.posterior.startswith("planar:"):
        raise UsageError(f"prior={config.prior!r} is over all real numbers, and posterior {config.posterior!r} is not")
    plain = config.posterior == "normal" and name == "standard" and config.beta == 1 and not config.warm_up
    if isinstance(config.latent, list | tuple) and not plain:
        raise UsageError("posterior, prior, beta and warm_up are for one latent layer, latent has several")
    if not config.beta > 0 or config.warm_up < 0:
        raise UsageError(f"beta={config.beta}, warm_up={config.warm_up}: expected a weight above 0, and epochs")


def check_network(config: "Config") -> None:
    """One clear line for a network that is none, or that the model has no place for."""
    if not channels(config.network):
        return
    if isinstance(config.latent, list | tuple):
        raise UsageError(f"network={config.network!r} is for one latent layer, latent={config.latent} has several")
    if config.columns or "=" in config.likelihood:
        raise UsageError(f"network={config.network!r} is for images, whose columns are of one kind: leave columns out")


REAL = ("normal", "laplace", "logistic", "student-t", "gumbel", "cauchy", "full-normal", "rank-one")  # z is any number
# of what is None or nothing by default
EXAMPLES = {"variance": 0.01, "test": "test.npy", "leave_out": ["name"], "image": [28, 28]}


def fits(name: str, value: Any, usual: Any) -> bool:
    """Whether a value, as a config file may hold it, is of its default's kind."""
    if name == "latent":
        return naturals(value, 1)
    if name in ("hidden", "image"):
        return naturals(value, 2 if name == "hidden" else 1) and not isinstance(value, Integral)
    if name == "milestones":
        pairs = isinstance(value, list | tuple) and all(isinstance(v, list | tuple) and len(v) == 2 for v in value)
        return pairs and all(number(part) for pair in value for part in pair)
    if name == "leave_out":
        return isinstance(value, list | tuple) and all(isinstance(column, str) for column in value)
    if name == "test":
        return value is None or isinstance(value, str)
    if name == "prior":
        return isinstance(value, bool | str)
    if name == "variance":
        return value is None or (number(value) and value > 0)
    if isinstance(usual, bool | str):
        return type(value) is type(usual)
    if isinstance(usual, float):
        return number(value)
    return not isinstance(usual, int) or (isinstance(value, Integral) and (name == "seed" or naturals(value)))


def number(value: Any) -> bool:
    """A finite real number."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def naturals(value: Any, depth: int = 2) -> bool:
    """A whole number that may be a size, or a list of such, or of lists of such."""
    if isinstance(value, list | tuple):
        return depth > 0 and all(naturals(item, depth - 1) for item in value)
    return isinstance(value, Integral) and not isinstance(value, bool) and value < 2**24


def known(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    """Build `kind` from a dict; an option that it does not have, or a value of another kind, is one clear line."""
    usual = {field.name: field.default for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in usual:
            near = did_you_mean(name, usual)
            raise UsageError(f"unknown option {name!r} in {where}: known are {', '.join(usual)}{near}")
        if not fits(name, value, usual[name]):
            shown = reprlib.repr(value)  # of a list in a list in a list the beginning
            example = EXAMPLES.get(name, usual[name])
            raise UsageError(f"{name}={shown} in {where}: expected a value such as {example!r}")
    return kind(**values)


def read_json(path: Path) -> Any:
    """What a config's file holds. Raises OSError, ValueError, or RecursionError for what is nested too deeply."""
    with open(path, "rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes, which no config needs")
    return json.loads(raw.decode("utf-8"))


def from_dict(values: dict[str, Any]) -> Config:
    """A Config from the dict that `as_dict` gave, or that a user wrote."""
    found: Config = known(Config, values, "the config")
    return found
