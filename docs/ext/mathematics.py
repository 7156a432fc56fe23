"""Mathematics rendered before a page is opened: KaTeX's HTML, kept in static/katex/equations.json.

A reader needs no node, no JavaScript and no network. Nor does a build, unless an equation is new: then node renders it
with the KaTeX beside the file, whose style sheet and fonts the pages use. Equations that no page uses any more are
dropped.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

FOLDER = Path(__file__).parent.parent / "static/katex"
KEPT = FOLDER / "equations.json"
SCRIPT = r"""
const katex = require(process.argv[1]);
const html = (source) => katex.renderToString(source.replace(/^\$+/, ""), {
  displayMode: source.startsWith("$$"), strict: "ignore"});
const render = (source) => { try { return [source, html(source), ""]; } catch (e) { return [source, "", e.message]; } };
process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0)).map(render)));
"""


def key(node: nodes.Node) -> str:
    """The LaTeX source behind $ (within a line) or $$ (displayed)."""
    return ("$$" if isinstance(node, nodes.math_block) else "$") + node.astext()


def rendered(sources: list[str]) -> list[tuple[str, str, str]]:
    """(source, HTML, error) of each, by node."""
    if not (node := shutil.which("node")):
        raise ExtensionError(
            f"{len(sources)} new equations, such as {sources[0]!r}: build once where node is installed"
        )
    command = [node, "-e", SCRIPT, str(FOLDER / "katex.min.js")]
    done = subprocess.run(command, input=json.dumps(sources), capture_output=True, encoding="utf-8", check=True)
    return [(source, html, error) for source, html, error in json.loads(done.stdout)]


def update(app: Any, env: Any) -> None:
    """Make equations.json what the pages use: all of it, and nothing else."""
    found = {}
    for name in sorted(env.found_docs):
        for node in env.get_doctree(name).findall(lambda n: isinstance(n, nodes.math | nodes.math_block)):
            found.setdefault(key(node), (name, node.line))
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    wanted = {source: kept[source] for source in found if source in kept}
    if missing := [source for source in found if source not in kept]:
        for source, html, error in rendered(missing):
            if error:
                logging.getLogger(__name__).warning(error, location=found[source])
            wanted[source] = html
    if wanted != kept:
        text = json.dumps(wanted, ensure_ascii=False, indent=0, sort_keys=True)
        KEPT.write_text(text + "\n", encoding="utf-8", newline="\n")
    app.equations = wanted


def inline(self: Any, node: nodes.math) -> None:
    """$ ... $"""
    self.body.append(f'<span class="math notranslate">{self.builder.app.equations[key(node)]}</span>')
    raise nodes.SkipNode


def display(self: Any, node: nodes.math_block) -> None:
    """$$ ... $$, with its number where it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(self.builder.app.equations[key(node)] + "</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer; conf.py chooses it by `html_math_renderer`."""
    app.add_html_math_renderer("prerendered", (inline, None), (display, None))
    app.connect("env-updated", update)
    app.add_css_file("katex/katex.min.css")
    return {"parallel_read_safe": True}
