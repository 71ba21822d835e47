"""Which model to run and on what; and what an engine says of itself once it runs."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ttchat_tui.domain.sampling import SamplingParams

EngineKind: TypeAlias = Literal["cpu", "tt", "remote"]
Precision: TypeAlias = Literal["auto", "fp32", "f16", "bf16", "int8", "int4"]
Isolation: TypeAlias = Literal["process", "thread"]


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model that lies on this machine (or behind an endpoint), ready to be loaded."""

    engine: EngineKind = "cpu"
    name: str
    """What the user calls it: alias, hub id, or the name of the file or folder."""
    path: str = ""
    """A .gguf file, or a folder with config.json, tokenizer and safetensors."""
    precision: Precision = "auto"
    threads: Annotated[int, Meta(ge=0)] = 0
    """Threads for one forward; 0 lets the engine choose."""
    context_length: Annotated[int, Meta(ge=0)] = 0
    """Tokens of prompt and reply together; 0 is the model's own maximum."""
    recommended: SamplingParams | None = None
    """From the catalog; the model's own generation_config comes before it."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do. The UI greys out the rest and never asks which engine it talks to."""

    sampling: frozenset[str] = frozenset(SamplingParams.__struct_fields__)
    """Names of the `SamplingParams` fields it honours."""
    live_sampling: bool = True
    """Parameters may change while a reply streams."""
    logprobs: bool = False
    batch_sizes: tuple[int, ...] = (1,)
    """How many candidates one batch may hold."""
    kv_reuse: bool = False
    """A new turn prefills only what the KV cache does not hold yet."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded engine, as shown and as recorded with each reply."""

    model: str
    engine: EngineKind
    label: str
    """Short, for the status line and the record: `cpu f16`, `cpu transformers fp32`."""
    context_length: int
    vocab_size: int
    load_s: float
    """Seconds that `load` took, download not included."""
    threads: int = 0
    capabilities: Capabilities = Capabilities()
    recommended: SamplingParams | None = None
    """The model's generation_config (or the catalog's) as sampling parameters; None when it has none."""
    parameters: int = 0
    """Weights in the model, 0 when not known."""
    notes: tuple[str, ...] = ()
    """What a user should know of this load, a line each: a fallback taken, a template that was missing."""
