"""The fields of state.json that are no recipes, by their types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, Strict, field_validator

from cache.files.texts import tidy, unfit


class PlainFields(BaseModel):
    """Strictly: a text is no list of its letters, and no number."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    step: NonNegativeInt
    classes: Annotated[tuple[str, ...], Strict(False)]
    words: Annotated[tuple[str, ...], Strict(False)]
    data: str
    means: dict[str, Annotated[tuple[float, int], Strict(False)]]
    finished: bool
    scales: Annotated[tuple[PositiveFloat, ...], Strict(False)] = ()
    version: int

    @field_validator("classes")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes) or any(unfit(name) or not tidy(name) for name in classes):
            raise ValueError("distinct names")
        return classes
