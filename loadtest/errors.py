"""The errors of the load test; each docstring is the message."""

from __future__ import annotations


class LoadtestError(Exception):
    """The measurement could not be made."""


class WrongUsage(LoadtestError):
    """The command line cannot be carried out; nothing was sent."""


class ServiceNotReached(LoadtestError):
    """The service does not answer as an OpenAI-compatible server: check the URL, which ends in /v1."""


class PlotsMissing(LoadtestError):
    """Plots need matplotlib: install the extra `bench`, or use --no-plots."""


class NothingMeasured(LoadtestError):
    """No answer to compute the figure from."""


class RequestFailed(LoadtestError):
    """A request failed in a measurement where every request must succeed."""
