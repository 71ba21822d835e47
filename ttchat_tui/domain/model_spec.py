"""Which model to run and on what; and what an engine says of itself once it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ttchat_tui.domain.sampling import SamplingParams

EngineKind: TypeAlias = Literal["cpu", "tt", "remote"]
Precision: TypeAlias = Literal["auto", "fp32", "f16", "bf16", "int8", "int4"]
Isolation: TypeAlias = Literal["process", "thread"]
Speculation: TypeAlias = Literal["auto", "off"]
PrefillCopy: TypeAlias = Literal["auto", "on", "off"]


class TenstorrentOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only the Tenstorrent engine wants to know; also the `[tt]` section of config.toml."""

    home: str = ""
    """A tt-metal checkout; empty: TT_METAL_HOME, TT_METAL_RUNTIME_ROOT, ~/tt-metal, the current folder."""
    api: Literal["auto", "generator", "package"] = "auto"
    """`generator`: models.tt_transformers of a checkout. `package`: the standalone tt_transformers."""
    mesh_device: str = ""
    """N150, N300, T3K, P150 … or rows x columns (`1x2`); empty: MESH_DEVICE, else all chips in one row."""
    optimizations: Literal["performance", "accuracy"] = "performance"
    """Which of tt_transformers' precision tables is used."""
    max_batch_size: Literal[1, 2, 4, 8, 16, 32] = 1
    """Rows that are decoded at once: as many candidates can be had. Fixed at load; the KV cache is divided by it."""
    sampling: Literal["host", "device"] = "host"
    """Who draws the tokens. `device`: the card, where the generation and the vocabulary allow it: no logits cross the
    bus, top-k is at most 32, no min-p, no probabilities; the first token of a reply is the host's still."""
    kv_reuse: bool = False
    """A new turn prefills only what the KV cache does not hold; where the generation does it right, and it passes a
    check at load. Experimental upstream."""
    trace: bool = True
    """Record the decode step once and replay it: several times as fast."""
    trace_region_bytes: Annotated[int, Meta(ge=0)] = 0
    """Memory on the card for traces; 0 takes what upstream measured for this model and card."""
    cache_dir: str = ""
    """Converted weights; empty: TT_CACHE_PATH, else `tenstorrent` in the models folder's cache."""
    operation_timeout_s: Annotated[int, Meta(ge=0)] = 60
    """After so long without an answer the card counts as hung. 0 waits for ever."""
    ignore_holders: bool = False
    """Open a card although another process has it open: for one that only watches it."""


class RemoteEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server with an OpenAI-compatible API that has a name; a section `[remote.endpoints.NAME]` of config.toml."""

    base_url: str = ""
    """Up to and with `/v1`: `http://127.0.0.1:8000/v1`."""
    api_key_env: str = ""
    """The environment variable that holds the key, never the key itself; empty: none is sent."""
    model: str = ""
    """What is asked for when no model is named; empty: the first that the server lists."""
    key_over_plain_http: bool = False
    """Send the key over http to an address that is not this machine: whoever is on the way can read it."""
    user_env: str = ""
    """The environment variable that holds USER:PASSWORD for Basic authentication."""
    headers: dict[str, str] = {}
    """Sent with every request; none that is a secret."""
    header_env: dict[str, str] = {}
    """Header → the environment variable that holds its value."""
    extra_body: dict[str, Any] = {}
    """Fields of every request for a reply, in place of the app's own: `reasoning_effort`, `chat_template_kwargs`."""


class RemoteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only the remote engine wants to know; also the `[remote]` section of config.toml."""

    base_url: str = ""
    """The server, where `endpoint` names none; empty: OPENAI_BASE_URL, else the usual ports of this machine are
    looked at."""
    endpoint: str = ""
    """A name in `endpoints`."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key for `base_url`, never the key itself."""
    key_over_plain_http: bool = False
    """Send that key over http to an address that is not this machine: whoever is on the way can read it."""
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """Name look-up, connection and TLS together."""
    first_token_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    """Silence before the first piece of the reply: waiting in the server's queue and prefill are in it. Any sign of life
    (a comment, progress) begins it anew."""
    token_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """Silence between two pieces of a reply; any sign of life begins it anew."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 3
    """Times that a request is sent again before its first token, where it was surely not served: no connection,
    429, 502 to 504, 529."""
    logprobs: bool = False
    """Ask for each token's probability where the server gives it; costs the server some percent of its speed."""
    endpoints: dict[str, RemoteEndpoint] = {}
    """By name."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model that lies on this machine (or behind an endpoint), ready to be loaded."""

    engine: EngineKind = "cpu"
    name: str
    """What the user calls it: alias, hub id, or the name of the file or folder."""
    path: str = ""
    """A .gguf file, or a folder with config.json, tokenizer and safetensors."""
    precision: Precision = "auto"
    prefill_copy: PrefillCopy = "auto"
    """With 4-bit and 8-bit weights, a bfloat16 copy that computes prompts faster; `auto`: where memory is plenty."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """Threads for one forward; 0 lets the engine choose."""
    context_length: Annotated[int, Meta(ge=0)] = 0
    """Tokens of prompt and reply together; 0 is the model's own maximum."""
    speculation: Speculation = "auto"
    """`auto`: text that repeats earlier text is drafted from it, where the engine can and it pays; the text is the same."""
    kernel_dir: str = ""
    """Where the CPU engine keeps the decode kernel that it compiles for this machine; empty: it compiles none."""
    recommended: SamplingParams | None = None
    """From the catalog; the model's own generation_config comes before it."""
    repo: str = ""
    """The hub's id of the model where it is known: tt_transformers looks its settings up by the name in it."""
    tenstorrent: TenstorrentOptions = TenstorrentOptions()
    remote: RemoteOptions = RemoteOptions()
    tokenizers: Mapping[str, str] = {}
    """Remote engine: model id in lower case → a folder with tokenizer.json or a .gguf file of this machine, to count
    prompts with where the server does not."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do. The UI greys out the rest and never asks which engine it talks to."""

    sampling: frozenset[str] = frozenset(SamplingParams.__struct_fields__)
    """Names of the `SamplingParams` fields it honours."""
    live_sampling: bool = True
    """Parameters may change while a reply streams."""
    logprobs: bool = False
    batch_sizes: tuple[int, ...] = (1,)
    """How many candidates one batch may hold."""
    continues: bool = True
    """An unfinished reply goes on at the very token where it ended; False: the model is asked in words for the rest."""
    kv_reuse: bool = False
    """A new turn prefills only what the KV cache does not hold yet."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded engine, as shown and as recorded with each reply."""

    model: str
    engine: EngineKind
    label: str
    """Short, for the status line and the record: `cpu f16`, `cpu transformers fp32`."""
    context_length: int
    """Tokens of prompt and reply together; 0: a server that does not tell."""
    vocab_size: int
    """0: a server that does not tell."""
    load_s: float
    """Seconds from asking for the load until it was there: the start of the engine's process and its imports included,
    a download not."""
    threads: int = 0
    capabilities: Capabilities = Capabilities()
    recommended: SamplingParams | None = None
    """The model's generation_config (or the catalog's) as sampling parameters; None when it has none."""
    parameters: int = 0
    """Weights in the model, 0 when not known."""
    is_speculating: bool = False
    """Ids are drafted from earlier text and run several to a forward, where that pays."""
    endpoint: str = ""
    """Remote engine: the endpoint's name, else host and port; empty where the model runs on this machine's engine."""
    served: tuple[str, ...] = ()
    """Remote engine: the names of all models of this endpoint, as a load takes them (`remote:lab/llama-3`)."""
    elsewhere: tuple[str, ...] = ()
    """Remote engine: other servers that were found on this machine, by name (`remote:127.0.0.1:8080/` loads one)."""
    notes: tuple[str, ...] = ()
    """What a user should know of this load, a line each: a fallback taken, a template that was missing."""
