"""Pages made from the source at each build, into docs/made/: the rooms, the command line, every pair side by side."""

import ast
import inspect
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent
PACKAGE = DOCS.parent / "scratchvae"


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"````{language}\n{text.rstrip()}\n````\n"


# ---------------------------------------------------------------- the rooms


def rooms() -> list[str]:
    """Every room in the order of docs/rooms.md, from the face down to the engine."""
    floors = re.findall(r"^    (\S.*?) +\| ", (DOCS / "rooms.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [room for floor in floors for room in floor.split() if not room.endswith("__main__")]


def modules(room: str, others: set[str]) -> Iterator[str]:
    """The room's own module, then those in it that are no room of their own."""
    yield room
    folder = PACKAGE / room.replace(".", "/")
    for found in sorted(m.name for m in pkgutil.iter_modules([str(folder)])):
        if found != "__main__" and (name := f"{room}.{found}") not in others:
            yield name


def public(module: str) -> list[str]:
    """The functions and classes that it defines, less those which Numba compiles: they stand on "Side by side". Sphinx
    would find them itself, and look for it at all that the module imports."""
    path = PACKAGE / module.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    found = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    compiled = {"jit", "inline", "internal"}
    return [f.name for f in found if f.name[0] != "_" and not compiled & set(map(ast.unparse, f.decorator_list))]


def room_page(room: str, others: set[str]) -> str:
    """One room, module by module."""
    text = [f"{room}\n{'=' * len(room)}\n"]
    for name in modules(room, others):
        text += [f"{name}\n{'-' * len(name)}\n"] * (name != room)
        members = f"   :members: {', '.join(names)}\n" if (names := public(name)) else ""
        text.append(f".. automodule:: scratchvae.{name}\n{members}")
    return "\n".join(text)


# ---------------------------------------------------------------- the command line


def command_page() -> str:
    """What `scratchvae COMMAND --help` says, of every command."""
    from scratchvae.cli import parser

    os.environ["COLUMNS"] = "100"
    helps = (f"## {name}\n\n{fenced('text', p.format_help())}" for name, p in parser().commands.items())
    return "# Every command and option\n\n" + "\n".join(helps)


# ---------------------------------------------------------------- side by side


def functions(scope: ast.Module | ast.ClassDef) -> list[ast.FunctionDef]:
    """Those of the module, or of the class."""
    return [node for node in scope.body if isinstance(node, ast.FunctionDef)]


def groups(path: Path) -> Iterator[tuple[str, list[ast.FunctionDef], list[ast.FunctionDef]]]:
    """(what stands before it, statements `_np`, the vector formulas and twins `_nb`) of each pair of a kernel file, in
    the order that tests/test_house.py holds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = functions(ast.parse("\n".join(lines)))
    kinds = "".join("p" if f.name.endswith("_np") else "t" for f in found)
    end = 0
    for group in re.finditer("p+t*|t+", kinds):
        members = found[slice(*group.span())]
        plain = [f for f in members if f.name.endswith("_np")]
        if any("_vjp" in f.name for f in plain):
            yield "\n".join(lines[end : first(plain[0])]), plain, members[len(plain) :]
        end = members[-1].end_lineno or 0


def first(node: ast.FunctionDef) -> int:
    """The index of its first line, decorators included."""
    return min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1


def source(path: Path, nodes: list[ast.FunctionDef]) -> str:
    """Their text, as in the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n\n".join(inspect.cleandoc("\n" + "\n".join(lines[first(n) : n.end_lineno])) for n in nodes)


def equation(path: Path, name: str, before: str) -> str:
    """The comment above the pair, else its line in the module's docstring."""
    if comment := re.findall(r"^# ?(.*)", before, re.MULTILINE):
        return "\n".join(comment)
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return "\n".join(re.findall(rf"^ *({name} .*)", about, re.MULTILINE))


def twins(title: str, formula: str, left: str, right: str, proofs: list[Any]) -> str:
    """One pair: its equation, two columns, its rows of `scratchvae gradcheck`."""
    shown = [f"## {title}\n"] + [fenced("text", formula)] * bool(formula)
    shown += [":::::{container} twins\n", fenced("python", left), fenced("python", right), ":::::\n"]
    return "\n".join([*shown, *(fenced("text", str(proof)) for proof in proofs)])


def side_by_side() -> str:
    """Every pair of kernels/ and of the distributions made of them."""
    from scratchvae.gradcheck import library

    proofs = {case.name: case.run() for pattern in ("kernels.*", "distributions.*") for case in library.cases(pattern)}
    text = [(DOCS / "ext/side-by-side.txt").read_text(encoding="utf-8")]
    for path in sorted(PACKAGE.glob("kernels/*.py")):
        for before, plain, rest in groups(path):
            name = plain[0].name.removesuffix("_np")
            of_it = [proofs[f"kernels.{name}"]]
            text.append(twins(name, equation(path, name, before), source(path, plain), source(path, rest), of_it))
    paths = [PACKAGE / f"distributions/{name}.py" for name in ("normal", "bernoulli")]
    for path, scope in ((file, node) for file in paths for node in ast.parse(file.read_text(encoding="utf-8")).body):
        members = {f.name: f for f in functions(scope)} if isinstance(scope, ast.ClassDef) else {}
        for name in (name for name in members if f"{name}_vjp" in members):
            title = f"{scope.name}.{name}"
            of_it = [proof for case, proof in proofs.items() if case.partition("[")[0] == f"distributions.{title}"]
            left, right = (source(path, [members[n]]) for n in (name, f"{name}_vjp"))
            text.append(twins(title, "", left, right, of_it))
    return "\n".join(text)


def write(app: Any) -> None:
    """All of them; a page that has not changed is not written again, so that Sphinx need not read it."""
    listed = rooms()
    made = {f"rooms/{room}.rst": room_page(room, set(listed)) for room in listed}
    made |= {"command-line.md": command_page(), "side-by-side.md": side_by_side()}
    index = "\n".join(["# The API, room by room\n", "From the face of the house down to its engine.\n", "```{toctree}"])
    made["rooms.md"] = "\n".join([index, *(f"rooms/{room}" for room in listed), "```\n"])
    for name, text in made.items():
        path = DOCS / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Before Sphinx looks for pages."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
