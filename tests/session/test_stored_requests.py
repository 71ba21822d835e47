"""The requests of stored replies: what was recorded with them is what they are made of again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes import Gate, Script
from tests.scripted_reply import token_id
from tests.session.test_chat import Chat
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.stored_requests import NotReplayable, StoredReply, stored_reply

KNOWN = Script(
    replies=("One two three four.",),
    logprobs=True,
    batch_sizes=(1, 2),
    context_length=4096,
    end_word=" other1",
)
WARM = SamplingParams(temperature=0.7, seed=5)


def prompts_of(chat: Chat) -> list[tuple[int, ...]]:
    """Those that the engine has built, in order."""
    return [event.prompt_ids for event in chat.recorder.events if isinstance(event, GenerationStarted)]


def last_reply(chat: Chat) -> StoredReply:
    return stored_reply(chat.store, chat.session.path[-1].id)


def given_prompts(reply: StoredReply) -> list[tuple[int, ...]]:
    return [each.request.given.prompt_ids for each in reply.requests]


def test_the_prompts_of_a_conversation_are_kept_as_what_each_adds(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.set_sampling(WARM)
    for question in ("Count.", "Again.", "And again."):
        chat.ask(question)
    replies = [stored_reply(chat.store, each.id) for each in chat.session.path if each.role == "assistant"]
    assert [given_prompts(each) for each in replies] == [[prompt] for prompt in prompts_of(chat)]
    kept = [reply.recording.prompts[0] for reply in replies]
    assert [each.shared for each in kept] == [0, len(prompts_of(chat)[0]), len(prompts_of(chat)[1])]
    (request,) = replies[1].requests
    assert (request.request.seed, request.request.sampling.temperature) == (5, 0.7)
    assert request.request.sampling.max_tokens == 1 + len(request.tokens), "the model ended it"


def test_another_process_reads_the_same_and_begins_a_whole_prompt(start: Callable[..., Chat]) -> None:
    start(KNOWN).ask("Count.")
    chat = start(KNOWN)
    chat.session.open(1)
    chat.ask("Again.")
    reply = last_reply(chat)
    assert given_prompts(reply) == prompts_of(chat)
    assert reply.recording.prompts[0].shared == 0


def test_a_continued_reply_has_two_requests(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.set_sampling(replace(WARM, max_tokens=2))
    chat.ask("Count.")
    chat.session.set_sampling(replace(WARM, temperature=0.3))
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    reply = last_reply(chat)
    assert given_prompts(reply) == prompts_of(chat)
    assert [(each.first, len(each.tokens)) for each in reply.requests] == [(0, 2), (2, 2)]
    assert [each.request.sampling.temperature for each in reply.requests] == [0.7, 0.3]
    assert [each.request.given.changes for each in reply.requests] == [(), ()]
    whole, rest = (each.request for each in reply.requests)
    assert (whole.continue_last, whole.messages, whole.written_ids) == (False, (), ())
    assert (rest.continue_last, rest.messages[-1].content, rest.written_ids) == (
        True,
        "One two",
        reply.requests[0].ids,
    )


def test_a_fork_has_the_prompt_of_its_origin_and_its_own(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    recording = chat.session.recordings.of(reply.id)
    chat.session.forking.fork(reply.id, recording, 2, token_id(" other0"))
    chat.until(GenerationFinished)
    fork = last_reply(chat)
    assert given_prompts(fork) == prompts_of(chat)
    assert [each.first for each in fork.requests] == [0, 3]
    assert fork.requests[0].request.given.chosen == {2: token_id(" other0")}


def test_an_end_that_the_user_chose_is_chosen_again_and_is_no_token_of_the_reply(
    start: Callable[..., Chat],
) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    chat.session.forking.fork(reply.id, chat.session.recordings.of(reply.id), 2, token_id(" other1"))
    (request,) = last_reply(chat).requests
    assert (request.ids, request.request.given.chosen) == (
        tuple(map(token_id, ("One", " two"))),
        {2: token_id(" other1")},
    )
    assert request.request.sampling.max_tokens > 2, "the end token is drawn, too"


def test_what_the_user_typed_in_a_reply_is_not_made_again(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    chat.session.forking.rewrite(reply.id, chat.session.recordings.of(reply.id), 2, " and more")
    chat.until(GenerationFinished)
    written = last_reply(chat)
    assert given_prompts(written) == prompts_of(chat)
    assert [(each.first, len(each.tokens)) for each in written.requests] == [(0, 2), (3, 4)]
    assert written.numbers == [1, 2, 4, 5, 6, 7]
    rest = written.requests[1].request
    assert (rest.messages[-1].content, rest.written_ids) == ("One two and more", ())
    assert min(token.token_id for token in written.tokens) >= 0


def test_a_candidate_is_made_again_with_the_whole_batch(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.session.set_sampling(WARM)
    chat.session.submit("Count.", 2)
    chat.until(GenerationFinished)
    replies = chat.store.children(chat.session.path[0].id, chat.session.path[0].conversation_id)
    for row, reply in enumerate(replies):
        (request,) = stored_reply(chat.store, reply.id).requests
        assert request.row == row
        assert (request.request.seed, [each.seed for each in request.request.candidates]) == (5, [6])
        assert request.request.given.prompt_ids == prompts_of(chat)[0]


def test_a_change_of_sampling_is_given_at_its_token(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(replace(KNOWN, stepped=True), gate)
    chat.session.set_sampling(WARM)
    chat.session.submit("Count.")
    gate.release(1)
    chat.until(TokenEvent)
    hot = replace(WARM, temperature=1.9)
    chat.session.set_sampling(hot)
    gate.open()
    chat.until(GenerationFinished)
    reply = last_reply(chat)
    (request,) = reply.requests
    assert request.request.sampling.temperature == 0.7
    (change,) = request.request.given.changes
    assert change.sampling.temperature == 1.9
    assert change.sampling.max_tokens == request.request.sampling.max_tokens == 5
    assert change.at == reply.recording.changes[0].at > 0


def test_an_unrecorded_reply_is_rendered_anew_from_its_messages(tmp_path: Path) -> None:
    chat = Chat(tmp_path / "conversations.db", KNOWN, record="off")
    chat.ask("Count.")
    reply = last_reply(chat)
    assert (reply.has_prompts, given_prompts(reply)) == (False, [()])
    assert [each.content for each in reply.requests[0].request.messages] == ["Count."]
    assert reply.message.reply is not None
    assert reply.requests[0].ids == reply.message.reply.token_ids
    chat.close()


def test_a_reply_without_token_ids_says_why(start: Callable[..., Chat]) -> None:
    chat = start(KNOWN)
    chat.ask("Count.")
    reply = chat.session.path[-1]
    chat.session.branching.write(reply.id, "All mine.", to_continue=False)
    with pytest.raises(NotReplayable, match=r"are not known: the user wrote it\."):
        last_reply(chat)


def test_what_cannot_be_made_again_says_why(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(replace(KNOWN, stepped=True), gate)
    chat.session.submit("Count.")
    for message, why in zip(chat.session.path, ("is not a reply", "is still being written"), strict=True):
        with pytest.raises(NotReplayable, match=why):
            stored_reply(chat.store, message.id)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (Script(fault="raise", fault_at=0), "has no tokens: it failed before the first one"),
        (Script(replies=("",), logprobs=True), ""),
        (Script(replies=("One.",), stepped=True), "has no tokens: it was stopped before the first one"),
    ],
)
def test_a_reply_without_tokens_says_what_happened(
    start: Callable[..., Chat], script: Script, why: str
) -> None:
    chat = start(script, Gate())
    chat.session.submit("Count.")
    if script.stepped:
        chat.until(GenerationStarted)
        chat.session.stop()
    chat.until(GenerationFinished)
    if not why:  # it ended at once, which can be made again
        (request,) = last_reply(chat).requests
        assert (request.tokens, request.request.sampling.max_tokens) == ([], 1)
        return
    with pytest.raises(NotReplayable, match=why):
        last_reply(chat)
