"""Configurations compared, saved beside a run's results, and read from YAML; errors of validation in one line."""

from __future__ import annotations

import contextlib
import difflib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from envs import registry


def flatten(config: BaseModel | Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value, for all options of a (nested) configuration, or of a dataclass."""
    flat: dict[str, Any] = {}
    for name in getattr(type(config), "model_fields", None) or vars(config):
        value = getattr(config, name)
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name: value}
    return flat


def plain(config: Config) -> dict[str, Any]:
    """As ``flatten``, in JSON values."""

    def as_json(value: Any) -> Any:
        if isinstance(value, tuple):
            return [as_json(part) for part in value]
        return str(value) if isinstance(value, Path) else value

    return {name: as_json(value) for name, value in flatten(config).items()}


def differences(one: Config, other: Config, ignore: Sequence[str] = ()) -> list[str]:
    """Options in which two configurations differ."""
    a, b = flatten(one), flatten(other)
    return [
        f"{option(name)} is {b[name]} but was {a[name]}"
        for name in a
        if a[name] != b[name] and name not in ignore
    ]


def to_yaml(config: Config) -> str:
    """The whole configuration as text, for ``load``."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def load(path: Path, preset: str | None = None, world: str = "crafter") -> Config:
    """Reads what ``to_yaml`` wrote, or a part of it (the rest is the preset's for the world).

    Args:
        path: of the YAML file.
        preset: to start from; None: the one that the file names, or "default".
        world: where the file names none.

    Raises:
        UserError: if the file cannot be read, is no mapping, has unknown keys or wrong types, or names another
            preset or an unknown world.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"cannot read the configuration {path}: {reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise UserError(f"the configuration {path} is not valid YAML") from error
    if not isinstance(data, Mapping):
        raise UserError(f"the configuration {path} must be a mapping of option names to values")
    named = _named(data, "run", "preset")
    if preset is not None and named not in (None, preset):
        raise UserError(f"preset is {preset}, but {path} names another")
    preset = named or preset or "default"
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UserError(f"preset is {preset!r} in {path}; choose one of {', '.join(PRESETS)}")
    named = _named(data, "env", "name")
    world = named if isinstance(named, str) else world
    try:
        start = in_world(PRESETS[preset], world)
    except UserError as error:
        raise UserError(f"{error} (in {path})") from error
    merged = _merge(start.model_dump(), data)
    try:
        return check(Config.model_validate(merged))
    except ValidationError as error:
        raise UserError(f"{explain(error)} (in {path})") from error
    except RecursionError as error:
        raise UserError(f"the configuration {path} is nested too deeply") from error


def in_world(preset: Config, world: str) -> Config:
    """A preset for a world, with the world's own settings.

    Raises:
        UserError: if there is no such world.
    """
    with one_line():
        if world == preset.env.name:
            return preset
        settings = registry.get(world).settings.get(preset.run.preset, {})
        env = {"name": world, "n_envs": preset.env.n_envs}
        return preset.changed(env=env, **settings)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turns errors of validation into one line.

    Raises:
        UserError: naming the first value that is wrong.
    """
    try:
        yield
    except ValidationError as error:
        raise UserError(explain(error)) from error
    except ValueError as error:
        raise UserError(str(error)) from error


def check(config: Config) -> Config:
    """Returns the configuration if all of its texts can be written to a file and read again.

    Raises:
        UserError: naming the first that cannot.
    """
    texts = [(name, value) for name, value in flatten(config).items() if isinstance(value, str | Path)]
    texts += [(name, text) for pair in config.env.own.items() for name, text in ((pair[0], t) for t in pair)]
    for name, value in texts:
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in str(value)):
            raise UserError(f"{option(name)} is {str(value)!r}; it must be plain text")
    return config


_TYPES = {  # pydantic's error types -> what would be right
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "model_type": "a section: a mapping of option names to values",
}


def explain(error: ValidationError) -> str:
    """The first error of a validation in one line: the option, its value, and what would be right."""
    unknown = ("extra_forbidden", "invalid_key")
    first = min(error.errors(), key=lambda entry: entry["type"] not in unknown)
    place = (*_sections(Config, ())[error.title], *map(str, first["loc"]))
    name, value, context = ".".join(place), first["input"], first.get("ctx", {})
    if first["type"] in unknown:
        return f"unknown key {name}; {_nearest(place)}"
    if first["type"] == "value_error":  # one of ours, complete
        return str(context["error"])
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    wanted = [f"{word} {context[bound]:g}" for bound, word in bounds.items() if bound in context]
    if wanted:
        return f"{option(name)} is {value}; it must be {wanted[0]}"
    if first["type"] == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "")
        return f"{option(name)} is {value!r}; choose one of {choices}"
    message = first["msg"][0].lower() + first["msg"][1:]
    wanted = _TYPES.get(first["type"])
    return f"{option(name)} is {value!r}; " + (
        f"it must be {wanted}" if wanted else message.replace("input should", "it must")
    )


def option(name: str) -> str:
    """An option's name on the command line, from its dotted name."""
    return _flags().get(name, name.rpartition(".")[2]).replace("_", "-")


def options() -> list[str]:
    """The names of all options on the command line, aliases included."""
    return [name.replace("_", "-") for name in (*_flags().values(), *_aliases())]


def _walk(model: type[BaseModel], dotted: str, prefix: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, field in model.model_fields.items():
        argument = next((m for m in field.metadata if hasattr(m, "prefix_name")), None)
        own = name if argument is None or argument.name is None else argument.name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _walk(field.annotation, f"{dotted}{name}.", f"{prefix}{own}." if own else prefix)
        else:
            yield f"{dotted}{name}", f"{prefix}{own}", tuple(argument.aliases or ()) if argument else ()


def _flags() -> dict[str, str]:
    return {dotted: flag for dotted, flag, _ in _walk(Config, "", "")}


def _aliases() -> list[str]:
    return [alias.lstrip("-") for *_, aliases in _walk(Config, "", "") for alias in aliases]


def _nearest(place: Sequence[str]) -> str:
    """A hint for a key that does not exist: the nearest of its section, or else of all options."""
    known = _fields(Config, place[:-1])
    section = "".join(f"{part}." for part in place[:-1])
    near = [f"{section}{name}" for name in difflib.get_close_matches(place[-1], known, n=1)]
    if not near:
        by_field = {name.rpartition(".")[2]: name for name in reversed(_flags())}
        near = [by_field[name] for name in difflib.get_close_matches(place[-1], by_field, n=1, cutoff=0.8)]
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _fields(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    for part in place:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def _sections(model: type[BaseModel], place: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Name of each section's class -> where it is; pydantic's errors are relative to the class that refused."""
    found = {model.__name__: place}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _sections(field.annotation, (*place, name))
    return found


def _named(data: Mapping[str, Any], section: str, name: str) -> Any:
    """A value of a file, or None."""
    values = data.get(section)
    return values.get(name) if isinstance(values, Mapping) else None


def _merge(default: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, with the values of a file in their place."""
    merged = dict(default)
    for key, value in data.items():
        nested = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged
