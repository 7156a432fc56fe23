"""Our docstrings are plain text; this hands them to Sphinx so that they look as they do in the source.

A paragraph keeps its words, with `names` as code; one with indented lines, a table or a formula, keeps its lines.
"""

import re
from typing import Any

CODE = re.compile(r"(`+[^`]+`+)")


def as_rst(paragraph: str) -> str:
    """One paragraph of plain text."""
    if paragraph.lstrip().startswith(">>>"):
        return paragraph
    if re.search(r"^ ", paragraph, re.MULTILINE) and not paragraph.startswith("- "):
        return "::\n\n    " + paragraph.replace("\n", "\n    ")
    words = CODE.split(paragraph)  # text, code, text, code, ...
    words[::2] = [re.sub(r"([\\*|_])", r"\\\1", text) for text in words[::2]]
    return "".join(f"``{word.strip('`')}``\\ " if i % 2 else word for i, word in enumerate(words))


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The event `autodoc-process-docstring`."""
    lines[:] = "\n\n".join(map(as_rst, re.split(r"\n\s*\n", "\n".join(lines).strip("\n")))).split("\n")


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """The event `autodoc-skip-member`: a field stands in its class's signature."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Connect both."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
