"""Config: one TOML file, overridden by the environment, overridden by options; every key checked, every error placed.

`TICKPULSE_GATEWAY__SYNTHETIC__RATE=50000` and `--set gateway.synthetic.rate=50000` both mean the key `rate` in
the table `[gateway.synthetic]`.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec

from common.errors import ConfigError
from common.instruments import Instrument, InstrumentTable
from common.log import LogLevel
from common.run_directory import RunDirectory

DEFAULT_PATH = Path("tickpulse.toml")
ENVIRONMENT_PREFIX = "TICKPULSE_"
# Environment variables of ours that are options of commands, not config keys.
ENVIRONMENT_RESERVED = frozenset({"TICKPULSE_CONFIG", "TICKPULSE_CRASH", "TICKPULSE_RUN_DIR"})
UNIX_PATH_BYTES_MAX = 107  # sun_path of Linux, less its NUL

Positive = Annotated[int, msgspec.Meta(gt=0)]
T = TypeVar("T")


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all processes of a run have in common."""

    directory: str = "run"
    mode: Literal["simulated"] = "simulated"  # the only kind of venue that this version has
    log_level: LogLevel = "info"
    # normal: an accepted write survives the death of any process. full: it survives power loss too, 10 x slower.
    synchronous: Literal["normal", "full"] = "normal"
    report_interval_ms: Positive = 500
    stop_ms_max: Positive = 6_000  # less than stopwaitsecs in supervisord.conf, or the kill comes first


class ChannelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where processes meet. Empty means a Unix socket in the run directory: faster than tcp, closed to other users."""

    market: str = ""
    snapshots: str = ""
    signals: str = ""
    events: str = ""
    orders: str = ""
    executions: str = ""
    telemetry: str = ""
    records: str = ""
    control: str = ""
    workers: str = ""
    replay: str = ""


class SocketsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of every socket."""

    queue_messages_max: Annotated[int, msgspec.Meta(ge=0)] = 100_000  # 2 s of 50 k ticks/s, about 30 MB; 0 = no limit
    # Above it libzmq closes the connection unread. Ours (1 MiB) is lower, so that we can still count what comes.
    message_bytes_max: Positive = 16 << 20
    linger_ms: Annotated[int, msgspec.Meta(ge=0)] = 500  # how long a closing socket may still send
    reconnect_ms: Positive = 20
    reconnect_ms_max: Positive = 500
    heartbeat_ms: Positive = 1_000  # tcp only: a peer whose host vanished is noticed after three of them


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables that every process reads."""

    run: RunConfig = msgspec.field(default_factory=RunConfig)
    channels: ChannelsConfig = msgspec.field(default_factory=ChannelsConfig)
    sockets: SocketsConfig = msgspec.field(default_factory=SocketsConfig)
    instruments: list[Instrument] = []


class Config:
    """A config tree with the origin of each value, so that an error can say where to look."""

    def __init__(self, tree: dict[str, Any], origin: str) -> None:
        self._tree = tree
        self._origin = origin
        self._origins: dict[tuple[str, ...], str] = {}
        self._settings: Settings | None = None

    @property
    def tree(self) -> dict[str, Any]:
        """The merged tables, for display."""
        return self._tree

    def assign(self, path: tuple[str, ...], value: object, origin: str) -> None:
        """Override one key.

        Raises:
            ConfigError: A part of the path is a value, not a table.
        """
        table = self._tree
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{origin}: {'.'.join(path)}: {part} is a value, not a table")
        table[path[-1]] = value
        self._origins[path] = origin

    def settings(self) -> Settings:
        """The tables that every process reads."""
        if self._settings is None:
            own = {name: self._tree[name] for name in Settings.__struct_fields__ if name in self._tree}
            self._settings = self._convert(own, Settings, ())
        return self._settings

    def section(self, name: str, section_type: type[T]) -> T:
        """The table of one process, typed."""
        return self._convert(self._tree.get(name, {}), section_type, (name,))

    def run_directory(self) -> RunDirectory:
        """Where this run lives."""
        return RunDirectory(self.settings().run.directory)

    def instruments(self) -> InstrumentTable:
        """The instrument table."""
        return InstrumentTable(self.settings().instruments)

    def endpoint(self, channel: str) -> str:
        """Where a channel is bound or connected to.

        Raises:
            ConfigError: The path of the Unix socket is too long for the operating system.
        """
        configured: str = getattr(self.settings().channels, channel)
        if configured:
            return configured
        path = self.run_directory().file("sockets", f"{channel}.ipc")
        if len(bytes(path)) > UNIX_PATH_BYTES_MAX:
            raise ConfigError(
                f"run directory: expected a socket path of up to {UNIX_PATH_BYTES_MAX} bytes, was {len(bytes(path))} "
                f"({path}); choose a shorter --run-dir"
            )
        return f"ipc://{path}"

    def check_sections(self, sections: Iterable[str]) -> None:
        """Refuse tables that nobody reads.

        Raises:
            ConfigError: A table is unknown; the message names the nearest known one.
        """
        known = sorted({*Settings.__struct_fields__, *sections})
        for name in self._tree:
            if name not in known:
                origin = self._origin_of((name,))
                raise ConfigError(f"{origin}: unknown table [{name}]{_nearest(name, known)}")

    def _convert(self, value: object, value_type: type[T], path: tuple[str, ...]) -> T:
        if get_origin(value_type) is dict and isinstance(value, dict):
            # One by one, because msgspec does not say the name of the table that is wrong.
            item_type = get_args(value_type)[1]
            return cast("T", {name: self._convert(item, item_type, (*path, name)) for name, item in value.items()})
        try:
            return msgspec.convert(value, value_type)
        except msgspec.ValidationError as error:
            raise self._placed(str(error), value, value_type, path) from error

    def _placed(self, text: str, value: object, value_type: Any, path: tuple[str, ...]) -> ConfigError:
        """Turn msgspec's words into: origin, key, what was expected, what was there."""
        text, _, where = text.partition(" - at ")
        inner = tuple(re.findall(r"[^.`$\[\]]+|\[[^\]]*\]", where))
        unknown = re.search(r"unknown field `([^`]*)`", text)
        if unknown is not None:
            key = (*path, *inner, unknown[1])
            known = _field_names(_type_at(value_type, inner))
            return ConfigError(f"{self._origin_of(key)}: {'.'.join(key)}: unknown key{_nearest(unknown[1], known)}")
        key = (*path, *inner)
        if text.startswith("Invalid enum value"):
            text = f"Expected one of {', '.join(map(repr, get_args(_type_at(value_type, inner))))}"
        text = text[:1].lower() + text[1:].replace("`", "")
        if text.startswith("expected "):
            text = f"{text.partition(', got ')[0]}, was {_value_at(value, inner)[:80]}"
        return ConfigError(f"{self._origin_of(key)}: {'.'.join(key)}: {text}")

    def _origin_of(self, path: tuple[str, ...]) -> str:
        for origin_path, origin in self._origins.items():
            if origin_path[: len(path)] == path or path[: len(origin_path)] == origin_path:
                return origin
        return self._origin


