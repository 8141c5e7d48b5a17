"""Settings of a method from params.yaml, with one message for what is wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prior.errors import InputError

S = TypeVar("S", bound=BaseModel)


def parse_settings(model: type[S], settings: Mapping[str, Any], method: str) -> S:
    """Check `settings` against `model`.

    Raises:
        InputError: names the method and the first setting that is unknown or out of range.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"settings of method {method}: {key}: {first['msg']}") from None
