"""§7.2 The rules of the house, read from the source itself: what a reader may rely on in every file."""

import ast
import functools
import importlib.util
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from scratchvae import moved
from scratchvae.cli import parser
from scratchvae.engine import jit

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "scratchvae"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted(ROOT.glob("tests/*.py")), *sorted(ROOT.glob("bench/**/*.py"))]

DOCUMENTS = [ROOT / "README.md", ROOT / "bench/README.md", *sorted(ROOT.glob("docs/*.md"))]
KNOWN = {  # what a document may ask for
    "make": set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)),
    "scratchvae": {*parser().commands, "COMMAND"},
}

# From the engine up to the face: a module imports from its own room and from rooms above it in this list, never below.
# `docs/rooms.md` draws it.
ORDER = (
    ("types", "errors", "moved"),
    ("engine", "tree"),
    ("kernels", "reparam", "gradcheck"),  # gradcheck checks anybody's pair, so it knows none; its library knows ours
    ("convolution",),
    ("networks", "distributions", "arena", "initial", "noise"),
    ("conditional", "data", "recurrent"),
    ("models",),
    ("estimators",),
    ("tasks", "fast"),
    ("classical",),
    ("training",),
    ("vae", "plots", "page", "export", "exercises", "gradcheck.library", "gradcheck.in_expectation"),
    ("cli", "sklearn"),
    ("mutants", "__main__", "pytest_plugin", "gradcheck.__main__", ""),  # "": scratchvae/__init__, loaded at first use
)
BIGGEST = 0.16  # share of the package's lines that a room may have
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# made of LLVM: loaded by compiled kernels alone
INTRINSICS = tuple(
    f"engine.{name}" for name in ("edges", "shared", "shuffles", "threads", "tiles", "vector_words", "vectors")
)
Q_AND_P = (  # rooms and modules of §7.2.5, the choice of q and p
    r"networks|convolution"
    r"|distributions(\.\w+)?|conditional|models\.families|kernels(\.(activations|bernoulli|dense|normal))?"
    r"|gradcheck\.library\.(any_q_any_p|bbvi|conditional|convolution|decoders"
    r"|distributions|exponential|gaussians|kernels|networks)"
    r"|fast\.(epilogues|layout)|training\.likelihood"
    r"|exercises\.(solutions\.)?e09_heads"
)
LATER = ("PIL", "pandas", "h5py")  # what reads files of others
OPTIONAL = ("matplotlib", "sklearn", "torch", "tqdm", "numba", "llvmlite", "jax", "safetensors", "onnx", *LATER)

FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef


