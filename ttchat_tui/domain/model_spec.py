"""The specification of a load (model, engine and its options), and what an engine reports once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta

from ttchat_tui.domain.constraint import ConstraintKind
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.sampling import TEMPLATE_FIELDS, SamplingParams, Thinking
from ttchat_tui.domain.value_words import near_name

EngineKind: TypeAlias = str
"""The name of an engine: a key of `engine.factory.ENGINES`. Settings, flags and model names are checked against it."""
ModelSource: TypeAlias = Literal["files", "folders", "names"]
"""What an engine loads. `files`: a .gguf file or a model folder on this machine. `folders`: only a folder. `names`: a name
that only the engine can look up, as a server does."""
Options = TypeVar("Options", bound=msgspec.Struct)
Precision: TypeAlias = Literal["auto", "fp32", "f16", "bf16", "int8", "int4"]
Isolation: TypeAlias = Literal["process", "thread"]
Speculation: TypeAlias = Literal["auto", "off"]
PrefillCopy: TypeAlias = Literal["auto", "on", "off"]
KVCacheType: TypeAlias = Literal["f16", "q8"]


class CpuOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the CPU engine; the `[cpu]` section of config.toml."""

    precision: Precision = "auto"
    """Format of the weights in memory. `auto`: the file's own 4 bits where it has them, else float16."""
    prefill_copy: PrefillCopy = "auto"
    """With 4-bit and 8-bit weights, a bfloat16 copy that makes prefill faster. `auto`: where memory is plenty."""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    """Threads of one forward; 0: the engine measures and chooses."""
    kernel: Literal["auto", "on", "off"] = "auto"
    """`auto` compiles a decode kernel for this machine, once, where there is a C compiler; quantised weights run about twice
    as fast with it. `on`: on ARM too, where its speed was never measured. `off`: torch's own kernels only."""
    kv_cache: KVCacheType = "f16"
    """Keys and values of the conversation in memory, with the compiled kernel. `f16`: float16, as exact as float32 in practice.
    `q8`: 8 bits, half the memory, and somewhat faster far into a conversation."""
    speculation: Speculation = "auto"
    """`auto` drafts text that repeats earlier text, several tokens to a forward, where that is faster. The reply is the
    same."""


class TenstorrentOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the Tenstorrent engine; the `[tt]` section of config.toml."""

    home: str = ""
    """A tt-metal checkout; empty: TT_METAL_HOME, TT_METAL_RUNTIME_ROOT, ~/tt-metal, the current folder."""
    api: Literal["auto", "generator", "package"] = "auto"
    """`generator`: models.tt_transformers of a checkout. `package`: the standalone tt_transformers."""
    mesh_device: str = ""
    """N150, N300, T3K, P150x4 … or rows x columns (`1x2`); empty: MESH_DEVICE, else the chips of the only card, one
    chip of several cards, or a whole Galaxy."""
    optimizations: Literal["performance", "accuracy"] = "performance"
    """Which of tt_transformers' precision tables is used."""
    max_batch_size: Literal[1, 2, 4, 8, 16, 32] = 1
    """Rows decoded at once, and so the most candidates of a message. Fixed at load; the rows share the KV cache."""
    sampling: Literal["host", "device"] = "host"
    """Where tokens are sampled. `device`: on the card, where the API generation and the vocabulary allow it. No logits
    cross the bus then, but top-k is at most 32, without min-p and probabilities. The host still samples the first token
    of a reply."""
    kv_reuse: bool = False
    """Prefill only what the KV cache does not hold yet, where the API generation supports it and passes a check at load.
    Experimental upstream."""
    trace: bool = True
    """Record the decode step once and replay it: several times as fast."""
    prefill_trace: bool = False
    """Record the prefill of short prompts too, where tt-metal does that for the model and card. Their first token comes some
    tens of milliseconds sooner; each load takes longer, and upstream has had reports of wrong text. Needs `trace` and the
    host's sampling."""
    trace_region_bytes: Annotated[int, Meta(ge=0)] = 0
    """Memory on the card for traces; 0: what upstream measured for this model and card."""
    cache_dir: str = ""
    """Converted weights; empty: TT_CACHE_PATH, else `tenstorrent` in the models folder's cache."""
    operation_timeout_s: Annotated[int, Meta(ge=0)] = 60
    """Seconds without an answer after which the card counts as hung; 0: no limit."""
    ignore_holders: bool = False
    """Open a card even if another process has it open, in case that one only monitors it."""


class RemoteEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named server with an OpenAI-compatible API; a section `[remote.endpoints.NAME]` of config.toml."""

    base_url: str = ""
    """Including `/v1`: `http://127.0.0.1:8000/v1`."""
    api_key_env: str = ""
    """The environment variable that holds the key, never the key itself; empty: no key is sent."""
    model: str = ""
    """The model to load when none is named; empty: the first that the server lists."""
    key_over_plain_http: bool = False
    """Send the key over http to another machine, where anyone on the network path can read it."""
    user_env: str = ""
    """The environment variable that holds USER:PASSWORD for Basic authentication."""
    headers: dict[str, str] = {}
    """Sent with every request. Not for secrets."""
    header_env: dict[str, str] = {}
    """Header → the environment variable that holds its value."""
    extra_body: dict[str, Any] = {}
    """Fields of every request for a reply, in place of the app's own: `reasoning_effort`, `chat_template_kwargs`."""


class RemoteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the remote engine; the `[remote]` section of config.toml."""

    base_url: str = ""
    """The server, where `endpoint` is empty. If both are empty: OPENAI_BASE_URL, else the usual ports of this machine are
    probed."""
    endpoint: str = ""
    """A name in `endpoints`."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key for `base_url`, never the key itself."""
    key_over_plain_http: bool = False
    """Send that key over http to another machine, where anyone on the network path can read it."""
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    """Name look-up, connection and TLS together."""
    first_token_timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    """Silence before the first chunk of the reply, including the wait in the server's queue and prefill. Any sign of life
    (a comment, progress) restarts it."""
    token_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """Silence between two chunks of a reply; any sign of life restarts it."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 3
    """How often a request is sent again before its first token, if it was certainly not served: no connection, 429, 502 to
    504, 529."""
    logprobs: bool = False
    """Request each token's probability where the server offers it; costs the server a few percent of its speed."""
    endpoints: dict[str, RemoteEndpoint] = {}
    """By name."""


TemplateValue: TypeAlias = bool | int | float | str
"""A value that a user gives to a chat template."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One load: a model, the engine that runs it, and that engine's settings."""

    engine: EngineKind = "cpu"
    name: str
    """What the user calls it: alias, hub id, or the name of the file or folder."""
    path: str = ""
    """A .gguf file, or a folder with config.json, tokenizer and safetensors; empty for a model known by name only."""
    context_length: Annotated[int, Meta(ge=0)] = 0
    """Tokens of prompt and reply together; 0 is the model's own maximum."""
    options: Any = None
    """The engine's section of config.toml, as its options struct, or as a mapping when it comes from another process; None
    for the defaults. Read it with `options_as`."""
    kernel_dir: str = ""
    """Where the CPU engine keeps the decode kernel that it compiles for this machine; empty: it compiles none."""
    recommended: SamplingParams | None = None
    """From the catalog; the model's own generation_config overrides it."""
    template_options: Mapping[str, TemplateValue] = {}
    """Variables of the model's chat template (`[model] template_options`). What the user chooses on screen comes before them."""
    repo: str = ""
    """The model's hub id, where it is known: tt_transformers looks up its settings by the name in it."""
    tokenizers: Mapping[str, str] = {}
    """Model id in lower case → a folder with tokenizer.json or a .gguf file of this machine: the remote engine counts
    prompts with it where the server does not."""

    def options_as(self, kind: type[Options]) -> Options:
        """`options` as an instance of `kind`, the struct that the engine declares.

        Raises:
            msgspec.ValidationError: they are of another engine.
        """
        if isinstance(self.options, kind):
            return self.options
        return msgspec.convert(self.options or {}, decodable(kind))


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do. The UI greys out the rest and never asks which engine it talks to."""

    sampling: frozenset[str] = frozenset(SamplingParams.__struct_fields__) - TEMPLATE_FIELDS - {"constraint"}
    """Names of the `SamplingParams` fields it honours, `TEMPLATE_FIELDS` aside. Without `constraint` it refuses a request
    that has one."""
    constraints: frozenset[ConstraintKind] = frozenset(get_args(ConstraintKind))
    """The kinds of constraints that it takes, if `sampling` has `constraint`."""
    constraint_cure: str = "In-process engines can."
    """What to do if `sampling` has no `constraint`: sentences."""
    thinking: tuple[Thinking, ...] = ()
    """What `SamplingParams.thinking` may be besides `auto`; empty if the chat template understands none."""
    pause: bool = True
    """A reply can be paused, and make single steps."""
    forcing: bool = True
    """The user can choose tokens of a running reply, and end its thought."""
    logprobs: bool = False
    batch_sizes: tuple[int, ...] = (1,)
    """How many candidates one batch may hold."""
    follows: bool = False
    """It follows a given text or the ids of a reply, and gives the distribution of each token (`Given`)."""
    continues: bool = True
    """An unfinished reply continues at the exact token where it ended; False: the model is asked in words for the rest."""
    kv_reuse: bool = False
    """A turn prefills only what the KV cache does not hold yet."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded engine, as shown and as recorded with each reply."""

    model: str
    engine: EngineKind
    label: str
    """Short, for the status line and the record: `cpu f16`, `cpu transformers fp32`."""
    context_length: int
    """Tokens of prompt and reply together; 0: the server does not report it."""
    vocab_size: int
    """0: the server does not report it."""
    load_s: float
    """Seconds from the request to the loaded model, including the start of the engine's process and its imports, without
    a download."""
    threads: int = 0
    capabilities: Capabilities = Capabilities()
    recommended: SamplingParams | None = None
    """The model's generation_config (or the catalog's) as sampling parameters; None when it has none."""
    parameters: int = 0
    """Number of weights; 0: unknown."""
    is_speculating: bool = False
    """Tokens are drafted from earlier text and run several to a forward, where that is faster."""
    endpoint: str = ""
    """Remote engine: the endpoint's name, else host and port; empty for other engines."""
    served: tuple[str, ...] = ()
    """Remote engine: the names of all models of this endpoint, as a load takes them (`remote:lab/llama-3`)."""
    elsewhere: tuple[str, ...] = ()
    """Remote engine: other servers on this machine, by name (`remote:127.0.0.1:8080/` loads one)."""
    end_ids: frozenset[int] = frozenset()
    """Ids that end a reply; empty: the server does not report them."""
    notes: tuple[str, ...] = ()
    """What a user should know about this load, a line each: a fallback, a missing template."""

    def why_not_thinking(self, what: str) -> str:
        """Why `what`, a choice about thinking, has no effect: a sentence."""
        if self.endpoint:  # the server has the template
            return f"{what} has no effect: the server of {self.model} does not report how it is set."
        return f"{what} has no effect: the chat template of {self.model} does not understand it."

    def served_like(self, name: str) -> str:
        """The served model that `name` probably means, as a load takes it; empty: none."""
        names = {each.removeprefix("remote:").removeprefix(f"{self.endpoint}/"): each for each in self.served}
        return names.get(near_name(name, names), "")
