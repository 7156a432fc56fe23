"""`make notebooks`: every lesson as a notebook that has been run, in docs/_build/notebooks."""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parent.parent
OUT = DOCS / "_build" / "notebooks"


def main() -> None:
    """Run each and write it; a cell that fails stops with its error."""
    OUT.mkdir(parents=True, exist_ok=True)
    for path in sorted((DOCS / "lessons").glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8").replace(".md)", ".ipynb)")
        text = text.replace("name: python3\n", "name: python3\n  display_name: Python 3\n", 1)
        notebook = jupytext.reads(text, fmt="md:myst")
        NotebookClient(
            notebook, timeout=120, kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=ERROR"]
        ).execute()
        nbformat.write(notebook, OUT / f"{path.stem}.ipynb")
        print(OUT / f"{path.stem}.ipynb", flush=True)


if __name__ == "__main__":
    main()