def each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """A law of a file as one test of all of them, which names every file that breaks it: two thousand tests of a
    millisecond would take longer to be told of than to run."""

    def over(law: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            broken = {}
            for path in paths:
                try:
                    law(path)
                except AssertionError as error:
                    broken[str(path.relative_to(ROOT))] = str(error)
            assert not broken, "\n".join(f"{path}: {why}" for path, why in broken.items())

        test.__name__, test.__doc__ = law.__name__, law.__doc__
        return test

    return over


each_module = each(MODULES)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    """scratchvae/models/vae.py -> "models.vae", without the package's own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def room(module: str) -> str:
    parts = module.split(".")
    return next((r for n in (2, 1) if (r := ".".join(parts[:n])) in RANK), parts[0])


def in_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements(node: ast.AST, functions: bool) -> Iterator[ast.AST]:
    """Every node that runs: with functions=False only what runs at import."""
    for child in ast.iter_child_nodes(node):
        if in_type_checking(child) or (not functions and isinstance(child, FunctionDef)):
            continue
        yield child
        yield from statements(child, functions)


def imported(path: Path, functions: bool = True) -> Iterator[str]:
    """Our own modules that this one imports, dotted; functions=False leaves out imports inside functions."""
    package = path.parent.relative_to(PACKAGE).parts
    for node in statements(tree(path), functions):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name.removeprefix("scratchvae.") for a in node.names if a.name.startswith("scratchvae.")]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else None
            if base is None and (node.module or "").split(".")[0] != "scratchvae":
                continue
            prefix = [*(base or ()), *(node.module or "").removeprefix("scratchvae").strip(".").split(".")]
            stem = ".".join(p for p in prefix if p)
            found = [a.name for a in node.names if a.name != "__version__"]
            names = [n if (n := f"{stem}.{name}".strip(".")) in NAMES else stem for name in found]
        yield from (name for name in names if name in NAMES)


def functions_in(node: ast.AST) -> Iterator[list[FunctionDef]]:
    """The functions of the module and of each class, in order."""
    for scope in ast.walk(node):
        if isinstance(scope, ast.Module | ast.ClassDef):
            yield [child for child in scope.body if isinstance(child, FunctionDef)]


@each_module
def test_imports_point_one_way(path: Path) -> None:
    """Catches a model that knows an estimator's name, and a kernel that knows anything of ours."""
    me = room(dotted(path))
    assert me in RANK, f"say in ORDER where the room {me!r} stands"
    for other in map(room, imported(path)):
        assert me == other or RANK[other] < RANK[me], f"{dotted(path)} imports {other}, which stands below it"


def test_no_cycles() -> None:
    """Catches two modules of one room that need each other, imports inside functions included: neither could be read
    first."""
    graph = {dotted(path): set(imported(path)) - {dotted(path)} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in graph[name]:
                if not name.startswith(f"{other}."):  # a package's front page is loaded before its pages, by Python
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_room_is_the_house() -> None:
    """Catches a room that grows until it holds three things at once."""
    lines: Counter[str] = Counter()
    for path in MODULES:
        lines[room(dotted(path))] += len(path.read_text(encoding="utf-8").splitlines())
    biggest, size = lines.most_common(1)[0]
    share = size / lines.total()
    assert share <= BIGGEST, f"{biggest} has {share:.1%} of the package's lines: it is two rooms"


def test_the_drawing_of_imports_is_true() -> None:
    """Catches a room that is not in the drawing of docs/rooms.md, or stands on another floor there."""
    drawn = re.findall(r"^    (\S.*?) +\| ", (ROOT / "docs/rooms.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [set(floor.split()) for floor in drawn] == [set(rooms) - {""} for rooms in reversed(ORDER)]


@pytest.mark.parametrize("old", moved.MOVED)
def test_what_has_moved_is_found_under_its_old_name(old: str) -> None:
    """Catches an old import that fails, is silent, or gives a second copy of the module; and one that spoils it."""
    new = importlib.import_module(moved.MOVED[old])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import {moved.MOVED[old]}"):
        assert importlib.import_module(old) is new
    assert (new.__name__, new.__spec__ and new.__spec__.name) == (moved.MOVED[old], moved.MOVED[old])


def twinless(name: str) -> str:
    return re.sub(r"_(np|nb)$", "", name)


@each_module
def test_every_vjp_stands_below_its_function(path: Path) -> None:
    """Catches a backward that is a page away from its forward, or has none: between the two only kin may stand."""
    for scope in functions_in(tree(path)):
        names = [twinless(f.name) for f in scope]
        for i, name in enumerate(names):
            if found := re.fullmatch(r"(?!assert_)(.+?)_vjp(_\w+)?", name):
                forward = found[1]
                above = [n for n in reversed(names[:i]) if not n.startswith(f"{forward}_vjp")]
                assert above[:1] == [forward], f"{path.name}: {name} must stand directly below {forward}"


each_kernel_module = each(sorted(PACKAGE.glob("kernels/*.py")))


def kind(f: FunctionDef) -> str:
    """A letter: p(lain statement), t(win), v(ector formula or another part of a twin), o(ther)."""
    if f.name.endswith(("_np", "_nb")):
        return "p" if f.name.endswith("_np") else "t"
    return "v" if {ast.unparse(d) for d in f.decorator_list} & {"inline", "internal"} else "o"


@each_kernel_module
def test_every_twin_stands_below_its_statement(path: Path) -> None:
    """f_np, f_vjp_np, the parts of their twins, f_nb, f_vjp_nb: catches a pair that is torn apart, a compiled kernel
    without the formula above it, and one with other arguments."""
    scope = [node for node in tree(path).body if isinstance(node, FunctionDef)]
    kinds = "".join(map(kind, scope))
    for group in re.finditer("p*v*t*", kinds):
        found = scope[slice(*group.span())]
        plain, twins = ([f for f in found if kind(f) == letter] for letter in "pt")
        names = [twinless(f.name) for f in plain]
        assert names == [twinless(f.name) for f in twins], f"{path.name}: {names} and their twins stand together"
        assert all(name.startswith(f"{names[0]}_vjp") for name in names[1:]), f"{path.name}: {names} are not one pair"
        assert not any("_vjp" in name for name in names[:1]), f"{path.name}: {names[0]} is torn from its function"
        for f, twin in zip(plain, twins, strict=True):
            expected, given = ([a.arg for a in g.args.args] for g in (f, twin))
            assert given == expected, f"{path.name}: {twin.name}{given} must take {expected}"


@each_kernel_module
def test_every_part_of_a_twin_is_called(path: Path) -> None:
    """Catches a formula that stands here for the schedule alone: no twin compares it with its statement."""
    scope = [node for node in tree(path).body if isinstance(node, FunctionDef)]
    used = {f.name: {n.id for n in ast.walk(f) if isinstance(n, ast.Name)} for f in scope}
    compiled = {f.name for f in scope if "jit" in map(ast.unparse, f.decorator_list)}
    reached: set[str] = set()
    while compiled - reached:
        reached |= compiled
        compiled = {name for f in reached for name in used[f] if name in used}
    unused = {f.name for f in scope if kind(f) == "v"} - reached
    assert not unused, f"{path.name}: no twin calls {unused}"


@each_module
def test_no_hidden_random_state(path: Path) -> None:
    """Mathematics never draws: catches np.random, the random module, and any generator made inside the library."""
    for node in ast.walk(tree(path)):
        words = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Import | ast.ImportFrom) else ""
        assert not re.search(r"\bnp\.random|numpy\.random|^import random\b|^from random\b|RandomState", words), words


@each_module
def test_optional_packages_are_imported_where_they_are_used(path: Path) -> None:
    """Catches a second of import time for everybody; matplotlib is known in plots alone, scikit-learn in its face."""
    for functions in (False, True):
        for node in statements(tree(path), functions):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            tops = {name.split(".")[0] for name in names}
            if functions:
                assert "matplotlib" not in tops or dotted(path) == "plots" or path.parent.name == "plots", path
                assert "sklearn" not in tops or dotted(path) == "sklearn", path
                assert not tops & {"numba", "llvmlite"} or room(dotted(path)) == "engine", path
            else:
                heavy = (tops & set(OPTIONAL)) - ({"sklearn"} if dotted(path) == "sklearn" else set())
                assert not heavy or dotted(path) in INTRINSICS, f"{path.name} imports {heavy} at module level"


@each_module
def test_first_line_names_the_section(path: Path) -> None:
    """Catches a module that cannot be found from the chapter, and one of the engine that claims a section of it;
    §7.2.5 is the choice of q and p, not whatever has no section of its own."""
    first = (ast.get_docstring(tree(path)) or "").partition("\n")[0]
    begins = "Engine" if room(dotted(path)) == "engine" else r"§7(\.\d)*"
    assert re.match(begins, first), f"{path.name}: the first docstring line starts with {begins}"
    about = re.fullmatch(Q_AND_P, dotted(path))
    assert about or not re.match(r"[^A-Za-z]*§7\.2\.5", first), f"{path.name} is not about q and p"


@each_module
def test_every_public_function_is_explained(path: Path) -> None:
    """Catches a public name without a docstring."""
    for node in tree(path).body:
        members = [m for m in node.body if isinstance(m, FunctionDef)] if isinstance(node, ast.ClassDef) else []
        for item in [node, *members]:
            one_line = isinstance(item, FunctionDef) and len(item.body) == 1  # a docstring would say it twice
            if isinstance(item, FunctionDef | ast.ClassDef) and not item.name.startswith("_") and not one_line:
                assert ast.get_docstring(item), f"{path.name}: {item.name} has no docstring"


@each(SOURCES)
def test_it_fits_a_screen(path: Path) -> None:
    """Files of at most 400 lines, function bodies of at most 45, 12 arguments: what does not fit is two things."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(tree(path)):
        if isinstance(node, FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 45, f"{path.name}: the body of {node.name} has {lines} lines"
            assert len(node.args.args) <= 12, f"{path.name}: {node.name} has {len(node.args.args)} arguments"


@each(SOURCES)
def test_no_path_of_one_machine(path: Path) -> None:
    """Catches a file that only works where it was written."""
    found = re.search(r"(?<![\w.])/(work|tmp|home|root|Users)/\w|[A-Z]:\\\\", path.read_text(encoding="utf-8"))
    assert found is None, found


def test_the_readme_is_short() -> None:
    """One page: what is longer stands in docs/ or in bench/README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (len(text.splitlines()) <= 130, len(text.encode()) <= 9_000) == (True, True)


def test_readme_table_is_true() -> None:
    """Chapter section, module, test: catches a row that names a file which is not there."""
    rows = [line.split("|")[1:-1] for line in DOCUMENTS[0].read_text(encoding="utf-8").splitlines() if "| §7" in line]
    assert rows, "README.md has no table of chapter sections"
    for _, _, modules, tests in rows:
        names = [f"scratchvae/{name.strip()}.py" for name in modules.split(",")]
        for name in (*names, *(f"tests/test_{name.strip()}.py" for name in tests.split(","))):
            assert (ROOT / name).exists(), f"README.md names {name}, which is not there"


@each(DOCUMENTS)
def test_what_documents_name_is_there(path: Path) -> None:
    """Catches a document that names a file, a module, a command, a make target or a test that is gone."""
    text = path.read_text(encoding="utf-8")
    places = (path.parent, ROOT, PACKAGE, ROOT / "tests")
    for name in [*re.findall(r"\]\(([^):#]+)\)", text), *re.findall(r"`([\w/]+\.(?:py|json|md))`", text)]:
        assert any((place / name).exists() for place in places), f"{path.name} names {name}, which is not there"
    for name in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(name), f"{path.name} names the module {name}, which is not there"
    for kind, known in KNOWN.items():
        found = set(re.findall(rf"(?:^ {{4}}|`){kind}(?: |\n)([\w]+)", text, re.MULTILINE))
        assert found <= known, f"{path.name} names {kind} {found - known}"
    tests = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.glob("tests/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, f"{path.name} names {name}, which is not there"


def test_import_is_quick_and_light() -> None:
    """Under 0.35 s (best of ten) and without scipy, numba or any optional package: catches an eager import."""
    code = inspect.cleandoc("""
        import sys, time
        start = time.perf_counter()
        import scratchvae
        print(time.perf_counter() - start, *sorted(m for m in sys.modules if "." not in m))
    """)
    best = float("inf")
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        seconds, *modules = done.stdout.split()
        assert not {*OPTIONAL, "scipy"} & set(modules)
        best = min(best, float(seconds))
        if best < 0.35:
            break
    assert best < 0.35, f"import scratchvae took {best:.2f} s"


def test_cached_code_is_keyed_by_all_that_it_is_made_of() -> None:
    """Catches a constant that compiled code has from a module whose edits the cache would not see."""
    rooms = ("engine", "kernels", "fast")
    keyed = {path for pattern in jit.SOURCES for path in PACKAGE.glob(pattern)}
    known = {"types", "errors", "models.ladder"}  # no constants of theirs
    for path in (p for p in MODULES if p.parent.name in rooms):
        assert path in keyed
        for other in imported(path):
            found = any(dotted(p) == other for p in keyed) or other in known
            assert found, f"{dotted(path)} imports {other}, which engine.jit.SOURCES does not name"
