"""Constrained decoding: which tokens the constraint of a reply allows next, from llguidance.

The token after which nothing may follow ends the reply; until then the end of the turn is allowed only where the text has
the whole form. See https://github.com/guidance-ai/llguidance.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.thoughts import (
    LONGEST_TAG,
    OPENING,
    TAG,
    extract_answer,
    opens_thought,
    split_thoughts,
)
from ttchat_tui.engine.base import UnusableConstraint
from ttchat_tui.engine.decoding.constraint_faults import cleaned, refused

MISSING: Final = "Constrained replies need llguidance, which is not installed."
_UNKNOWN_BYTES: Final = (
    "The bytes of this model's tokens are not known, so its replies cannot be constrained."
)
_COMPILED: Final = 8
"""Constraints that stay compiled: those of the candidates of one prompt, and of the last few prompts."""


class ConstraintTokenizer(Protocol):
    """What a constraint needs of a tokenizer (`engine.text.tokenizer.ChatTokenizer`)."""

    @property
    def end_ids(self) -> Collection[int]: ...
    @property
    def control_ids(self) -> Collection[int]: ...
    @property
    def size(self) -> int: ...
    @property
    def has_bytes(self) -> bool: ...
    def piece_of(self, token_id: int) -> bytes: ...
    def encode_text(self, text: str) -> Sequence[int]: ...


class RowConstraint:
    """The constraint of one reply, which follows its tokens. It waits for the end of a thought that is open at the start."""

    def __init__(self, matcher: Any, end_ids: Collection[int], size: int, thought: str | None) -> None:
        """
        Args:
            matcher: an `LLMatcher` of its own.
            thought: the reply so far if it ends in an open thought; else None.
        """
        self._matcher = matcher
        self._thought = thought
        self._thought_before = thought
        """Before the latest token."""
        self._end_ids = np.array(sorted(end_ids), dtype=np.intp)
        self._bits = np.zeros((size + 31) // 32 * 4, dtype=np.uint8)
        """llguidance writes words of 32 bits."""

    def allowed(self, vocab_size: int) -> NDArray[np.bool_] | None:
        """Whether each token may come next, bool [vocab]; ends of the turn where the text has the whole form. None: all may.

        Raises:
            UnusableConstraint: llguidance gave up (the constraint is too complex here).
        """
        if self._thought is not None:
            return None
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error():
            raise UnusableConstraint(
                f"The constraint cannot be followed any further: {cleaned(self._matcher.get_error())}."
            )
        known = np.unpackbits(self._bits, bitorder="little").astype(np.bool_)
        allowed = np.zeros(vocab_size, dtype=np.bool_)
        count = min(vocab_size, len(known))
        allowed[:count] = known[:count]
        allowed[self._end_ids[self._end_ids < vocab_size]] = self._matcher.is_accepting()
        return allowed

    def allows(self, token_id: int) -> bool:
        """Whether this token may come next."""
        if self._thought is not None:
            return True
        if token_id in self._end_ids:
            return bool(self._matcher.is_accepting())
        return self._matcher.validate_tokens([token_id]) == 1

    def take_back(self) -> None:
        """The reply continues without its latest token. Once after each `take`."""
        if self._thought_before is None:
            self._matcher.rollback(1)
        self._thought = self._thought_before

    def take(self, token_id: int, text: str) -> None:
        """The reply continues with this token, which completes `text`.

        Raises:
            UnusableConstraint: the constraint does not allow it.
        """
        self._thought_before = self._thought
        if self._thought is not None:
            self._thought += text
            has_tag = TAG.search(self._thought, max(0, len(self._thought) - len(text) - LONGEST_TAG))
            if has_tag and not split_thoughts(self._thought, is_growing=True)[-1].is_open:
                self._thought = None
        elif self._matcher.try_consume_tokens([token_id]) != 1:
            raise UnusableConstraint(
                "The constraint does not allow this token.",
                cure="Choose another one, or answer without a constraint.",
            )

    @property
    def has_form(self) -> bool:
        """The text has the whole form. More may follow."""
        return self._thought is None and bool(self._matcher.is_accepting())

    @property
    def is_complete(self) -> bool:
        """The text has the whole form, and nothing may follow."""
        return bool(self._matcher.is_stopped()) and self.has_form


class ConstraintCompiler:
    """Compiles constraints for the vocabulary of one model, when they are first needed."""

    def __init__(self, tokenizer: ConstraintTokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: Any = None
        self._compile: Callable[[Constraint], Any] = lru_cache(_COMPILED)(self._compile_anew)

    @property
    def is_available(self) -> bool:
        """Whether `start` can work."""
        return not self.cure

    @property
    def cure(self) -> str:
        """`Capabilities.constraint_cure`."""
        if not self._tokenizer.has_bytes:
            return f"{_UNKNOWN_BYTES} Choose another model."
        if importlib.util.find_spec("llguidance") is None:
            return f"Run: {install_command('ttchat-tui[constrain]')} and start ttchat-tui again."
        return ""

    def start(
        self, constraint: Constraint, prompt: str, written: str, written_ids: Sequence[int]
    ) -> RowConstraint:
        """A constraint for one reply.

        Args:
            prompt: its end; it may open a thought.
            written: the text of the reply so far, which is continued.
            written_ids: its tokens, if they are known.

        Raises:
            UnusableConstraint: llguidance is missing or refuses the constraint, or what is written does not fit it.
        """
        matcher = self._compile(constraint).deep_copy()
        parts = split_thoughts(written, is_growing=True)
        thought = OPENING if opens_thought(prompt) else written if parts and parts[-1].is_open else None
        if any(part.is_thought for part in parts) or not written_ids:
            written_ids = self._tokenizer.encode_text(extract_answer(written) if thought is None else "")
        if matcher.try_consume_tokens(list(written_ids)) != len(written_ids):
            raise UnusableConstraint(
                "The reply that is to be continued does not fit the constraint.",
                cure="Answer again (/retry), or continue without the constraint (/constrain off).",
            )
        return RowConstraint(matcher, self._tokenizer.end_ids, self._tokenizer.size, thought)

    def _compile_anew(self, constraint: Constraint) -> Any:
        if not self._tokenizer.has_bytes:
            raise UnusableConstraint(_UNKNOWN_BYTES)
        try:
            llguidance: Any = importlib.import_module("llguidance")
        except ImportError as error:
            raise UnusableConstraint(MISSING, self.cure) from error
        if self._vocabulary is None:
            wrapped = llguidance.TokenizerWrapper(_Vocabulary(self._tokenizer))
            self._vocabulary = llguidance.LLTokenizer(wrapped, n_vocab=self._tokenizer.size)
        try:
            grammar = _grammar(llguidance.LLMatcher, constraint)
        except (ValueError, RecursionError) as error:
            raise refused(constraint, str(error)) from error
        matcher = llguidance.LLMatcher(self._vocabulary, grammar)
        tried = matcher.deep_copy()
        if not tried.is_error():
            tried.compute_bitmask()  # an error where no token may come first
        if tried.is_error():
            raise refused(constraint, tried.get_error())
        return matcher


def check_constraint(constraint: Constraint) -> None:
    """Check what needs no model: the syntax. Nothing is checked where llguidance is not installed.

    Raises:
        UnusableConstraint: llguidance refuses the constraint.
    """
    if importlib.util.find_spec("llguidance") is None:
        return
    matcher: Any = importlib.import_module("llguidance").LLMatcher
    try:
        reason = matcher.validate_grammar(_grammar(matcher, constraint))
    except (ValueError, RecursionError) as error:
        reason = str(error)
    if reason:
        raise refused(constraint, reason)


_JSON_DEFAULTS: Final = {"whitespace_pattern": r" ?|\n {0,32}"}
"""Spaces in JSON: any number of them, which JSON allows, is where small models get lost."""

_AS_OBJECT: Final = {True: "{}", False: '{"not": {}}'}
"""Boolean schemas as JSON Schema defines them (draft 2020-12, 4.3.2). llguidance takes defaults with objects only."""

_MOST_EXACT: Final = 2**53


def _read_exactly(schema: str) -> object:
    """The schema. llguidance reads numbers as float64, which would round larger whole ones.

    Raises:
        ValueError: a whole number is beyond 2^53, or the schema is no JSON.
        RecursionError: it is nested too deeply.
    """

    def exact(digits: str) -> int:
        if abs(int(digits)) > _MOST_EXACT:
            raise ValueError(f"the whole number {digits} is beyond 2^53 and would be rounded")
        return int(digits)

    return json.loads(schema, parse_int=exact)


def _grammar(matcher: Any, constraint: Constraint) -> str:
    match constraint.kind:
        case "json-schema":
            schema = _read_exactly(constraint.text)
            text = _AS_OBJECT[schema] if isinstance(schema, bool) else constraint.text
            return matcher.grammar_from_json_schema(text, defaults=_JSON_DEFAULTS)
        case "choices":
            return matcher.grammar_from_regex("|".join(map(re.escape, constraint.choices)))
        case "regex":
            backslashes = len(constraint.text) - len(constraint.text.rstrip("\\"))
            if backslashes % 2:  # it would escape the end, which llguidance adds
                raise ValueError("the backslash at its end escapes nothing")
            return matcher.grammar_from_regex(constraint.text)
        case "grammar":
            return matcher.grammar_from_lark(constraint.text)


class _Vocabulary:
    """A tokenizer as `llguidance.TokenizerWrapper` wants it."""

    def __init__(self, tokenizer: ConstraintTokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = min(tokenizer.end_ids)
        self.bos_token_id = None
        self.tokens = [tokenizer.piece_of(token_id) for token_id in range(tokenizer.size)]
        self.special_token_ids = sorted(tokenizer.control_ids)

    def __call__(self, text: str) -> list[int]:
        return list(self._tokenizer.encode_text(text))