def load(path: Path | None, environ: Mapping[str, str], assignments: Iterable[str] = ()) -> Config:
    """Read the config of a run.

    Args:
        path: The TOML file; None for tickpulse.toml in the working directory, or defaults where there is none.
        environ: The environment.
        assignments: `table.key=value`, as of `--set`.

    Raises:
        ConfigError: A file, table or key is not as it should be.
    """
    config = _read(path)
    for name, text in sorted(environ.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in ENVIRONMENT_RESERVED:
            key = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            config.assign(key, parse_value(text), f"environment {name}")
    if environ.get("TICKPULSE_RUN_DIR"):
        config.assign(("run", "directory"), environ["TICKPULSE_RUN_DIR"], "environment TICKPULSE_RUN_DIR")
    for assignment in assignments:
        key_text, equals, text = assignment.partition("=")
        key = tuple(key_text.strip().split("."))
        if not equals or not all(key):
            raise ConfigError(f"--set: expected table.key=value, was {assignment!r}")
        config.assign(key, parse_value(text), f"--set {key_text}")
    config.check_sections(entry.name for entry in entry_points(group="tickpulse.config"))
    return config


def parse_value(text: str) -> object:
    """Read a value as TOML reads it; what is no TOML value is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _read(path: Path | None) -> Config:
    if path is None:
        if not DEFAULT_PATH.is_file():
            return Config({}, "defaults")
        path = DEFAULT_PATH
    try:
        text = path.read_text(encoding="utf-8")
        # JSON is what programs write, such as the demo; people write TOML.
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"config file {path}: expected a readable TOML file, {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"config file {path}: expected TOML, {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"config file {path}: expected an object of tables, was {type(tree).__name__}")
    return Config(tree, str(path))


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(known)}"


def _field_names(value_type: Any) -> list[str]:
    return [field.name for field in msgspec.structs.fields(value_type)] if _is_struct(value_type) else []


def _type_at(value_type: Any, inner: tuple[str, ...]) -> Any:
    """The type that a path inside a type leads to."""
    for part in inner:
        hints = msgspec.structs.fields(value_type) if _is_struct(value_type) else ()
        found = [field.type for field in hints if field.name == part]
        value_type = found[0] if found else _item_type(value_type)
    return value_type


def _value_at(value: Any, inner: tuple[str, ...]) -> str:
    """The value that a path inside a tree leads to, as it would be typed; `[...]` stands for a name nobody told us."""
    for part in inner:
        if part == "[...]":
            return "another"
        value = value[int(part[1:-1])] if part.startswith("[") else value[part]
    return repr(value)


def _is_struct(value_type: Any) -> bool:
    return isinstance(value_type, type) and issubclass(value_type, msgspec.Struct)


def _item_type(value_type: Any) -> Any:
    arguments = [argument for argument in get_args(value_type) if argument is not Ellipsis]
    return arguments[-1] if arguments else None
