"""How far another engine agrees with the tokens of a reply: it follows them (teacher forcing), and its distribution of each
is compared with the recorded one.

Two engines rarely write the same long text: a difference in rounding picks another word somewhere, and the texts part. The
share of tokens that agree, each after the same tokens, tells a working engine from a broken one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.recording import STEPS_PER_NAT, RecordedToken, alternatives_of

_NOISE: Final = 0.5 / STEPS_PER_NAT
"""The least share of all other tokens together: below it, the steps of the recorded ones decide."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Results of `agreement_of`. Numbers of tokens begin with 1."""

    label: str
    """The engine that followed."""
    compared: int
    """Tokens of which both say what they find most probable."""
    agreed: int
    """Those where that is the same token."""
    first_difference: int | None
    """Number of the first token where it is not."""
    mean_kl: float | None = None
    """Mean over `kl_tokens` of the Kullback-Leibler divergence of the other engine from the recorded one, in nats: at least
    this much, see `kl_between`. None: one of them gives no distributions."""
    max_kl: float | None = None
    max_kl_at: int | None = None
    """Number of the token with the largest one."""
    kl_tokens: int = 0


def agreement_of(label: str, tokens: Sequence[RecordedToken], followed: Sequence[RecordedToken]) -> Agreement:
    """Compare the same tokens in two recordings: `tokens` as they were written, and as the engine `label` followed them."""
    pairs = list(enumerate(zip(tokens, followed, strict=False), start=1))
    same = [(number, is_same) for number, pair in pairs if (is_same := is_agreed(*pair)) is not None]
    kls = [(kl, number) for number, pair in pairs if (kl := kl_between(*pair)) is not None]
    largest = max(kls, default=(None, None))
    return Agreement(
        label=label,
        compared=len(same),
        agreed=sum(is_same for _, is_same in same),
        first_difference=next((number for number, is_same in same if not is_same), None),
        mean_kl=sum(kl for kl, _ in kls) / len(kls) if kls else None,
        max_kl=largest[0],
        max_kl_at=largest[1],
        kl_tokens=len(kls),
    )


def is_agreed(token: RecordedToken, followed: RecordedToken) -> bool | None:
    """Whether both recordings find the same token the most probable in the place of this one; None: unknown."""
    if token.rank is None or followed.rank is None:
        return None
    if token.rank == 0 or followed.rank == 0:
        return token.rank == followed.rank
    own, other = alternatives_of(token), alternatives_of(followed)
    return own[0].token_id == other[0].token_id if own and other else None


def kl_between(token: RecordedToken, followed: RecordedToken) -> float | None:
    """The Kullback-Leibler divergence of two recorded distributions of one token, in nats; None: one of them is not known.

    Recorded are the 20 most probable tokens and the chosen one. Those that both list are compared one by one, and all others
    as if they were a single token. Joining outcomes never raises a divergence (Cover and Thomas, Elements of Information
    Theory, 2.8), so this is a lower bound of that over the whole vocabulary. Alternatives are recorded in steps of 1/64 nat: one
    value may be off by about that, the mean of many by far less.
    """
    own, other = _listed(token), _listed(followed)
    if len(own) < 2 or len(other) < 2:
        return None
    shared = own.keys() & other.keys()
    kl = sum(math.exp(own[each]) * (own[each] - other[each]) for each in shared)
    rest, other_rest = (
        max(_NOISE, 1.0 - sum(math.exp(each[token_id]) for token_id in shared)) for each in (own, other)
    )
    return max(0.0, kl + rest * math.log(rest / other_rest))


def _listed(token: RecordedToken) -> dict[int, float]:
    """The log-probabilities that are known."""
    known = {each.token_id: each.logprob for each in alternatives_of(token)}
    return known if token.logprob is None else {**known, token.token_id: token.logprob}
