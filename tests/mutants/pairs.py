"""§7.2 Pairs that are wrong together: a forward with another value, and a backward that agrees with it.

No gradient check can see these. Each kernel pair f_np, f_vjp_np becomes one of

    scaled     f' = 1.5 f      the cotangent is multiplied by 1.5 on its way in
    shifted    f' = f + 0.1    the slope stays as it is

and where the backward reads the output (dy, y), y is first turned back into what it was.
"""

import ast
import copy
from collections.abc import Iterator

from scratchvae.mutants.plant import FunctionDef, Target

Part = tuple[Target, FunctionDef]


def matched(found: list[Target]) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """(name, functions that change) for every pair of kernels among the targets."""
    for forward in found:
        stem = forward.name.removesuffix("_np")
        backward = [t for t in found if t.module is forward.module and t.name.startswith(f"{stem}_vjp")]
        if forward.name.endswith("_np") and backward:
            scaled = [(forward, returning(forward.tree, "1.5 * ({})"))]
            scaled += [(t, starting(t.tree, "{0} = 1.5 * {0}", "y = y / 1.5")) for t in backward]
            yield f"{forward.label} | pair scaled | both by 1.5", tuple(scaled)
            shifted = [(forward, returning(forward.tree, "({}) + 0.1"))]
            shifted += [(t, starting(t.tree, "", "y = y - 0.1")) for t in backward if reads_output(t.tree)]
            yield f"{forward.label} | pair shifted | the value by 0.1", tuple(shifted)


def reads_output(tree: FunctionDef) -> bool:
    """A backward (dy, y)."""
    return [a.arg for a in tree.args.args] == ["dy", "y"]


def returning(tree: FunctionDef, pattern: str) -> FunctionDef:
    """The function with `pattern` around what it returns."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            node.value = ast.parse(pattern.format(ast.unparse(node.value)), mode="eval").body
    return tree


def starting(tree: FunctionDef, cotangent: str, output: str) -> FunctionDef:
    """The backward with its first argument changed, and the output y changed back where it is one."""
    tree = copy.deepcopy(tree)
    lines = [cotangent.format(tree.args.args[0].arg)] + ([output] if reads_output(tree) else [])
    tree.body[:0] = ast.parse("\n".join(lines)).body
    return tree
