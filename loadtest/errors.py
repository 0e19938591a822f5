"""The error tree of the load test; each docstring says what went wrong and what to do."""

from __future__ import annotations


class LoadtestError(Exception):
    """The measurement could not be made."""


class WrongUsage(LoadtestError):
    """The command line asks for what cannot be done; nothing was sent."""


class ServiceNotReached(LoadtestError):
    """The service does not answer as an OpenAI-compatible one: check the URL, which ends in /v1."""


class PlotsMissing(LoadtestError):
    """Plots need matplotlib: install the extra `bench`, or ask for --no-plots."""


class NothingMeasured(LoadtestError):
    """No answer from which the figure could be taken."""


class RequestFailed(LoadtestError):
    """A request failed where each must succeed."""
