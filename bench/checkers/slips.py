"""§7.2.4 What is done to a right f_vjp to make it wrong: factors, swaps, lost blocks, writes, aliasing, state."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.tree import leaves, transform
from scratchvae.types import Array

Pull = Callable[..., Any]  # f_vjp(dy, *args)
Slip = Callable[[Pull], Pull]
Edit = Callable[[list[Any], list[Array]], None]  # changes the cotangents' copies, beside their arguments


def after(edit: Edit) -> Slip:
    """The right cotangents, then the edit. Where it has no place, nothing changes."""

    def slip(f_vjp: Pull) -> Pull:
        def vjp(dy: Any, *args: Any) -> Any:
            grads = f_vjp(dy, *args)
            whole = grads if type(grads) is tuple else (grads,)
            found = {path: np.array(leaf, dtype=float) for path, leaf in leaves(whole) if leaf is not None}
            given, blocks = dict(leaves(args)), list(found.values())
            edit(blocks, [np.asarray(given[path]) for path in found])
            changed = dict(zip(found, blocks, strict=True))
            whole = transform(lambda path, _: changed.get(path), whole)
            return whole if type(grads) is tuple else whole[0]

        return vjp

    return slip


def times(factor: float, only: slice = slice(None)) -> Slip:
    """All blocks, or some, times a number."""

    def edit(blocks: list[Any], _: list[Array]) -> None:
        for block in blocks[only]:
            block *= factor

    return after(edit)


def by_batch(power: int) -> Slip:
    """Sum for mean, or mean for sum: a factor of B or 1/B, B the rows of the first argument. No slip at B = 1."""

    def edit(blocks: list[Any], args: list[Array]) -> None:
        for block in blocks:
            block *= float(len(args[0]) if args[0].ndim else 1) ** power

    return after(edit)


def of_last(change: Callable[[Array, Array], None]) -> Slip:
    """A change of the last block that is not empty, beside its argument."""

    def edit(blocks: list[Any], args: list[Array]) -> None:
        for block, arg in list(zip(blocks, args, strict=True))[::-1]:
            if block.size:
                change(block, arg)
                return

    return after(edit)


def put(block: Array, other: Array) -> None:
    """Other numbers in place, if they fit."""
    if block.shape == other.shape:
        block[...] = other.copy()


def one_element(block: Array, _: Array) -> None:
    block.flat[block.size // 2] += 0.1 * np.max(np.abs(block))


def largest_lost(block: Array, _: Array) -> None:
    block.flat[np.argmax(np.abs(block))] = 0


def last_row(block: Array, _: Array) -> None:
    if block.ndim == 2:
        block[-1] *= 1.5


def first_row_for_all(block: Array, _: Array) -> None:
    if block.ndim:
        block[1:] = block[:1]


def negative_inputs(block: Array, arg: Array) -> None:
    block *= np.where(arg < 0, 0.5, 1)


def large_inputs(block: Array, arg: Array) -> None:
    block *= np.where(np.abs(arg) > 1, 1.01, 1)


def swapped(blocks: list[Any], _: list[Array]) -> None:
    """The first two of one shape, exchanged."""
    for i, block in enumerate(blocks):
        for other in blocks[i + 1 :]:
            if other.shape == block.shape:
                kept = block.copy()
                put(block, other)
                put(other, kept)
                return


def one_buffer(blocks: list[Any], _: list[Array]) -> None:
    """Two blocks of one size in the same buffer, so that the second overwrites the first."""
    for i, block in enumerate(blocks):
        for j in range(i + 1, len(blocks)):
            if blocks[j].size == block.size:
                blocks[i] = blocks[j].reshape(block.shape)
                return


def none_for_last(blocks: list[Any], args: list[Array]) -> None:
    """None for integers is no slip: they are constants."""
    if args[-1].dtype.kind == "f":
        blocks[-1] = None


def sevenfold(blocks: list[Any], args: list[Array]) -> None:
    """Of integers and bools alone."""
    for block, arg in zip(blocks, args, strict=True):
        if arg.dtype.kind in "iub":
            block *= 7


def of_dy(change: Callable[[Array], Array]) -> Slip:
    """The right f_vjp, given another dy."""

    def slip(f_vjp: Pull) -> Pull:
        def vjp(dy: Any, *args: Any) -> Any:
            return f_vjp(transform(lambda _, leaf: leaf if leaf is None else change(leaf), dy), *args)

        return vjp

    return slip


def second_component(dy: Array) -> Array:
    """The second number of each output counted twice."""
    dy = np.array(dy, dtype=float)
    dy.flat[1:2] *= 2
    return dy


def second_output(f_vjp: Pull) -> Pull:
    """The second of several outputs counted twice."""

    def vjp(dy: Any, *args: Any) -> Any:
        second = [path for path, _ in leaves(dy)][1:2]
        return f_vjp(transform(lambda path, leaf: 2 * leaf if [path] == second else leaf, dy), *args)

    return vjp


def writes(where: str) -> Slip:
    """The right cotangents, then a write into the first array of the arguments, or into dy."""

    def slip(f_vjp: Pull) -> Pull:
        def vjp(dy: Any, *args: Any) -> Any:
            grads = transform(lambda _, leaf: leaf if leaf is None else np.array(leaf), f_vjp(dy, *args))
            for _, leaf in leaves(dy if where == "dy" else args):
                if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f":
                    leaf *= 1.5
                    break
            return grads

        return vjp

    return slip


def keeps_a_sum(f_vjp: Pull) -> Pull:
    """Adds to what it returned before: a buffer that nobody set to zero."""
    total: list[Any] = []

    def edit(blocks: list[Any], _: list[Array]) -> None:
        for i, block in enumerate(blocks):
            block += total[i] if total else 0
        total[:] = [block.copy() for block in blocks]

    return after(edit)(f_vjp)


def fresh_noise(f_vjp: Pull) -> Pull:
    """Draws at every call."""
    rng = np.random.default_rng(0)

    def edit(blocks: list[Any], _: list[Array]) -> None:
        for block in blocks:
            block *= 1 + 0.1 * rng.standard_normal(block.shape)

    return after(edit)(f_vjp)


SLIPS: dict[str, Slip] = {
    "times 1 + 1e-4": times(1 + 1e-4),
    "first block times 1 + 1e-4": times(1 + 1e-4, slice(1)),
    "sign": times(-1),
    "sign of the last block": times(-1, slice(-1, None)),
    "half": times(0.5),
    "double": times(2),
    "times B": by_batch(1),
    "divided by B": by_batch(-1),
    "one element off": of_last(one_element),
    "largest element lost": of_last(largest_lost),
    "first block zero": times(0, slice(1)),
    "last block zero": times(0, slice(-1, None)),
    "two blocks swapped": after(swapped),
    "transposed": of_last(lambda block, _: put(block, block.T)),
    "last row off": of_last(last_row),
    "rows in reverse": of_last(lambda block, _: put(block, block[::-1] if block.ndim else block)),
    "first row for all": of_last(first_row_for_all),
    "off by one": of_last(lambda block, _: put(block, np.roll(block, 1))),
    "negative inputs off": of_last(negative_inputs),
    "inputs beyond 1 off": of_last(large_inputs),
    "second component of the output off": of_dy(second_component),
    "second output off": second_output,
    "does not depend on dy": of_dy(np.ones_like),
    "dy twice": of_dy(lambda dy: dy * np.abs(dy)),
    "writes into an argument": writes("args"),
    "writes into dy": writes("dy"),
    "two blocks in one buffer": after(one_buffer),
    "keeps a sum": keeps_a_sum,
    "fresh noise": fresh_noise,
    "None for the last argument": after(none_for_last),
    "integers sevenfold": after(sevenfold),
}
