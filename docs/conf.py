"""How `make docs` builds the site. Nothing is fetched, neither while it is built nor when it is read."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "ext"))

from nbclient import NotebookClient

from scratchvae import __version__

NotebookClient.extra_arguments.default_args = (["--IPKernelApp.log_level=ERROR"],)  # it warns of this machine's users
logging.getLogger("traitlets").setLevel(logging.WARNING)

project, author, copyright = "scratchvae", "the scratchvae authors", "2026, the scratchvae authors"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "pages", "docstrings", "mathematics"]
exclude_patterns = ["_build", "katex/katex.min.js", "katex/equations.json"]
toc_object_entries = False  # or every page copies every function's entry: minutes

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False
autodoc_typehints = "none"  # docstrings state shapes and units; links of every hint are most of a build's time
nitpick_ignore_regex = [("py:.*", r"(?!scratchvae\.).*|.*\.[A-Z]")]  # Python's and NumPy's own have no page here

html_theme = "furo"
html_title = "scratchvae"
html_math_renderer = "prerendered"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-term": "#c2410c"},
    "dark_css_variables": {"color-term": "#fb923c"},
}
