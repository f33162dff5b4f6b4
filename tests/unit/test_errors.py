"""Errors: their messages, their exit codes, and their way through Spark."""

from __future__ import annotations

import inspect
import pickle

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from sail_features import errors
from sail_features.errors import SailError, show

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, SailError) and kind is not SailError
]
BUILDERS = [
    (kind, name)
    for kind in KINDS
    for name, builder in vars(kind).items()
    if isinstance(builder, classmethod)
]
FACTS = {"str": "thing", "object": "thing", "int": 3, "float": 0.5}
FACTS |= {"Mapping[str, float]": {"total": 0.5}}


def build(kind: type[SailError], name: str) -> SailError:
    """Call a builder with a fact of the right type for each of its parameters."""
    builder = getattr(kind, name)
    wanted = [parameter.annotation for parameter in inspect.signature(builder).parameters.values()]
    return builder(*(FACTS.get(annotation, ["a", "b"]) for annotation in wanted))


@pytest.mark.parametrize(("kind", "name"), BUILDERS)
def test_message_ends_with_a_hint_and_survives_pickling(kind, name):
    error = build(kind, name)
    problem, hint = str(error).split("\nHint: ")
    assert problem
    assert hint
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (the bytes are our own)
    assert type(copy) is kind
    assert str(copy) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_also_is_the_built_in_that_a_caller_would_catch(kind):
    built_in = (ValueError, FileNotFoundError, KeyError, RuntimeError)
    assert issubclass(kind, built_in)
    assert not kind.say("here", "it broke", hint="mend it").args[1:]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.InputError, 2),
        (errors.MissingTableError, 2),
        (errors.ModelError, 2),
        (errors.QuarantineError, 1),
        (errors.LeakageError, 1),
        (errors.EvaluationError, 1),
        (SailError, 1),
    ],
)
def test_exit_code_tells_wrong_input_from_failure(kind, code):
    assert kind.exit_code == code


def test_five_ids_are_shown_and_the_rest_counted():
    assert show(range(5)) == "0, 1, 2, 3, 4"
    assert show(range(6)) == "0, 1, 2, 3, 4 and 1 more"
    assert show([]) == ""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int
    deep: dict[str, int] = {}


def test_each_wrong_setting_is_told_in_a_line_of_its_own():
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"size": "large", "deep": {"a": []}, "colour": 3})
    said = str(errors.ConfigError.unreadable("sail.yaml", raised.value))
    assert said.splitlines() == [
        "sail.yaml: can't be read:",
        "  size: Input should be a valid integer, unable to parse string as an integer, "
        "got 'large'",
        "  deep.a: Input should be a valid integer",
        "  colour: no such setting",
        "Hint: correct it and run again",
    ]
