"""§7.3.1 The page in a browser: nothing is asked of anybody, and mouse, finger, pen, keys and address do what they say.

It needs Chromium with its driver (Debian: chromium, chromium-driver) and selenium; without them it is skipped.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pages import rounded, state_of

from scratchvae import page
from scratchvae.models import vae

DIGIT = "return [...document.getElementById('digit').getContext('2d').getImageData(0, 0, 28, 28).data].join()"


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
