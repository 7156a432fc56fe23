"""§7.2 Small errors that hands make: a sign, a lost term, a factor, swapped operands, a transpose, an axis, = for +=.

`mutations` walks a function's syntax tree and yields it with one node exchanged at a time. Annotations, docstrings,
assertions and error messages are left alone: they carry no value.
"""

import ast
import copy
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

Site = tuple[ast.AST, str, int | None, ast.AST]  # parent, field, index in a list, child
Change = tuple[str, ast.AST]  # the kind of error, and the node that it leaves

SKIPPED = (ast.Raise, ast.Assert)
SKIPPED_FIELDS = ("annotation", "returns", "type_comment", "decorator_list", "defaults", "kw_defaults")
CALLS = {
    "exp": "expm1", "expm1": "exp", "log1p": "log", "log": "log1p", "tanh": "sin", "sqrt": "square", "sum": "mean",
    "mean": "sum", "zeros_like": "ones_like", "ones_like": "zeros_like", "sigmoid_np": "softplus_np",
    "softplus_np": "sigmoid_np",
}  # fmt: skip
ATTRIBUTES = {"mu": "log_var", "log_var": "mu"}
WORDS = {"softplus": "sigmoid", "sigmoid": "tanh", "identity": "tanh"}
ORDERLESS = ("min", "max", "np.array_equal", "np.maximum", "np.minimum", "np.fmax", "np.fmin", "np.logaddexp",
             "np.broadcast_shapes", "np.result_type", "special.betaln", "dot")  # fmt: skip
FLAGS = ("k", "self", "name", "activation", "family", "variance", "p", "dp")  # arguments that are no arrays
BINARY: dict[type[ast.operator], tuple[str, type[ast.operator]]] = {
    ast.Add: ("sign flipped", ast.Sub), ast.Sub: ("sign flipped", ast.Add),
    ast.Mult: ("factor inverted", ast.Div), ast.Div: ("factor inverted", ast.Mult),
}  # fmt: skip
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


class Mutation(NamedTuple):
    """One error: its kind, the statement before and after, and the function with it, pickled: Python's garbage
    collector would walk through ten thousand trees again and again."""

    kind: str
    before: str
    after: str
    pickled: bytes
    lines: range  # of the statement, or of its head

    @property
    def tree(self) -> ast.FunctionDef:
        """The function with the error."""
        found: ast.FunctionDef = pickle.loads(self.pickled)
        return found


def mutations(tree: ast.FunctionDef) -> Iterator[Mutation]:
    """Every mutation of a function, each different from the original and from the others."""
    tree = copy.deepcopy(tree)
    parameters = [a.arg for a in tree.args.args if a.arg not in FLAGS]
    seen: set[tuple[int, str]] = set()
    for statement, (parent, field, index, child) in list(sites(tree, tree)):
        before = said(statement)
        for kind, new in changes(child, parameters, parent):
            put(parent, field, index, ast.fix_missing_locations(ast.copy_location(new, child)))
            after = said(new if child is statement else statement)
            if after != before and (id(statement), after) not in seen:
                seen.add((id(statement), after))
                yield Mutation(kind, before, after, pickle.dumps(tree), lines_of(statement))
            put(parent, field, index, child)


def said(node: ast.AST) -> str:
    """A statement's first line."""
    if isinstance(node, ast.stmt) and hasattr(node, "body"):
        node = copy.copy(node)
        node.body = [ast.Pass()]
    return ast.unparse(node).splitlines()[0]


def lines_of(node: Any) -> range:
    """Where a statement stands; one with a body ends where that begins."""
    last: int = node.body[0].lineno - 1 if hasattr(node, "body") else node.end_lineno
    return range(node.lineno, max(node.lineno, last) + 1)


def put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    """Set one child of a node."""
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def sites(node: ast.AST, statement: ast.AST) -> Iterator[tuple[ast.AST, Site]]:
    """Every node below, with the statement that it belongs to."""
    for field, value in ast.iter_fields(node):
        if field in SKIPPED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, SKIPPED) or only_raises(child):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            own = child if isinstance(child, ast.stmt) else statement
            axis = is_axis(child, node, field)
            if not axis or isinstance(child, ast.keyword):
                yield own, (node, field, index, child)
            if not axis:
                yield from sites(child, own)


def only_raises(node: ast.AST) -> bool:
    """An `if` that guards nothing but an error."""
    return isinstance(node, ast.If) and all(isinstance(s, ast.Raise) for s in node.body) and not node.orelse


def is_axis(node: ast.AST, parent: ast.AST, field: str) -> bool:
    """The axis of a reduction, axis=-1 or .sum(-1): one thing, to be changed as a whole."""
    if isinstance(node, ast.keyword):
        return node.arg == "axis"
    reduces = isinstance(parent, ast.Call) and getattr(parent.func, "attr", "") in ("sum", "mean")
    return reduces and field == "args" and not isinstance(node, ast.Name | ast.Call | ast.BinOp)


