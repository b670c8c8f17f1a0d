"""Many settings on one opened model: what a sweep's points have in common is computed once."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from govern.unlearning.memory import memory_advice
from govern.unlearning.misdirection import Misdirection
from govern.unlearning.protocol import Edit, RemovalRequest
from govern.unlearning.registry import method_named
from govern.unlearning.settings import Descent, MethodSettings
from govern.unlearning.solvers.closed_form import Equations, MeasuredBlock, Waypoints, measure_block

# The share of the machine's free memory that the trunk's output may take: every point reads it again.
_ROOM = 0.25

# What an opened model depends on; points that differ in anything else share it.
_OPENED = {"layer", "train", "dtype", "mask", "batch_size", "seed"}


class Points:
    """Edits of one model for one text under one setting after another, each the edit that its method makes alone.

    For all points the model is loaded and the layers below the first trained one run once a batch. The closed form
    passes over the text once for the first trained block, whatever the coefficient, the map, the direction and α; a
    later block stands on the edits below it and needs a pass a point. Only the newest of what can be shared is kept,
    so points that differ in c alone should follow one another, and those of one α, and those of one set of layers.
    """

    def __init__(self, request: RemovalRequest[Any]) -> None:
        self.request = request
        self._opened: tuple[dict[str, Any], Misdirection] | None = None
        self._measured: tuple[str, MeasuredBlock] | None = None
        self._equations: tuple[tuple[float, float], Equations] | None = None

    @memory_advice()
    def edit(self, settings: MethodSettings) -> Edit:
        """The edit of one point. Raises as its method does."""
        request = replace(self.request, settings=settings, checkpoint=None)
        method = method_named(settings.method)
        if method.steer is None:
            return method.edit(request)
        setup = self._open(request)
        setup.trained.reset()
        return method.steer(replace(setup, measuring=partial(self._measure, setup, settings)), request)

    def _open(self, request: RemovalRequest[Any]) -> Misdirection:
        # The closed form deals the text in another order than descent does.
        key = {**request.settings.model_dump(include=_OPENED), "descent": isinstance(request.settings, Descent)}
        if self._opened is None or self._opened[0] != key:
            self._opened = self._measured = self._equations = None  # freed before the next is loaded
            self._opened = (key, Misdirection.open(request, room=_room(request.device)))
        return self._opened[1]

    def _measure(
        self, setup: Misdirection, settings: Any, layer: int, waypoints: Waypoints
    ) -> tuple[MeasuredBlock, Equations]:
        weights = settings.retain_weight, settings.ridge
        progress = self.request.progress
        if layer != setup.first:
            measured = measure_block(setup, settings, layer, waypoints, progress)
            return measured, Equations(measured.statistics, retain_weight=weights[0], ridge=weights[1])
        if self._measured is None or self._measured[0] != settings.statistic:
            self._equations = None
            self._measured = (
                settings.statistic,
                measure_block(setup, settings, layer, waypoints, progress),
            )
        measured = self._measured[1]
        if self._equations is None or self._equations[0] != weights:
            self._equations = weights, Equations(measured.statistics, retain_weight=weights[0], ridge=weights[1])
        return measured, self._equations[1]


def _room(device: str) -> int:
    """Bytes for the trunk's output: a share of what is free."""
    if device.startswith("cuda"):
        free, _total = torch.cuda.mem_get_info(device)
    else:
        # Not every system tells what is free: macOS has no SC_AVPHYS_PAGES. What it has in all is then the measure.
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        free = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    return int(_ROOM * free)
