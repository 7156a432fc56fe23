"""§7.3.1 The page in a browser: nothing is asked of anybody, and mouse, finger, pen, keys and address do what they say.

It needs Chromium with its driver (Debian: chromium, chromium-driver) and selenium; without them it is skipped.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pages import rounded, state_of

from scratchvae import page
from scratchvae.models import vae
from scratchvae.models.walk import walk
from scratchvae.types import Array

DIGIT = "return [...document.getElementById('digit').getContext('2d').getImageData(0, 0, 28, 28).data].join()"

SPY = """const spied = (id, name, act) => {
  const c = $(id).getContext('2d'), calls = [];
  c[name] = (...a) => calls.push(a);
  act();
  delete c[name];
  return calls;
}; jobs.clear(); """


@pytest.fixture(scope="module")
def address(folder: Path) -> str:
    """A page of the size that people have, from disk; its weights are as they begin."""
    x = (np.random.default_rng(3).random((30, 784)) < 0.2).astype(np.uint8)
    html = page.page(state_of(784, (500,)), x, (28, 28), np.arange(30) % 10)
    (folder / "page.html").write_text(html, encoding="utf-8")
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, which writes down what it asks of whom."""
    webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not here: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("Chromium is not here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"):
        options.add_argument(word)
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    found.set_script_timeout(60)
    yield found
    found.quit()


@pytest.fixture
def opened(browser: Any, address: str) -> Any:
    """The page, anew."""
    browser.get("about:blank")
    browser.get(address + "#z=1,-0.5&row=7")
    return browser


def settled(browser: Any, code: str = "return 0") -> Any:
    """What the code is worth two frames later."""
    return browser.execute_async_script(
        f"const done = arguments[0], ask = () => {{ {code} }};"
        "requestAnimationFrame(() => requestAnimationFrame(() => done(ask())))"
    )


def errors(browser: Any) -> list[str]:
    """What the console has; a test that reads pixels is warned that this is slow."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def drawn(browser: Any, canvas: str, *points: tuple[int, int]) -> None:
    """Drag over a canvas, from its middle, by CSS pixels."""
    actions: Any = pytest.importorskip("selenium.webdriver")
    element = browser.find_element("id", canvas)
    chain = actions.ActionChains(browser, 20).move_to_element(element).click_and_hold()
    for x, y in points:
        chain.move_by_offset(x, y)
    chain.release().perform()


def test_no_request_and_no_complaint(opened: Any, address: str) -> None:
    """Catches a font, a picture or a script from elsewhere, and an error that only a browser sees."""
    settled(opened)
    log = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked_for = {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}
    assert asked_for - {"about:blank"} <= {address, address + "#z=1,-0.5&row=7", "data:,"}
    assert opened.get_log("browser") == []


def test_a_permalink_is_read_and_written(opened: Any) -> None:
    """Catches an address that is not the state's, either way, and one that breaks the page."""
    assert settled(opened, "return [state.z.map(Number), state.row]") == [[1, -0.5], 7]
    opened.execute_script("set('S', 5); move_z([0.25, 1])")
    written = opened.execute_async_script("setTimeout(() => arguments[0](location.hash), 900)")
    assert written == "#z=0.25,1&row=7&S=5"
    opened.execute_script("location.hash = '#z=-1,2&row=3&how=path&b=-7'")
    assert settled(opened, "return [state.z, state.row, state.how, state.b, state.S]") == [[-1, 2], 3, "path", -7, 1]
    opened.execute_script("location.hash = '#z=up&row=1e9&how=no&S=x&step=-4'")
    assert settled(opened, "return [state.row, state.how, state.S, state.step]") == [0, "both", 1, 0]
    assert errors(opened) == []


def test_dragging_z_changes_the_digit(opened: Any) -> None:
    """By mouse, finger and key: catches a plane that is deaf, or that moves the other way."""
    before = settled(opened, DIGIT)
    drawn(opened, "plane", (40, -60))
    z = settled(opened, "return state.z")
    assert z[0] > 0.2
    assert z[1] > 0.2
    assert settled(opened, DIGIT) != before
    plane = opened.find_element("id", "plane")
    at = plane.rect
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.25), ("touchEnd", None)):
        x, y = (int(at[side] + at[size] * (share or 0)) for side, size in (("x", "width"), ("y", "height")))
        points = [] if share is None else [{"x": x, "y": y - opened.execute_script("return scrollY")}]
        opened.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    z = settled(opened, "return state.z")
    assert z[0] < -1
    assert z[1] > 1
    plane.send_keys("\ue014")  # right
    plane.send_keys("\ue015")  # down
    assert settled(opened, "return state.z") == pytest.approx([z[0] + 0.1, z[1] - 0.1])


