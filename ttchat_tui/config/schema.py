"""Every setting with its type, range and default: what config.toml may say. `config.example.toml` shows them all."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ttchat_tui.domain.model_spec import (
    Isolation,
    Precision,
    PrefillCopy,
    RemoteOptions,
    Speculation,
    TenstorrentOptions,
)
from ttchat_tui.domain.sampling import SamplingParams, checked

EngineChoice: TypeAlias = Literal["auto", "cpu", "tt", "remote"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Key: TypeAlias = Annotated[str, Meta(min_length=1)]
"""A key as Textual names it: `ctrl+j`, `f1`, `escape`."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model runs, and on what."""

    name: str = ""
    """Alias, hub id, folder or .gguf file; empty: the one last used, at first the default of the catalog."""
    engine: EngineChoice = "auto"
    """`auto` takes the best that this machine has."""
    precision: Precision = "auto"
    """What the CPU engine holds weights in; `auto`: the file's own 4 bits where it has them, else float16."""
    prefill_copy: PrefillCopy = "auto"
    """With 4-bit and 8-bit weights, a bfloat16 copy that computes prompts faster; `auto`: where memory is plenty."""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    """CPU threads for one forward; 0 lets the engine choose."""
    context_length: Annotated[int, Meta(ge=0)] = 0
    """Tokens of prompt and reply together; 0 is the model's own maximum."""
    isolation: Isolation = "process"
    """`process`: the engine runs in a child process, whose crash the app survives. `thread`: within the app."""


class SamplingDefaults(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Sampling for new conversations. What is not given is the model's own recommendation.

    Names and ranges are those of `SamplingParams`; the ranges are checked where the file is read.
    """

    temperature: float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    min_p: float | UnsetType = UNSET
    repetition_penalty: float | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    stop: tuple[str, ...] | UnsetType = UNSET

    def over(self, recommended: SamplingParams) -> SamplingParams:
        """`recommended` with everything replaced that is given here.

        Raises:
            msgspec.ValidationError: for a value out of its range; never after `load_config`, which checked it.
        """
        given: dict[str, Any] = {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET
        }
        return checked(msgspec.structs.replace(recommended, **given))


class UiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the screen looks and listens."""

    theme: str = ""
    """A theme's name; empty: the one last picked, at first the app's own. A theme named here wins over the picker."""
    submit_keys: Annotated[tuple[Key, ...], Meta(min_length=1)] = ("enter",)
    """Keys that send the message."""
    newline_keys: Annotated[tuple[Key, ...], Meta(min_length=1)] = ("ctrl+j", "shift+enter", "alt+enter")
    """Keys that begin a new line in the message. Not every terminal can tell shift+enter from enter."""
    show_conversations: bool = True
    """The left sidebar, where the terminal is wide enough and the user has not toggled it."""
    show_controls: bool = True
    """The right sidebar (sampling and metrics), likewise."""
    full_width: bool = False
    """Lines of text as long as there is room, instead of at most 100 columns."""
    reduced_motion: bool = False
    """No blinking, no smooth scrolling."""
    notify: Literal["never", "unfocused", "always"] = "unfocused"
    """When the terminal bell tells that a long load or reply has ended."""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept."""

    autosave: bool = True
    """Keep conversations in the database; false keeps them in memory until the app ends."""
    exports_dir: str = ""
    """Where saved transcripts go; empty: `exports` in the data folder (`ttchat-tui paths`)."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an engine may be silent before it counts as dead, in seconds; and how it decodes."""

    hang_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """Without a sign of life from the engine's process while it works."""
    load_hang_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """The same while it loads: large reads and imports hold everything up."""
    step_timeout_s: Annotated[float, Meta(ge=0)] = 60.0
    """For prefill and the first decode steps; once the pace is known, 30 times the longest step, at least 8 s, is
    enough. 0 waits for ever."""
    kernel: Literal["auto", "off"] = "auto"
    """CPU engine: `auto` compiles a decode kernel for this machine, once, where there is a C compiler; 4-bit weights run
    about twice as fast with it. `off`: torch's own kernels only."""
    speculation: Speculation = "auto"
    """CPU engine: `auto` drafts text that repeats earlier text, several tokens to a forward; the reply is the same."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to the log file (`ttchat-tui paths`)."""

    level: LogLevel = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Made by `load_config` only, and passed on from there: there is no global one."""

    system_prompt: str = ""
    """The system prompt of new conversations."""
    model: ModelSettings = ModelSettings()
    sampling: SamplingDefaults = SamplingDefaults()
    ui: UiSettings = UiSettings()
    keys: dict[str, str] = {}
    """Action → its keys, divided by commas: `stop = "escape,ctrl+x"`. The screen's table knows the actions."""
    storage: StorageSettings = StorageSettings()
    engine: EngineSettings = EngineSettings()
    tt: TenstorrentOptions = TenstorrentOptions()
    remote: RemoteOptions = RemoteOptions()
    log: LogSettings = LogSettings()
