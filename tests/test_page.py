"""§7.3.1 The page: one file that asks nothing of anybody, and the numbers of its script are those of the library.

Files need nothing, numbers need node; without it they are skipped. What hands do: `test_page_browser.py`.
"""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SIDE, D, make_run, refused
from made_pages import rounded, state_of

from scratchvae import page
from scratchvae.cli import main
from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.models import vae
from scratchvae.models.joint import Joint
from scratchvae.tasks import quadrature
from scratchvae.training.run import Run

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not here: the script's numbers cannot be asked for")
HERE = Path(page.__file__).parent
X = (np.random.default_rng(1).random((5, D)) < 0.5).astype(np.uint8)
EPS = np.array([0.7, -1.3])


def content(html: str) -> dict[str, Any]:
    """The block of JSON."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def asked(html: str, expression: str) -> Any:
    """What an expression is worth in the page's script, which here has no document."""
    (script,) = re.findall(r"<script>(.*)</script>", html, re.DOTALL)
    code = f"""globalThis.DATA = {json.dumps(content(html))};\n{script}
const finish = (job) => {{ for (;;) {{ const {{ done, value }} = job.next(); if (done) return value; }} }};
const plain = (_, v) => (ArrayBuffer.isView(v) ? [...v] : v);
const x = ROWS[1], eps = {EPS.tolist()};
console.log(JSON.stringify({expression}, plain));"""
    assert NODE is not None
    done = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# ---------------------------------------------------------------- the file


def test_the_file_asks_nothing_and_is_small() -> None:
    """Catches an address of anybody else's in page, style or script, weights in a longer form, a script that grew."""
    state = state_of(784, (500,))
    html = page.page(state, np.zeros((500, 784)), (28, 28), np.arange(500) % 10)
    assert len(html.encode()) <= 2_500_000
    assert not re.search(r"https?:|//[\w.]+\.\w|@import|url\(|\bsrc=|\bfetch\(|XMLHttpRequest|\bimport\(", html)
    assert re.findall(r'href="([^"]*)"', html) == ["data:,"]
    script = (HERE / "page.js").read_text(encoding="utf-8").splitlines()
    assert len(script) <= 600
    assert max(map(len, script)) <= 120


def test_what_goes_in_is_in_the_file() -> None:
    """Catches another byte order, bits packed from the other end, a weight that is rounded twice, labels mixed up."""
    state, labels = state_of(), np.array(["b", "a", "</script>", "a", "b"])
    found = content(page.page(state, X, (SIDE, SIDE), labels, "about it"))
    assert found["weights"].keys() == state.arena.views.keys()
    for name, view in state.arena.views.items():
        held = found["weights"][name]
        raw = np.frombuffer(base64.b64decode(held["f16"]), "<f2").reshape(held["shape"])
        np.testing.assert_array_equal(raw, view.astype(np.float16), strict=False)
        np.testing.assert_allclose(raw, view, rtol=2**-11, atol=2**-25)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(found["rows"]), np.uint8).reshape(len(X), -1), axis=1)
    np.testing.assert_array_equal(bits[:, :D], X)
    assert [found["classes"][i] for i in found["labels"]] == labels.tolist()
    assert (found["about"], found["shape"], found["layers"]) == ("about it", [SIDE, SIDE], 1)


def test_every_word_that_the_script_names_is_in_the_page() -> None:
    """Catches an id or a colour that the script asks for and that is not there: it would stop at its first frame."""
    script, html, css = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("js", "html", "css"))
    ids = set(re.findall(r'\$\("(\w+)"\)|tell\("(\w+)"|fresh\("(\w+)"\)', script))
    for name in {part for parts in ids for part in parts if part}:
        assert f'id="{name}"' in html, name
    (tones,) = re.findall(r'const name of "([\w ]+)"\.split', script)
    light, dark = re.findall(r":root(?:\[data-theme=\"dark\"\])? \{(.*?)\}", css, re.DOTALL)
    for name in tones.split():
        assert f"--{name}:" in light, name
        assert f"--{name}:" in dark, name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"latent": 3},
            "latent=3, likelihood=bernoulli: train one: scratchvae train mnist --latent 2 --out runs/plane",
        ),
        ({"likelihood": "gaussian", "binarisation": "none"}, "likelihood=gaussian: train one"),
    ],
)
def test_another_model_is_refused(capsys: pytest.CaptureFixture[str], folder: Path, options: Any, words: str) -> None:
    """Catches a page whose plane is the first two of many latents, or whose pixels are densities."""
    out = folder / "page.html"
    assert words in refused(capsys, 2, "page", make_run(folder, **options), "--out", str(out))
    assert not out.exists()