def test_drawing_moves_the_ellipse(opened: Any) -> None:
    """Catches a pen that leaves no ink, and an encoder that is not asked again."""
    before = settled(opened, "return [...state.q.mu]")
    drawn(opened, "x", (30, 30), (-60, 0), (0, -30))
    ink, mu, log_var = settled(opened, "return [[...state.x], [...state.q.mu], [...state.q.log_var]]")
    assert 10 < sum(ink) < 400
    assert not np.allclose(mu, before)
    state = state_of(784, (500,))
    q, _ = vae.encode(np.array([ink], float), rounded(state)[1])
    np.testing.assert_allclose([mu, log_var], [q.mu[0], q.log_var[0]], rtol=1e-9)
    assert "your drawing" in opened.find_element("id", "n1").text


def test_every_control_is_reached_by_key_and_says_what_it_is(opened: Any) -> None:
    """Catches a slider without a name, and one that no key reaches or moves."""
    names = opened.execute_script("""return [...document.querySelectorAll('input, button, canvas[tabindex]')].map((e) =>
        [e.tabIndex, e.labels && e.labels[0] ? e.labels[0].textContent : e.ariaLabel || e.textContent])""")
    assert all(index == 0 and name.strip() for index, name in names), names
    for slider in opened.find_elements("css selector", "input[type=range]"):
        name, value = slider.get_attribute("data-s"), slider.get_attribute("value")
        slider.send_keys("\ue012" if float(value) >= float(slider.get_attribute("max")) else "\ue014")
        assert settled(opened, f"return document.querySelector('[data-s={name}]').value") != value, name
    assert errors(opened) == []


def test_both_themes_and_paper_have_their_colours(opened: Any) -> None:
    """Catches a canvas that keeps the other theme's colours."""
    papers = []
    for theme in ("light", "dark"):
        opened.execute_script(f"theme('{theme}')")
        papers.append(max(map(int, settled(opened, DIGIT).split(",")[:3])))
    assert papers[0] > papers[1]
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script("return document.documentElement.dataset.theme") == "light"
    opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script("return document.documentElement.dataset.theme") == "dark"


def test_a_frame_is_short(opened: Any) -> None:
    """The whole of a frame, decoder, gradient and six panels, in 16 ms: the quickest of many, for others work here."""
    quickest = opened.execute_script("""jobs.clear(); let best = Infinity;
        for (let i = 0; i < 60; i++) {
          move_z([Math.sin(i), Math.cos(i)]);
          const start = performance.now();
          draw();
          show_controls();
          best = Math.min(best, performance.now() - start);
        }
        return best""")
    assert quickest <= 16


# ---------------------------------------------------------------- what the panels draw and say


def numbers(text: str) -> list[float]:
    """Those behind =, ± and words, as `say` writes them: −1.25, 2.1e−5."""
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]\d+)?", text.replace("−", "-"))]


def moved(browser: Any) -> tuple[Array, Array, Array, Array]:
    """Row 7 under a q that hands have moved, whose two σ differ: x, z, μ, log σ²."""
    found = settled(browser, "return 0") or browser.execute_script("""set('mu', state.mu + 0.3); set('b', -300);
        set('log_var', state.log_var - 0.8); move_z([state.mu + 0.4, 0.9]); draw();
        return [[...state.x], state.z, [...now.q.mu], [...now.q.log_var]]""")
    x, z, mu, log_var = (np.array([v], float) for v in found)
    return x, z, mu, log_var


