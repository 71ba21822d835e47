"""Errors that a person reads: what happened, what to do about it, and a fixed word for programs."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.text import as_sentence

ErrorKind: TypeAlias = Literal[
    # Anywhere
    "busy", "config", "disk_full", "internal", "note", "not_found", "nothing_to_do", "system", "usage",
    # Any engine
    "batch_too_large", "cannot_follow", "chat_template", "constraint", "engine_died", "engine_error", "load_cancelled",
    "logit_bias",
    "missing_dependency",
    "model_load", "no_usable_logits", "not_ready", "out_of_memory", "prompt_too_long",
    # Tenstorrent cards and tt-metal
    "adapter", "card_in_use", "context_length", "device_close", "device_hung", "device_sampling", "device_state",
    "driver_version", "environment", "fabric", "firmware_version", "hugepages", "kernel_build", "l1_memory",
    "model_unsupported", "native", "no_card", "not_writable", "reload_needed", "trace_coverage", "trace_lost",
    "trace_region", "trace_unsafe", "transformers_version", "unknown_generation",
    # OpenAI-compatible servers
    "connection_lost", "content_filter", "endpoint_auth", "endpoint_config", "endpoint_dns", "endpoint_error",
    "endpoint_key", "endpoint_loading", "endpoint_not_found", "endpoint_protocol", "endpoint_proxy",
    "endpoint_redirect", "endpoint_refused", "endpoint_timeout", "endpoint_tls", "endpoint_unimplemented",
    "endpoint_unreachable", "endpoint_url", "key_over_plain_http", "no_endpoint", "quota_used_up", "rate_limited",
    "request_refused",
    # Model files
    "download_failed", "model_broken", "model_gated", "model_missing", "model_not_ours", "model_unknown", "offline",
    # Stored conversations
    "database_corrupt", "database_gone", "database_locked", "database_newer", "database_read_only",
    "database_replaced", "database_unopenable", "database_written_anew", "export_failed", "invalid_settings",
    "migration_failed", "not_a_file", "not_a_leaf", "permission_denied", "reply_busy", "storage_failed",
    # The command line
    "cannot_listen", "extra_missing", "no_space", "nothing_to_continue", "open_to_all",
]  # fmt: skip
"""Every kind of error that exists. Others cannot be sent from the engine's process: add a kind here to use it. `note` only
informs."""


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is shown, and sent between processes."""

    kind: ErrorKind
    message: str
    """One sentence, without a traceback. It may end with foreign text: `lab wants a key (401): bad key`."""
    cure: str = ""
    """What to do or to run; empty where there is no advice to give."""

    @property
    def sentence(self) -> str:
        """The message, for text that another sentence follows."""
        return as_sentence(self.message)

    @property
    def line(self) -> str:
        """Message and cure in one line."""
        return " ".join(filter(None, (self.sentence, self.cure)))

    @property
    def lines(self) -> str:
        """The message, and the cure in a line below."""
        return "\n".join(filter(None, (self.sentence, self.cure)))


REFUSALS: Final[frozenset[ErrorKind]] = frozenset(
    {
        "batch_too_large", "chat_template", "constraint", "logit_bias", "prompt_too_long", "request_refused", "usage",
    }
)  # fmt: skip
"""Kinds of errors about the request itself: it ends the same way however often it is sent unchanged."""

LOAD_AGAIN: Final = "Load the model again."
"""The general cure after an engine's death. The screen names its commands instead."""


class AppError(Exception):
    """Base of every error with a message and a cure. `str()` is the message; `info` has all three parts."""

    kind: ClassVar[ErrorKind] = "internal"
    """The kind of errors of this class, where the constructor gets no other."""

    def __init__(self, message: str, cure: str = "", kind: ErrorKind | None = None) -> None:
        super().__init__(message)
        self.info = ErrorInfo(kind=kind or self.kind, message=message, cure=cure)
