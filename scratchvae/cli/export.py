"""§7.3.1 `export`: a trained VAE as an ONNX file, for programs that know nothing of this library."""

import argparse

from ..errors import UsageError
from .common import Commands, add_run, check_out, command, open_run, say, write

ABOUT = """Write a run as an ONNX file: x in raw columns to mu and log_var of q(z | x) and to the mean of p(x | z) at
z = mu, or one part alone, of which the decoder takes z. Standardising and its undoing are inside; columns of words are
codes, and the file's metadata name columns and words.
Runs with gaps (--missing) and ladders are refused. It needs onnx: pip install 'scratchvae[onnx]'."""


def add(commands: Commands) -> None:
    """Register `export`."""
    p = command(commands, "export", ABOUT, "scratchvae export runs/people people.onnx")
    p.set_defaults(run=run)
    add_run(p)
    p.add_argument("out", metavar="FILE", help="where to: .onnx")
    p.add_argument("--part", choices=("both", "encoder", "decoder"), default="both", help="what goes into the file")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from .. import export  # its families need SciPy, and `scratchvae gradcheck` does not

    if not args.out.endswith(".onnx"):
        raise UsageError(f"{args.out} must end in .onnx")
    check_out(args.out, ".onnx")
    state = open_run(args)
    made = export.to_onnx(state, args.part)
    write(args.out, lambda file: file.write(made.SerializeToString()))
    drawn = state.config.binarisation in ("dynamic", "fixed") and state.reading.kind == "bytes"
    if drawn and args.part != "decoder":
        say("x are grey levels or bits in [0, 1]: training drew bits of them, and the file draws none")
    return 0
