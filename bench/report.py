"""§7.2.5 What the bench found, for people: a markdown table, and the roofline picture."""

from collections.abc import Iterable
from typing import Any

from scratchvae.plots import plot_roofline, save

Row = dict[str, Any]

ARITHMETIC = (
    "GFLOP/s count every product as dense. Ours passes over the blank pixels of the first layer, so that is more than "
    "it does; on inverted images, 87 ones in a hundred, it is what it does."
)


def markdown(found: dict[str, Any]) -> str:
    """All parts that a run holds, as markdown."""
    parts = [_heading(found)]
    for kind, title in (("step", "Training step"), ("evidence", "log p(x)"), ("product", "Matrix product")):
        rows = [r for r in found["rows"] if r["kind"] == kind]
        if rows:
            how = "median µs; in brackets how many times slower than ours, within this run"
            parts.append(f"**{title}**, {how}\n\n{table(rows)}")
            if kind == "step":
                parts.append(ARITHMETIC)
    if found["machine"].get("limits"):
        parts.append(_limits(found["machine"]["limits"]))
    if found.get("startup"):
        parts.append(_startup(found["startup"]))
    parts += [f"- {note}" for note in found["notes"]]
    return "\n\n".join(parts)


def _heading(found: dict[str, Any]) -> str:
    m = found["machine"]
    caches = ", ".join(f"{name} {size >> 10} KiB" for name, size in m["caches"].items())
    return (
        f"{m['cpu']}, {m['processors']} processors, {m['vector_bits']}-bit vectors ({caches}); {m['system']}; "
        f"{'; '.join(found['versions'])}; {found['date']}, {found['mode']} run."
    )


def table(rows: list[Row]) -> str:
    """One line a cell, one column a contestant, ours first with its GFLOP/s."""
    whats = list(dict.fromkeys(r["what"] for r in rows))
    whats.sort(key=lambda w: w != "ours")
    cells: dict[tuple[str, ...], dict[str, Row]] = {}
    for r in rows:
        cells.setdefault(_cell(r), {})[r["what"]] = r
    head = ["network", *(["model", "estimator"] if "model" in rows[0] else []), "batch", "threads", "dtype", *whats]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line([*cell, *(_figure(by.get(w)) for w in whats)]) for cell, by in cells.items()]
    return "\n".join(lines)


def _cell(r: Row) -> tuple[str, ...]:
    """Its work in words; earlier results, of the VAE by SGVB B alone, say no model and no estimator."""
    if "model" not in r:
        return r["network"], str(r["batch"]), str(r["threads"]), r["dtype"]
    model = [r["model"]] + [r["likelihood"]] * (r["likelihood"] != "bernoulli")
    model += [f"missing {r['missing']}"] * bool(r["missing"])
    single = r["samples"] == 1 and r["estimator"] != "iw"
    estimator = [r["estimator"]] + [f"{r['samples']} sample{'s' * (r['samples'] > 1)}"] * (not single)
    estimator += [r["optimizer"]] * (r["optimizer"] != "adam")
    return r["network"], ", ".join(model), ", ".join(estimator), str(r["batch"]), str(r["threads"]), r["dtype"]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(row: Row | None) -> str:
    if row is None:
        return "–"
    us = f"{row['microseconds']:,.0f}" if row["microseconds"] >= 100 else f"{row['microseconds']:.1f}"
    if row["what"] in ("ours", "ours, inverted images"):
        return f"{us} ({row['gflops']:.0f} GFLOP/s)"
    return us if row["ratio"] is None else f"{us} ({row['ratio']:.2f})"


def _limits(limits: dict[str, Any]) -> str:
    lines = [_line(["limit of the machine", *(f"{n} thread{'s' * (n != '1')}" for n in limits)])]
    lines.append(_line(["---"] * (1 + len(limits))))
    for name in next(iter(limits.values())):
        values = [one[name] for one in limits.values()]
        if name.startswith("fma"):
            lines.append(_line([f"FMA from registers, {name[4:]}-bit", *(f"{v:.0f} GFLOP/s" for v in values)]))
        else:
            speeds = (f"{v['read']:.0f} / {v['update']:.0f} GB/s" for v in values)
            lines.append(_line([f"{name} read / update", *speeds]))
    return "\n".join(lines)


def _startup(rows: list[Row]) -> str:
    head = ["process start to first step", "cold cache, s", "warm cache, s", "peak memory, MB"]
    body = [[r["what"], f"{r['cold_seconds']:.2f}", f"{r['warm_seconds']:.2f}", str(r["peak_mb"])] for r in rows]
    return "\n".join(map(_line, [head, ["---"] * 4, *body]))


def roofline(found: dict[str, Any], path: str, threads: int = 2) -> None:
    """GFLOP/s reached over operations a byte, under the roofs that this machine's FMA units and caches set."""
    if str(threads) not in found["machine"].get("limits", {}):
        raise ValueError("the roofline needs the machine's limits: run with --only machine,steps,products")
    save(plot_roofline(found["machine"], found["rows"], threads), path)
