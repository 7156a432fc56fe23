"""§7.3 What a training run says along the way."""

import contextlib
import sys
import time
from typing import Any

from .common import say


class Progress:
    """Words along the way: a bar on a terminal where tqdm is installed, else a line now and then."""

    def __init__(self, total: int) -> None:
        self.total, self.rate, self.shown = total, 0.0, time.monotonic()
        self.bar = self.open_bar() if sys.stderr.isatty() else None

    def open_bar(self) -> Any:
        """The bar, or None without tqdm."""
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        return tqdm(total=self.total, unit="step", dynamic_ncols=True)

    def __call__(self, now: dict[str, Any]) -> None:
        """A report of the training loop: between two evaluations, or an evaluation."""
        if "rate" in now:
            self.rate = now["rate"]
            self.tick(now)
        else:
            held = f"held out {now['validation_elbo']:.2f}  " if "validation_elbo" in now else ""
            self.line(
                f"epoch {now['epoch']:g}  train {now['train_elbo']:.2f}  {held}test {now['test_elbo']:.2f} nats "
                f"(log p(x|z) {now['test_reconstruction']:.2f}, KL {now['test_kl']:.2f})  "
                f"{self.rate:.0f} rows/s  {now['seconds']:.1f} s"
            )

    def stopping(self) -> None:
        """Ctrl-C was heard."""
        with contextlib.suppress(RuntimeError):  # a line was being printed
            say("stopping after the steps in hand; Ctrl-C again stops at once, without them")

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        else:
            say(text)

    def tick(self, now: dict[str, Any]) -> None:
        """The bar, or every half minute a line with rate and time left."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"bound {now['bound']:.2f}, {now['rate']:.0f} rows/s", refresh=False)
            self.bar.update(now["step"] - self.bar.n)
        elif time.monotonic() - self.shown > 30 and now["step"] > 1:
            self.shown = time.monotonic()
            done = f"step {now['step']} of {self.total} ({100 * now['step'] / self.total:.0f} %)"
            say(f"{done}, {now['rate']:.0f} rows/s, {now['left']:.0f} s left")
