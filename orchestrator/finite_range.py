"""A range of numbers for options of commands."""

from __future__ import annotations

import math

import click


class FiniteRange(click.FloatRange):
    """From one number to another; "nan" and "inf" are not in it, either."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(least, most)

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(
                f"{value} is not a number in the range {self.min:g} to {self.max:g}", param, ctx
            )
        return number
