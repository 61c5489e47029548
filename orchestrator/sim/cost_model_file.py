"""Finds a cost model by its name or in a file.

A JSON file holds either the fields of a model, of which those left out are the
built-in model's, or what `blockyard bench engine --json` wrote on the machine
that is to be simulated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from orchestrator.sim.calibration import calibrated, is_measured
from orchestrator.sim.cost_model import CostModel

H100_8B = "h100-8b"


class BadCostModel(ValueError):
    """The file does not describe a cost model; the message says why."""


def load_cost_model(name: str) -> CostModel:
    """The built-in model of this name, or the one in this JSON file. Raises BadCostModel."""
    if name == H100_8B:
        return CostModel()
    try:
        values = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise BadCostModel(f"{name}: neither {H100_8B} nor a readable JSON file: {error}") from None
    if not isinstance(values, dict):
        raise BadCostModel(f"{name}: a cost model is an object")
    return _measured(name, values) if is_measured(values) else _written(name, values)


def _measured(name: str, report: Mapping[str, Any]) -> CostModel:
    try:
        return calibrated(report)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadCostModel(
            f"{name}: not a whole report of `blockyard bench engine`: {error!r}"
        ) from error


def _written(name: str, values: Mapping[str, Any]) -> CostModel:
    known = {field.name for field in fields(CostModel)}
    if values.keys() - known:
        raise BadCostModel(f"{name}: a cost model is an object with fields of {sorted(known)}")
    wrong = [key for key, value in values.items() if type(value) is not int or value < 1]
    if wrong:
        raise BadCostModel(f"{name}: {', '.join(sorted(wrong))} must be positive integers")
    return CostModel(**values)