def test_other_calls_are_refused(capsys: pytest.CaptureFixture[str], folder: Path, run: str) -> None:
    """Catches a traceback, and a page of rows that a Bernoulli decoder gives no probability."""
    assert "must end in .html, or be -" in refused(capsys, 2, "page", run, "--out", "page.png")
    assert "--rows '99'" in refused(capsys, 2, "page", run, "--rows", "99")
    assert "--image 3,4 does not fit" in refused(capsys, 2, "page", run, "--image", "3,4")
    grey = make_run(folder, binarisation="none", data=str(folder / "grey.npy"))
    np.save(folder / "grey.npy", np.random.default_rng(0).random((40, D)))
    assert "rows of zeros and ones, and these have other values" in refused(capsys, 2, "page", grey, "--rows", "0:4")
    with pytest.raises(UsageError, match="D=16, h \\* w = D"):
        page.page(state_of(), X, (2, 4))
    with pytest.raises(UsageError, match="D=16, h"):
        page.page(state_of(), X[:0], (SIDE, SIDE))
    for wrong in (np.nan, 1e5):
        state = state_of()
        state.arena.views["p.logits.b"][3] = wrong
        with pytest.raises(UsageError, match=r"p\.logits\.b holds a value that float16 cannot"):
            page.page(state, X, (SIDE, SIDE))


def test_the_command_takes_the_rows_it_is_asked_for(capsys: pytest.CaptureFixture[str], folder: Path, run: str) -> None:
    """Catches rows in another order, and grey rows rounded in another way than evaluation binarises them."""
    out = folder / "page.html"
    assert main(["page", run, "--rows", "5,2", "--out", str(out)]) == 0
    assert main(["page", run, "--rows", "5,2", "--out", "-"]) == 0
    html = out.read_text(encoding="utf-8")
    assert capsys.readouterr().out == html
    state = Run(Path(run)).load()[0]
    test = np.load(folder / "bars.npy").reshape(-1, D)[-8:]  # the last tenth
    packed = np.packbits(test[[5, 2]].astype(np.uint8), axis=1).tobytes()
    assert content(html)["rows"] == base64.b64encode(packed).decode()
    assert content(html)["about"] == f"{state.config.data}, 16 · 6 · 2, 0 steps"


# ---------------------------------------------------------------- the script's numbers


