"""Settings of a method from params.yaml, with one message for what is wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prior.errors import InputError

S = TypeVar("S", bound=BaseModel)


def parse_settings(model: type[S], settings: Mapping[str, Any], method: str) -> S:
    """Check `settings` against `model`.

    Raises:
        InputError: names the method, every setting that is wrong, and where all are listed.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg'].removeprefix('Value error, ')}"
            for wrong in error.errors()
        )
        raise InputError(
            f"settings of method {method}: {problems} (see {model.__name__} in {model.__module__})"
        ) from None