def changes(node: ast.AST, parameters: list[str], parent: ast.AST) -> Iterator[Change]:
    """What a slip of the hand makes of this node."""
    if isinstance(node, ast.BinOp):
        yield from of_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign flipped" if isinstance(node.op, ast.USub) else "condition turned", node.operand
    elif isinstance(node, ast.Constant):
        yield from of_constant(node)
    elif isinstance(node, ast.Call):
        yield from of_call(node)
    elif isinstance(node, ast.keyword) and node.arg == "axis":
        yield "axis changed", ast.keyword("axis", other_axis(node.value))
    elif isinstance(node, ast.Attribute):
        yield from of_attribute(node)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
        i = parameters.index(node.id)
        yield "operand swapped", ast.Name(parameters[(i + 1) % len(parameters)], ast.Load())
    elif isinstance(node, ast.BoolOp | ast.Set):
        yield from of_members(node)
    elif isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load):
        yield from of_sequence(node, parent)
    else:
        yield from of_control(node)


def of_operation(node: ast.BinOp) -> Iterator[Change]:
    """a ∘ b: another sign, a lost side, sides exchanged."""
    a, b, op = node.left, node.right, type(node.op)
    if op in BINARY:
        kind, other = BINARY[op]
        yield kind, ast.BinOp(a, other(), b)
        yield "term dropped" if kind == "sign flipped" else "factor dropped", a
        yield "term dropped" if kind == "sign flipped" else "factor dropped", b
    if op in (ast.Sub, ast.Div, ast.MatMult):
        yield "operands swapped", ast.BinOp(b, node.op, a)
    if op is ast.Pow:
        yield "factor dropped", a


def of_constant(node: ast.Constant) -> Iterator[Change]:
    """A number doubled or moved by one, a flag turned, another activation."""
    value: Any = node.value
    if isinstance(value, bool):
        yield "condition turned", ast.Constant(not value)
    elif isinstance(value, int):
        yield "factor or axis changed", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield "factor changed", ast.Constant(2 * value or 1.0)
    elif value in WORDS:
        yield "function changed", ast.Constant(WORDS[value])


def of_call(node: ast.Call) -> Iterator[Change]:
    """f(a, b): arguments exchanged, f left out, an option forgotten, another reduction."""
    args = node.args
    for i in range(0 if ast.unparse(node.func) in ORDERLESS else len(args) - 1):
        yield "operands swapped", ast.Call(node.func, [*args[:i], args[i + 1], args[i], *args[i + 2 :]], node.keywords)
    if args and not isinstance(args[0], ast.Starred | ast.GeneratorExp):
        yield "function dropped", args[0]
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name):
        yield "function dropped", node.func.value
    for i in range(len(node.keywords)):
        yield "option dropped", ast.Call(node.func, args, [*node.keywords[:i], *node.keywords[i + 1 :]])
    if args and is_axis(args[0], node, "args"):
        yield "axis changed", ast.Call(node.func, [other_axis(args[0])], node.keywords)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in CALLS:
        other = CALLS[name]
        func = ast.Attribute(node.func.value, other, ast.Load()) if isinstance(node.func, ast.Attribute) else None
        yield "function changed", ast.Call(func or ast.Name(other, ast.Load()), args, node.keywords)


def other_axis(axis: ast.expr) -> ast.expr:
    """The last for the first, the first for any other."""
    return ast.parse("-1" if ast.unparse(axis) == "0" else "0", mode="eval").body


def of_attribute(node: ast.Attribute) -> Iterator[Change]:
    """The transpose forgotten; the mean for the log-variance."""
    if node.attr == "T" and isinstance(node.ctx, ast.Load):
        yield "transpose forgotten", node.value
    if node.attr in ATTRIBUTES and isinstance(node.ctx, ast.Load):
        yield "operand swapped", ast.Attribute(node.value, ATTRIBUTES[node.attr], ast.Load())


def of_sequence(node: ast.Tuple | ast.List, parent: ast.AST) -> Iterator[Change]:
    """Results handed back in another order."""
    if isinstance(parent, ast.Subscript | ast.Call):
        return
    for i in range(len(node.elts) - 1):
        elts = [*node.elts[:i], node.elts[i + 1], node.elts[i], *node.elts[i + 2 :]]
        yield "operands swapped", type(node)(elts, ast.Load())


def of_members(node: ast.BoolOp | ast.Set) -> Iterator[Change]:
    """One of several conditions, or of a set, forgotten."""
    members = node.values if isinstance(node, ast.BoolOp) else node.elts
    for i in range(len(members)):
        rest = [*members[:i], *members[i + 1 :]]
        if isinstance(node, ast.BoolOp):
            yield "condition dropped", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        else:
            yield "name dropped", ast.Set(rest) if rest else ast.parse("set()", mode="eval").body


def of_control(node: ast.AST) -> Iterator[Change]:
    """A condition turned, a branch always taken, += made = or −=, a statement lost, a result negated."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        yield (
            "condition turned",
            ast.Compare(node.left, [COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators),
        )
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute):
        yield "condition turned", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.IfExp):
        yield "branch always taken", node.body
        yield "branch always taken", node.orelse
    elif isinstance(node, ast.AugAssign):
        target = ast.parse(ast.unparse(node.target), mode="eval").body
        yield "+= turned to =", ast.Assign([ast.Subscript(target, ast.Constant(...), ast.Store())], node.value)
        if type(node.op) in BINARY:
            yield BINARY[type(node.op)][0], ast.AugAssign(node.target, BINARY[type(node.op)][1](), node.value)
        yield "statement dropped", ast.Pass()
    elif isinstance(node, ast.Expr):
        yield "statement dropped", ast.Pass()
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp | ast.Call | ast.Name | ast.UnaryOp):
        yield "sign flipped", ast.Return(ast.UnaryOp(ast.USub(), node.value))