def test_the_ellipses_are_one_and_two_sigma(opened: Any) -> None:
    """Catches radii that are variances, axes exchanged, a plane that is upside down."""
    _, z, mu, log_var = moved(opened)
    calls, dots, w, reach = opened.execute_script(
        SPY + "return [spied('plane', 'ellipse', draw_plane), spied('plane', 'arc', draw_plane), sizes.plane[0], REACH]"
    )
    scale = w / (2 * reach)
    for k, call in enumerate(calls, 1):
        expected = [w / 2 + scale * mu[0, 0], w / 2 - scale * mu[0, 1], *(k * scale * np.exp(log_var[0] / 2))]
        assert call[:4] == pytest.approx(expected)
    assert len(calls) == 2
    assert dots[-1][:2] == pytest.approx([w / 2 + scale * z[0, 0], w / 2 - scale * z[0, 1]])


def test_the_node_says_both_ways_back(opened: Any) -> None:
    """dμ and dlog σ² by path and by score, from numerical slopes of log p(x | z): catches a lost half, r without its b,
    a σ that is another's."""
    x, z, mu, log_var = moved(opened)
    _, _, theta = rounded(state_of(784, (500,)))
    r, up, down = (float(vae.decode(z + np.array([h, 0]), theta)[0].log_prob(x)[0]) for h in (0, 1e-4, -1e-4))
    sd, dz = float(np.exp(log_var[0, 0] / 2)), (up - down) / 2e-4
    eps, over = float(z[0, 0] - mu[0, 0]) / sd, r + 300
    path, score = [dz, dz * sd * eps / 2], [over * eps / sd, over * (eps**2 - 1) / 2]
    said = [numbers(part.partition("= ")[2]) for part in opened.find_element("id", "n2").text.split(" · ")]
    for found, expected in zip(said, ([dz], [r], path, score), strict=True):
        assert found == pytest.approx(expected, abs=0.006, rel=5e-4)


def test_the_race_counts_its_draws(opened: Any) -> None:
    """Means of S, their variance, its ratio and both histograms against NumPy: catches a variance over n or about zero,
    groups that overlap, a score without its b, a bar that is another bin's."""
    draws = np.random.default_rng(2).normal([-310, 20, 0], [30, 40, 2], (203, 3))
    said, bars, h = opened.execute_script(
        SPY
        + """set('S', 4); set('b', -300);
        found.draws = arguments[0].map(([r, path, score]) => ({ r, path, score }));
        const bars = spied('race', 'fillRect', draw_race);
        return [$('n3').textContent, bars, sizes.race[1]]""",
        draws.tolist(),
    )
    r, path, score = draws[:200].T
    both = [v.reshape(50, 4).mean(axis=1) for v in (path, (r + 300) * score)]
    half = 3.2 * max(v.std(ddof=1) for v in both)
    for part, v in zip(said.split(" · ")[:2], both, strict=True):
        expected = v.mean(), v.std(ddof=1) / np.sqrt(50), v.var(ddof=1)
        assert numbers(part) == pytest.approx(expected, abs=0.51, rel=0.01)
    assert numbers(said.split(" · ")[2])[0] == pytest.approx(both[1].var() / both[0].var(), abs=0.06)
    for v, part in zip(both, (bars[:61], bars[61:]), strict=True):
        counts, _ = np.histogram(v, np.linspace(both[0].mean() - half, both[0].mean() + half, 62))
        assert [bar[3] for bar in part] == pytest.approx(0.4 * h * counts / counts.max())


def test_the_bars_end_where_they_should(opened: Any) -> None:
    """L = r − KL, and the gap from L to log p(x): catches a sign, a bar from elsewhere, an evidence that is unsure and
    is said to be."""
    _, _, mu, log_var = moved(opened)
    kl = 0.5 * float((mu**2 + np.exp(log_var) - 1 - log_var).sum())
    bars, sure, unsure = opened.execute_script(
        SPY
        + """Object.assign(found, { expected: -210, evidence: { value: -205, error: 4e-4 } });
        const bars = spied('bars', 'fillRect', draw_bars), sure = $('n4').textContent;
        found.evidence.error = Infinity;
        draw_bars();
        return [bars, sure, $('n4').textContent]"""
    )
    assert numbers(sure)[:6] == pytest.approx([-210, kl, -210 - kl, 5 + kl, -205, 0.0004], abs=0.006)
    assert "beyond the grid" in unsure
    assert "beyond the grid" not in sure
    ends = [(x, x + width) for x, _, width, _ in bars]
    unit = (ends[4][1] - ends[0][1]) / 5  # from r to log p(x)
    assert [low for low, _ in ends] == pytest.approx([ends[0][0], ends[2][1], ends[0][0], ends[2][1], ends[0][0]])
    assert [high for _, high in ends[1:4:2]] == pytest.approx([ends[0][1], ends[4][1]])
    assert ends[0][1] - ends[2][1] == pytest.approx(kl * unit)