@needs_node
@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "elu", "softplus", "sigmoid", "identity"])
def test_the_script_has_the_library_s_bound_and_gradient(activation: str) -> None:
    """Decoder, encoder, bound and every cotangent, on the rounded weights: catches any slip of formula, layout or
    float16 in the script."""
    state = state_of(hidden=(6, 5), activation=activation)
    views, phi, theta = rounded(state)
    dviews = {name: np.zeros_like(view) for name, view in views.items()}
    x, eps = X[1:2].astype(float), EPS[None]
    L, cache = vae.elbo(x, eps, phi, theta)
    vae.elbo_vjp(np.ones(1), cache, x, eps, phi, theta, *state.architecture.nets(dviews))
    html = page.page(state, X, (SIDE, SIDE))
    q, p, e, g = asked(html, "[enc(x), dec(sample(enc(x), eps)), elbo(x, eps), grad(x, eps, true)]")
    expected = {"mu": cache.q.mu, "log_var": cache.q.log_var}
    for name, array in expected.items():
        np.testing.assert_allclose(q[name], array[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(p["p"], cache.p.mean[0], rtol=1e-10)
    np.testing.assert_allclose([e["L"], g["L"], e["kl"]], [L[0], L[0], cache.kl[0]], rtol=1e-10)
    assert g["d"].keys() == dviews.keys()
    for name, array in dviews.items():
        np.testing.assert_allclose(g["d"][name], array.ravel(), rtol=1e-8, atol=1e-11, err_msg=name)
    for name, size in g["norms"].items():
        np.testing.assert_allclose(size, np.linalg.norm(dviews[f"{name}.W"]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(g["dmu"], dviews["q.mu.b"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(g["dlog_var"], dviews["q.log_var.b"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(g["da"], dviews["p.logits.b"], rtol=1e-9)


@needs_node
def test_a_step_goes_uphill_and_is_taken_back() -> None:
    """L after θ + η dθ, and the weights as they were: catches a step downhill, and one that stays."""
    state = state_of()
    html = page.page(state, X, (SIDE, SIDE))
    before, after, again, d = asked(
        html, "[elbo(x, eps).L, after_step(x, eps, grad(x, eps, true).d, 0.01), elbo(x, eps).L, grad(x, eps, true).d]"
    )
    moved = {name: view + 0.01 * np.reshape(d[name], view.shape) for name, view in rounded(state)[0].items()}
    L, _ = vae.elbo(X[1:2].astype(float), EPS[None], *state.architecture.nets(moved))
    assert after == pytest.approx(float(L[0]), rel=1e-7)  # the script holds weights in float32
    assert again == before < after


@needs_node
def test_the_script_s_integrals_are_the_library_s() -> None:
    """log p(x) by the grid, E_q[log p(x | z)] by another: catches a weight, a box or a normalisation of its own."""
    state = state_of()
    _, phi, theta = rounded(state)
    html = page.page(state, X, (SIDE, SIDE))
    values, r = asked(html, "[ROWS.map((x) => finish(evidence(x, 1e-7)).value), finish(expected(x, enc(x), 65, 8))]")
    x = X.astype(float)
    exact = quadrature.posterior(Joint(theta).log_joint, x, 2)
    np.testing.assert_allclose(values, exact.log_marginal, atol=1e-5)
    q, _ = vae.encode(x[1:2], phi)
    t = np.linspace(-8, 8, 161)
    w = np.exp(-0.5 * np.add.outer(t**2, t**2)).ravel()
    eps = np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    p, _ = vae.decode(Normal(q.mu, q.log_var).sample(eps), theta)
    assert r == pytest.approx(float(w @ p.log_prob(x[1:2])[:, 0] / w.sum()), abs=1e-6)
    shown, kl = asked(html, "[finish(expected(x, enc(x))), kl_of(enc(x))]")
    assert shown == pytest.approx(r, abs=1e-3)
    assert r - kl < values[1]


@needs_node
@pytest.mark.parametrize("peak", [0.25, 10.0])
def test_a_posterior_narrower_than_the_grid_s_step_and_one_beyond_its_edge(peak: float) -> None:
    """p(x | z) of σ = 0.006 about z₁ = 0.25, where one node of the first grid is alive, and about 10, where none is:
    catches a box of no width, one looked at once, and a number that is sure without its
    mass."""
    state = state_of(hidden=(2,), activation="identity")
    views = state.arena.views
    for name, value in {"p.hidden.0.W": np.eye(2), "p.hidden.0.b": 0, "p.logits.b": -80 * peak}.items():
        views[name][:] = value
    views["p.logits.W"][:] = [[80], [0]]
    x = np.repeat([[1, 0] * (D // 2)], 2, axis=0)
    found = asked(page.page(state, x, (SIDE, SIDE)), "finish(evidence(x))")
    line = np.linspace(peak - 2, peak + 2, 40001)
    a = 80 * (line - peak)
    log_p = D / 2 * (a - 2 * np.logaddexp(0, a)) - 0.5 * (line**2 + np.log(2 * np.pi))
    if peak > 7:
        assert found["error"] is None  # infinite, in JSON
    else:
        assert found["value"] == pytest.approx(np.log(np.exp(log_p).sum() * 1e-4), abs=1e-3)
        assert found["error"] < 1e-3


@needs_node
def test_rows_that_fill_no_whole_bytes_are_read() -> None:
    """Catches bytes of a row that are counted without the last, half empty one."""
    x = (np.random.default_rng(1).random((5, 15)) < 0.5).astype(np.uint8)
    assert asked(page.page(state_of(15), x, (3, 5)), "ROWS") == x.tolist()


@needs_node
def test_path_and_score_have_one_mean_and_the_noise_is_normal() -> None:
    """Both against the slope of the integral: catches a score without 1/σ, a path without its slope, bad noise."""
    html = page.page(state_of(), X, (SIDE, SIDE))
    code = """(() => {
  const q = enc(x), draws = [], move = (t) => ({ ...q, mu: [q.mu[0] + t, q.mu[1]] });
  finish(one_gradients(x, q, draws, 20000));
  const slope = (finish(expected(x, move(1e-4), 33, 8)) - finish(expected(x, move(-1e-4), 33, 8))) / 2e-4;
  return [slope, draws.map((d) => d.path), draws.map((d) => (d.r + 11) * d.score), draws.map((_, n) => normals(n))];
})()"""
    slope, path, score, noise = asked(html, code)
    for values in (path, score):
        assert abs(np.mean(values) - slope) < 4 * np.std(values) / np.sqrt(len(values))
    e = np.array(noise)
    moments = [e.mean(), (e**2).mean() - 1, (e[:, 0] * e[:, 1]).mean(), (e[1:] * e[:-1]).mean(), (e**4).mean() - 3]
    assert np.all(np.abs(moments) < [0.02, 0.03, 0.03, 0.03, 0.2]), moments


@needs_node
def test_the_script_reads_every_float16() -> None:
    """Catches a power of two lost among the least ones, and a sign."""
    values = np.arange(2**16, dtype="<u2").view("<f2")
    values = values[np.isfinite(values)]
    read = asked(page.page(state_of(), X, (SIDE, SIDE)), f'halves("{base64.b64encode(values.tobytes()).decode()}")')
    np.testing.assert_array_equal(read, values.astype(float))
