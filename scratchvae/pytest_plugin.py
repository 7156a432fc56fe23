"""§7.2.4 For pytest, by entry point: the fixture `gradcheck`, and the whole table under a failed ``assert check(…)``.
Unused, it costs the import of this file and no NumPy."""

import sys
from collections.abc import Generator
from typing import Any

import pytest


@pytest.fixture
def gradcheck() -> Any:
    """`scratchvae.gradcheck.assert_vjp`: gradcheck(f, f_vjp, args, control=True) fails with the table of what is
    wrong."""
    from .gradcheck import assert_vjp

    return assert_vjp


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The reports that the failing line saw, whole: within an assertion pytest cuts them and escapes their lines."""
    found = yield
    module = sys.modules.get("scratchvae.gradcheck.report")
    if module and call.excinfo and call.excinfo.errisinstance(AssertionError):
        for table in dict.fromkeys(failures(module.Report, call.excinfo.traceback[-1].frame.f_locals)):
            if table not in str(call.excinfo.value):
                found.sections.append(("gradcheck", table))
    return found


def failures(report: type, values: dict[str, Any]) -> list[str]:
    """As text, the reports that are not ok."""
    return [str(value) for value in values.values() if isinstance(value, report) and not value]