def test_the_walked_step_has_the_norms_of_the_walk(opened: Any) -> None:
    """Values, cotangents and dW of every line against `models.walk` and `elbo_vjp`: catches a line that shows another,
    and one that shows before its turn."""
    x, eps = settled(opened, "set('step', WALK); draw(); return [[...state.x], [...now.eps]]")
    x, eps = np.array([x], float), np.array([eps])
    views, phi, theta = rounded(state := state_of(784, (500,)))
    dviews = {name: np.zeros_like(view) for name, view in views.items()}
    L, cache = vae.elbo(x, eps, phi, theta)
    vae.elbo_vjp(np.ones(1), cache, x, eps, phi, theta, *state.architecture.nets(dviews))
    edges = walk(x, eps, phi, theta)[1]
    layers = {"h": "q.hidden.0", "μ": "q.mu", "log σ²": "q.log_var", "h′": "p.hidden.0", "logits": "p.logits"}
    lines: list[list[Any]] = []
    for node in ("x", "h", "μ", "log σ²", "z", "h′", "logits"):
        here = [e for e in edges if e.source == node]
        line = [np.linalg.norm(here[0].value)]
        line += [np.linalg.norm(sum(e.cotangent for e in here if e.cotangent is not None))] * (node != "x")
        lines.append([*line, *(np.linalg.norm(dviews[f"{layers[n]}.W"]) for n in [node] if n in layers)])
    lines += [[cache.reconstruction[0], 1], [cache.kl[0], -1], [L[0], 1]]
    shown = """return [...$('walk').tBodies[0].rows].map((r) => [2, 3, 5].map((k) => r.cells[k].textContent))"""
    for line, cells in zip(lines, opened.execute_script(shown), strict=True):
        found = [numbers(cell)[0] for cell in cells if numbers(cell)]
        assert found == pytest.approx(line, abs=6e-4, rel=6e-4), line
    hidden = """set('step', arguments[0]); draw_walk();
        return [1, 2, 3, 4, 5].map((k) => [...$('walk').tBodies[0].rows].map((r) => +r.cells[k].matches('.off')))"""
    for step, there, back in ((3, 3, 0), (10, 10, 0), (13, 10, 3), (20, 10, 10)):
        forwards, backwards = [0] * there + [1] * (10 - there), [1] * (10 - back) + [0] * back
        assert opened.execute_script(hidden, step) == [forwards] * 2 + [backwards] * 3


def test_every_word_of_an_address_comes_back(opened: Any) -> None:
    """Catches a slider that its link forgets, or that is set before the row that resets it."""
    moved(opened)
    first, start, again = opened.execute_script("""set('how', 'score'); set('S', 3); set('eta', -4); set('step', 7);
        const first = address(); go_to(''); const start = address(); go_to(first);
        return [first, start, address()]""")
    assert first == again
    assert re.findall(r"(\w+)=", first) == ["z", "row", "b", "S", "eta", "step", "how", "mu", "log_var"]
    assert re.findall(r"(\w+)=", start) == ["z", "row"]


def test_a_slider_moves_what_its_symbol_moves(opened: Any) -> None:
    """Catches a μ that leaves z where it is, an ε₁ that moves ε₂, a mean that is of something else."""
    eps, with_mu, with_eps, b = opened.execute_script("""set('mu', state.mu + 0.3); draw(); const eps = [...now.eps];
        set('mu', state.mu + 0.3); set('log_var', state.log_var - 0.5); draw(); const with_mu = [...now.eps];
        set('eps', -0.4); draw(); const with_eps = [...now.eps];
        jobs.clear(); found.draws = [{ r: -120.2 }, { r: -121.4 }]; $('mean').click();
        return [eps, with_mu, with_eps, state.b]""")
    assert with_mu == pytest.approx(eps)
    assert with_eps == pytest.approx([-0.4, eps[1]])
    assert b == -121
