"""Every setting with its type, range and default: the content of config.toml. `config.example.toml` shows all of them."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta

from ttchat_tui.domain.model_spec import (
    CpuOptions,
    EngineKind,
    Isolation,
    RemoteOptions,
    TemplateValue,
    TenstorrentOptions,
)
from ttchat_tui.domain.recording import RecordLevel
from ttchat_tui.domain.sampling import SamplingDefaults
from ttchat_tui.engine.factory import ENGINES

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
EditingStyle: TypeAlias = Literal["default", "emacs", "vi"]
Key: TypeAlias = Annotated[str, Meta(min_length=1)]
"""A key as Textual names it: `ctrl+j`, `f1`, `escape`."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model runs, and on which engine."""

    name: str = ""
    """Alias, hub id (org/name, org/name:Q4_K_M), folder or .gguf file; empty: the model last used, at first the catalog's default."""
    engine: EngineKind = "auto"
    """`auto` takes the best that this machine has; else one of `engine_choices`."""
    context_length: Annotated[int, Meta(ge=0)] = 0
    """Tokens of prompt and reply together; 0 is the model's own maximum."""
    template_options: dict[str, TemplateValue] = {}
    """Variables that the model's chat template reads, by their names in it: `reasoning_effort`, `enable_thinking`. A served
    model's are in `extra_body` of its endpoint."""
    isolation: Isolation = "process"
    """`process`: the engine runs in a child process, and its crash does not end the app. `thread`: inside the app."""


NoticeWay: TypeAlias = Literal["auto", "bell", "osc9", "osc777", "osc99"]


class UiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The look of the screen, and its keys."""

    theme: str = ""
    """Name of a theme; empty: the one last picked on screen, at first the app's own. A theme named here overrides the picker."""
    submit_keys: Annotated[tuple[Key, ...], Meta(min_length=1)] = ("enter",)
    """Keys that send the message."""
    newline_keys: Annotated[tuple[Key, ...], Meta(min_length=1)] = ("ctrl+j", "shift+enter", "alt+enter")
    """Keys that begin a new line in the message. Not every terminal can tell shift+enter from enter."""
    editing: EditingStyle = "default"
    """The keys that edit the message. Where one of them is an action's, the action gets another key (`ui/editing_keys.py`)."""
    show_conversations: bool = True
    """The left sidebar, where the terminal is wide enough, until it is toggled on screen."""
    show_controls: bool = True
    """The right sidebar (sampling and metrics), likewise."""
    full_width: bool = False
    """Use the whole width for text, instead of at most 100 columns."""
    thoughts: Literal["fold", "open", "hide"] = "fold"
    """How a model's thoughts are shown: `fold` a line each, `open` with their text, `hide` not at all once they have ended."""
    reduced_motion: bool = False
    """No blinking, no smooth scrolling."""
    auto_title: bool = False
    """Let the model write the title of a new conversation after its first reply, in a short request of its own."""
    notify: Literal["never", "unfocused", "always"] = "unfocused"
    """When the terminal reports the end of a load or a reply."""
    notify_with: NoticeWay = "auto"
    """How: `auto` is a notification where the terminal is known to show them, else the bell."""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is stored, and where."""

    autosave: bool = True
    """Keep conversations in the database; false keeps them in memory until the app ends."""
    exports_dir: str = ""
    """Where saved transcripts go; empty: `exports` in the data folder (`ttchat-tui paths`)."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is recorded of each reply, and how long an engine may be silent before it counts as hung, in seconds."""

    record: RecordLevel = "full"
    """Stored with each reply for every token: `full` its probability and the 20 most probable alternatives, about 80 bytes;
    `chosen` its probability, rank and entropy; `off` nothing."""
    hang_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """Without a sign of life from the engine's process while it works."""
    load_hang_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """The same while it loads: large reads and imports block everything else."""
    step_timeout_s: Annotated[float, Meta(ge=0)] = 60.0
    """For prefill and the first decode steps. Later steps may take 30 times the longest one so far (at least 8 s). 0: no
    limit."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to the log file (`ttchat-tui paths`)."""

    level: LogLevel = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. `load_config` makes them, and they are passed on from there: there is no global instance."""

    system_prompt: str = ""
    """The system prompt of new conversations."""
    model: ModelSettings = ModelSettings()
    sampling: SamplingDefaults = SamplingDefaults()
    ui: UiSettings = UiSettings()
    keys: dict[str, str] = {}
    """Action → its keys, separated by commas: `stop = "escape,ctrl+x"`. The UI checks the actions' names."""
    storage: StorageSettings = StorageSettings()
    engine: EngineSettings = EngineSettings()
    cpu: CpuOptions = CpuOptions()
    tt: TenstorrentOptions = TenstorrentOptions()
    remote: RemoteOptions = RemoteOptions()
    log: LogSettings = LogSettings()

    def without_kind(self, model: str) -> str:
        """A model's name without the engine that it may begin with: `smollm2` of `cpu:smollm2`."""
        kind, _, rest = model.partition(":")
        return rest if kind in ENGINES else model

    def options_of(self, kind: EngineKind) -> Any:
        """The section of one engine: an instance of the options struct that the engine declares."""
        return getattr(self, kind)


def engine_choices() -> list[str]:
    """What `[model] engine` may be."""
    return ["auto", *ENGINES]


def config_type() -> type[Config]:
    """`Config` with a section for each engine that is declared, so that an engine adds its own settings."""
    more = tuple(
        (kind, engine.options) for kind, engine in ENGINES.items() if kind not in Config.__struct_fields__
    )
    return _extended(more) if more else Config


@functools.cache
def _extended(sections: tuple[tuple[str, type[msgspec.Struct]], ...]) -> type[Config]:
    extended = msgspec.defstruct(
        "Config",
        [(kind, options, options()) for kind, options in sections],
        bases=(Config,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return cast("type[Config]", extended)
