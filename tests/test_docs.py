"""§7 The documentation: it builds without a warning, and shows itself from disk, whole, with nothing from elsewhere."""

import ast
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scratchvae.cli import parser

ROOT = Path(__file__).parent.parent
EQUATIONS = ROOT / "docs/static/katex/equations.json"
MISSING = [name for name in ("sphinx", "furo", "myst_nb") if not importlib.util.find_spec(name)]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET: tuple[str, ...] = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
)
QUIET += ("--disable-component-update", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in a folder of its own as `make docs` builds it, but with no node within reach, and lessons that
    are not run: tests/test_lessons.py does."""
    if MISSING:
        pytest.skip(f"pip install '.[docs]' brings {', '.join(MISSING)}")
    folder = tmp_path_factory.mktemp("site")
    kept = EQUATIONS.read_bytes()
    command = [sys.executable, *["-m", "sphinx", "-q", "-W", "-n", "--keep-going", "-D", "nb_execution_mode=off"]]
    command += ["-D", "suppress_warnings=myst-nb.lexer"]  # a lesson's language is known once it has run
    command += ["-b", "html", "-d"]
    command += map(str, (folder / "doctrees", ROOT / "docs", folder / "html"))
    path = {"PATH": str(Path(sys.executable).parent), "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=path, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert EQUATIONS.read_bytes() == kept, "equations.json held what no page uses: commit it as it is now"
    return folder / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a network, whose requests and console are read."""
    if not (CHROMIUM and DRIVER and importlib.util.find_spec("selenium")):
        pytest.skip("needs pip install '.[docs]' and Debian's chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in QUIET:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def asked_for(driver: Any) -> list[str]:
    """The addresses that it has asked for since this was last read."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def test_every_page_shows_itself_from_disk(site: Path, browser: Any) -> None:
    """Catches a style, a font or a script from elsewhere, a file that is not there, and any error in the console."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        browser.get(page.as_uri())
        foreign = [url for url in asked_for(browser) if not url.startswith((site.as_uri(), "data:"))]
        assert not foreign, f"{page.name} asks for {foreign}"
        assert not (errors := browser.get_log("browser")), f"{page.name}: {errors}"


def test_the_search_finds_from_disk(site: Path, browser: Any) -> None:
    """Catches a search that needs a server."""
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(f"{(site / 'search.html').as_uri()}?q=reparametrisation")
    WebDriverWait(browser, 10).until(lambda b: "matching the search query" in b.page_source)
    assert browser.find_elements("css selector", "ul.search li")


def test_it_is_small(site: Path) -> None:
    """At most 10 MB: catches sources, notebooks or doctrees that were copied along."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 10e6


def test_every_pair_is_shown_with_its_proof(site: Path) -> None:
    """Catches a kernel that the side-by-side page passes over, and one shown with a verdict that is not ok."""
    text = re.sub(r"<[^>]+>", "", (site / "made/side-by-side.html").read_text(encoding="utf-8"))
    sources = (path.read_text(encoding="utf-8") for path in ROOT.glob("scratchvae/kernels/*.py"))
    pairs = {name for source in sources for name in re.findall(r"^def (\w+?)_vjp\w*_np\(", source, re.MULTILINE)}
    assert len(pairs) > 10
    assert not {name for name in pairs if f"kernels.{name}: ok" not in text}
    assert "FAIL" not in text
    assert "cannot tell" not in text


def test_side_by_side_has_statements_left_and_twins_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches columns exchanged, a decorator, a line or a twin left out, a pair under the equation of another."""
    monkeypatch.syspath_prepend(ROOT / "docs/ext")
    import pages  # type: ignore[import-not-found, unused-ignore]

    shown = ""
    for path in sorted(ROOT.glob("scratchvae/kernels/*.py")):
        equations: list[str] = []
        for before, plain, twins in pages.groups(path):
            name = plain[0].name.removesuffix("_np")
            formula, left, right = pages.equation(path, name, before), *(pages.source(path, p) for p in (plain, twins))
            text = pages.twins(name, formula, left, right, [f"{name}: ok"])
            parts = [text.index(part) for part in (f"## {name}\n", formula, left, right, f"{name}: ok")]
            assert parts == sorted(parts)
            assert "=" in formula, name
            assert path.name != "activations.py" or formula.split()[0] == name
            defined = [re.findall(r"^def (\w+)", column, re.MULTILINE) for column in (left, right)]
            assert all(f.endswith("_np") for f in defined[0])
            assert not any(f.endswith("_np") for f in defined[1])
            assert {f.replace("_np", "_nb") for f in defined[0]} <= {*defined[1]}
            for column, members in ((left, plain), (right, twins)):
                assert ast.dump(ast.parse(column)) == ast.dump(ast.Module(members, []))
            equations += [line for line in formula.splitlines() if line]
            shown += text
        assert len(equations) == len({*equations})
    for path in ROOT.glob("scratchvae/kernels/*.py"):
        for name in re.findall(r"^def (\w+_vjp\w*_n[pb])\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert shown.count(f"def {name}(") == 1, name


def test_rooms_have_all_that_is_public_and_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a module of no page or of two, a function that Numba compiles on a page of its room, a private one."""
    monkeypatch.syspath_prepend(ROOT / "docs/ext")
    import pages  # type: ignore[import-not-found, unused-ignore]

    rooms = pages.rooms()
    found = [module for room in rooms for module in pages.modules(room, set(rooms))]
    files = {path.relative_to(ROOT / "scratchvae").with_suffix("") for path in ROOT.glob("scratchvae/**/*.py")}
    known = {".".join(path.parts).removesuffix(".__init__") for path in files} - {"__init__"}
    assert len(found) == len({*found})
    assert {*found} <= known
    assert {"exercises.folder", "models.walk", "training.lecture", "page", "cli.picture"} <= {*found}
    assert pages.public("page") == ["check_run", "page", "half", "put_together"]
    assert not [name for name in pages.public("training.checkpoint") if name.startswith("_")]
    assert {"normal_kl_np", "normal_kl_vjp_np"} <= {*pages.public("kernels.normal")}
    assert not [name for name in pages.public("kernels.normal") if not name.endswith("_np")]


def test_a_docstring_keeps_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a star that becomes italics, a table that becomes a paragraph, `names` that become links."""
    monkeypatch.syspath_prepend(ROOT / "docs/ext")
    from docstrings import process  # type: ignore[import-not-found, unused-ignore]

    lines = [
        "log |x| of `d_mu`s, a * b_c \\ d.",
        "",
        "    y  = x",
        "    dx = dy",
        "",
        "- one",
        "  more",
        "",
        ">>> f(a_b)",
    ]
    process(None, "function", "f", None, None, lines)
    assert lines[0] == r"log \|x\| of ``d_mu``\ s, a \* b\_c \\ d."
    assert lines[2:6] == ["::", "", "        y  = x", "        dx = dy"]
    assert lines[-4:] == ["- one", "  more", "", ">>> f(a_b)"]


def test_equations_are_what_katex_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches HTML by another KaTeX than the one whose style sheet and fonts the pages have."""
    if MISSING or not shutil.which("node"):
        pytest.skip("needs node, and pip install '.[docs]'")
    monkeypatch.syspath_prepend(ROOT / "docs/ext")
    from mathematics import rendered  # type: ignore[import-not-found, unused-ignore]

    kept = json.loads(EQUATIONS.read_text(encoding="utf-8"))
    assert {source: html for source, html, _ in rendered(list(kept))} == kept


def test_an_equation_without_node_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a page with a gap in it, or a traceback, where no node renders a new equation."""
    if MISSING:
        pytest.skip(f"pip install '.[docs]' brings {', '.join(MISSING)}")
    monkeypatch.syspath_prepend(ROOT / "docs/ext")
    from mathematics import rendered  # type: ignore[import-not-found, unused-ignore]
    from sphinx.errors import ExtensionError

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExtensionError, match=r"^1 new equations, such as '\$x': build once where node is installed$"):
        rendered(["$x"])


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/howto/*.md")), ids=lambda p: p.stem)
def test_what_pages_tell_to_type_is_understood(page: Path) -> None:
    """Catches a how-to page with a command or an option that is gone."""
    for line in re.findall(r"^    (?:scratchvae) (.*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        parser().parse_args(shlex.split(line, comments=True))
