"""The action table, from which key bindings, footer, palette, slash commands, help and the list in docs/using.md are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from textual.binding import Binding

from ttchat_tui.ui.keys import canonical_key, key_label, split_keys

Group: TypeAlias = Literal["Reply", "Conversation", "Transcript", "Model", "View", "App"]

Parts: TypeAlias = Literal["whole", "words", "settings"]
"""How an argument is completed: as a whole, each of its words, or each of its settings `name=value`."""

Scope: TypeAlias = Literal["app", "screen", "prompt"]
"""Where a key works. `app`: in dialogs too. `screen`: anywhere in the chat. `prompt`: only in the prompt, which handles it
itself; its keys are config's `ui.submit_keys` and `ui.newline_keys`."""


class Action(msgspec.Struct, frozen=True):
    """One thing a user can do. The screen that offers it has a method `action_<name>`, and `command_<name>(argument)` if its
    slash command takes an argument."""

    name: str
    """The key in config's `[keys]`."""
    title: str
    """Shown in palette and help; an imperative."""
    group: Group
    help: str
    """One sentence."""
    keys: str = ""
    """Default keys in Textual's spelling, separated by commas; empty: palette or slash command only."""
    slash: str = ""
    """The slash command with its `/`; empty: none."""
    argument: str = ""
    """The name of the slash command's argument in the help; empty: it takes none. A `file` is completed as a path; for
    others the screen may have `choices_<name>()`, which lists what is offered: the argument, and a few words about it."""
    parts: Parts = "whole"
    """`choices_<name>()` lists what one part can be. For settings these are their names, and `values_<name>(setting)` lists
    the values of one."""
    is_new: bool = False
    """The argument may be something new: enter runs the command with what is typed, and completes nothing."""
    footer: str = ""
    """One or two words for the footer; empty: not shown there."""
    scope: Scope = "screen"
    alias: str = ""
    """Another slash command for the same, which no list names."""

    @property
    def usage(self) -> str:
        """The slash command with its argument: `/save [file]`."""
        return f"{self.slash} [{self.argument}]" if self.argument else self.slash


# Keys the terminal cannot tell apart (ctrl+i is tab, ctrl+m enter, ctrl+h backspace), TextArea's editing keys,
# tmux's and screen's prefixes (ctrl+b, ctrl+a) and keys that desktop terminals keep (f10, f11) are not used.
TABLE: Final[tuple[Action, ...]] = (
    Action("send", "Send the message", "Reply", "Send the text in the prompt.", "enter", footer="send", scope="prompt"),
    Action(
        "newline", "New line in the prompt", "Reply", "Insert a line break (shift+enter where the terminal reports it).",
        "ctrl+j,shift+enter,alt+enter", footer="newline", scope="prompt",
    ),
    Action("stop", "Stop the reply, or cancel the load", "Reply", "Stop the reply, keep its text, and hold what waits in the queue; pressed twice, cancel a load.", "escape", "/stop", footer="stop"),
    Action("pause", "Pause or resume the reply", "Reply", "The model stops before its next token and keeps all it has read; again to resume. So does space while the prompt is empty.", slash="/pause"),
    Action("step", "Make the reply one token longer", "Reply", "A paused reply makes exactly one token; a running one pauses after it. So does . while the prompt is empty.", slash="/step"),
    Action("answer_now", "Stop thinking and answer", "Reply", "End the thought of the running reply as the model's template ends it: the answer begins.", "alt+full_stop", "/answer-now"),
    Action("ban", "Ban a token", "Reply", "The model cannot write this token any more in this conversation; its text includes the space before it. x in the inspector bans the one under the cursor.", slash="/ban", argument="text", is_new=True),
    Action("boost", "Make a token more likely", "Reply", "Add 2, or another amount from -100 to 100, to the logit of a token in this conversation. + and - in the inspector add and take 1.", slash="/boost", argument="text", is_new=True),
    Action("unban", "Remove bans and boosts", "Reply", "Remove the ban or boost of this token; without a text, all of them.", slash="/unban", argument="text", is_new=True),
    Action("regenerate", "Regenerate a reply", "Reply", "Answer again, at the selected message or the last one; the old reply stays. /retry temperature=0.2 changes settings for this reply alone; model=NAME loads that model, which stays loaded.", "ctrl+r", "/retry", "settings", parts="settings"),
    Action("continue_reply", "Continue a reply", "Reply", "Resume the selected or the last reply where it was cut off or stopped.", slash="/continue"),
    Action("candidates", "Ask for several replies", "Reply", "Several replies to the draft or the last message, side by side: /candidates 4 temperature=0.2..1.4, a list of values, presets, or other seeds.", "f12", "/candidates", "N what text", is_new=True),
    Action("edit_draft", "Edit the draft in $EDITOR", "Reply", "Edit the draft in $VISUAL or $EDITOR.", "ctrl+g", "/edit"),
    Action("template", "Use a prompt template", "Reply", "Put a template into the prompt, or make it the system prompt.", "alt+m", "/template", "template"),
    Action("save_template", "Save as a prompt template", "Reply", "Save the draft, your last message or the system prompt as a template.", slash="/save-template", argument="name"),
    Action("find_prompt", "Find an earlier prompt", "Reply", "Search all that you have sent as you type; Enter puts it in the prompt.", "alt+r", "/recall", "words"),
    Action("focus_queue", "Go to the waiting messages", "Reply", "Edit, drop, reorder or release the messages that wait for the reply to end.", "alt+q", "/queue"),
    Action("new", "New conversation", "Conversation", "Start an empty conversation, also with a preset; the current one is kept.", "ctrl+n", "/new", "preset", footer="new"),
    Action("next_conversation", "Next conversation", "Conversation", "Open the conversation below in the list.", "alt+down"),
    Action("previous_conversation", "Previous conversation", "Conversation", "Open the conversation above in the list.", "alt+up"),
    Action("open", "Open a conversation by its title", "Conversation", "Open the conversation with this title; without one, find it in the list.", slash="/open", argument="title"),
    Action("rename", "Rename the conversation", "Conversation", "Give the conversation another title.", "f2", "/rename", "title"),
    Action("title", "Let the model write the title", "Conversation", "The model names the conversation, beside it: nothing is added to it.", slash="/title"),
    Action("pin", "Pin the conversation", "Conversation", "Keep it at the top of the list, or no longer; in the list for all that are chosen.", "alt+p", "/pin"),
    Action("tags", "Tag the conversation", "Conversation", "Give it tags, with blanks or commas between, or take them away; in the list for all that are chosen.", "alt+g", "/tag", "tags", parts="words", is_new=True),
    Action("untag", "Remove tags", "Conversation", "Take away these tags, with blanks or commas between, or all.", slash="/untag", argument="tags", parts="words"),
    Action("archive", "Archive the conversation", "Conversation", "Take it out of the list without deleting it, or bring it back; in the list for all that are chosen.", "alt+z", "/archive"),
    Action("show_archived", "Show archived conversations", "Conversation", "List the archived conversations; esc returns to the others.", slash="/archived"),
    Action("delete", "Delete the conversation", "Conversation", "Delete the conversation; /undo brings it back.", slash="/delete"),
    Action("undo_delete", "Undo a deletion, an archiving or a preset", "Conversation", "Bring back what was deleted or archived last, or the settings before the last preset.", slash="/undo"),
    Action("search", "Search everything said", "Conversation", "Search all messages and titles of all conversations as you type.", "alt+s", "/search", "words"),
    Action("save", "Save the transcript", "Conversation", "Write the conversation, a message or a code block to a file: Markdown, JSON, JSONL, HTML, text or a timeline.", "ctrl+s", "/save", "file", is_new=True),
    Action("context", "Show the context", "Conversation", "Show the tokens of each message, what is sent and what falls out; keep, leave out, summarise.", "alt+c", "/context"),
    Action("import_files", "Import conversations", "Conversation", "Read conversations of this and other programs from a file.", slash="/import", argument="file"),
    Action("select_previous", "Select the message above", "Transcript", "Select the message above; a click selects one too, esc deselects.", "ctrl+up,alt+k"),
    Action("select_next", "Select the message below", "Transcript", "Select the message below; after the last one, deselect.", "ctrl+down,alt+j"),
    Action("extend_up", "Select the message above too", "Transcript", "Add the message above to the selection: the range is copied and saved as one.", "ctrl+shift+up"),
    Action("extend_down", "Select the message below too", "Transcript", "Add the message below to the selection, or take the last one off it.", "ctrl+shift+down"),
    Action("select_text", "Select text with the keyboard", "Transcript", "Move a cursor in the transcript with the arrows or vi's keys; v or shift selects, y or enter copies, esc leaves.", "alt+v", "/select"),
    Action("older_version", "Show the older version", "Transcript", "Show the previous version of the selected message or the last one with versions; so does a click on `‹`.", "alt+h", "/older"),
    Action("newer_version", "Show the newer version", "Transcript", "Show the next version of the selected message or the last one with versions; so does a click on `›`.", "alt+l", "/newer"),
    Action("edit_message", "Edit a message", "Transcript", "Edit the selected message (a reply too), or your last one, in the prompt; what you send becomes another version.", "alt+e", "/edit-message"),
    Action("branch", "Branch into a new conversation", "Transcript", "Copy everything up to the selected message, or the last one, into a new conversation.", "alt+w", "/fork"),
    Action("delete_message", "Delete a message", "Transcript", "Delete the selected message with all that follows it; /undo brings it back.", "shift+delete", "/delete-message"),
    Action("tree", "Show the tree", "Transcript", "Show all branches of the conversation; letters filter, enter jumps, and the keys for a selected message work there too.", "alt+t", "/tree"),
    Action("keep_message", "Keep the selected messages", "Transcript", "Keep the selected messages in the context when older ones fall out; again to keep them no longer.", "alt+u", "/keep"),
    Action("inspect", "Inspect a reply's tokens", "Transcript", "Show the selected or the last reply token by token: probability, time, what the model might have written instead; fork there.", "f6", "/inspect"),
    Action("timeline", "Show where the time went", "Transcript", "A bar for a whole reply and one for a step, for the latest replies: wait, template, prefill, decode, sampling, pipe, screen.", slash="/timeline"),
    Action("leave_out", "Leave out the selected messages", "Transcript", "Do not send the selected messages to the model; they stay in the conversation. Again to send them.", "alt+minus", "/leave-out"),
    Action("copy_message", "Copy the selected messages", "Transcript", "Copy the Markdown source of the selected messages; without one, the last reply's.", "f8", "/copy"),
    Action("copy_reply", "Copy the last reply", "Transcript", "Copy the last reply's Markdown source, whatever is selected.", slash="/copy-reply"),
    Action("copy_code", "Copy a code block", "Transcript", "Copy code block n of the selected message or the last reply (the last block without a number).", "f9", "/code", "n"),
    Action("find", "Find in this conversation", "Transcript", "Mark words, or \"words together\", in the open conversation; n and N walk the hits, esc closes.", "alt+slash", "/find-here", "words"),
    Action("show_files", "Unfold or fold attached files", "Transcript", "Show the text of the files of the selected message or the last one with files; a click on a file shows it alone.", slash="/files"),
    Action("toggle_thoughts", "Open or fold the thoughts", "Transcript", "Open or fold the thoughts of the selected message or the last reply; so do enter on a selected one and a click.", "alt+o", "/thoughts"),
    Action("follow_end", "Scroll to the end", "Transcript", "Show the newest text and follow it again.", "ctrl+end", "/end"),
    Action("model", "Choose a model", "Model", "Load another model; the conversation stays.", "ctrl+o", "/model", "name"),
    Action("get_model", "Get a model", "Model", "Download a model while you chat, and load it then: a name as for /model, a number of the first start's offer, or cancel.", slash="/get", argument="name", is_new=True),
    Action("reload_model", "Reload the model", "Model", "Load the model again, after an error or a change of precision.", slash="/reload"),
    Action("unload_model", "Unload the model", "Model", "Free the model's memory.", slash="/unload"),
    Action("set", "Change settings", "Model", "Change settings of this conversation: /set temperature=0.2 top-k=40. The sampling panel changes the same.", slash="/set", argument="settings", parts="settings"),
    Action("system", "Set the system prompt", "Model", 'Set the system prompt of this conversation; without a text, edit it in the panel. /system "" removes it.', slash="/system", argument="text", is_new=True),
    Action("preset", "Choose a preset", "Model", "Use a preset's system prompt, sampling and model in this conversation.", slash="/preset", argument="preset"),
    Action("save_preset", "Save as a preset", "Model", "Save this conversation's system prompt, sampling and model as a preset.", slash="/save-preset", argument="name"),
    Action("constrain", "Constrain the form of replies", "Model", "Replies are JSON of a schema, match a regular expression, are in the language of a grammar, or are one of some texts: json-schema FILE, regex EXPRESSION, grammar FILE, choices TEXT,TEXT or off.", slash="/constrain", argument="form"),
    Action("think", "Choose how much the model thinks", "Model", "Choose whether, or how long, the model thinks before it answers: auto, off, on, low, medium, high, as far as its template understands it.", slash="/think", argument="level"),
    Action("toggle_conversations", "Show or hide the conversations", "View", "Show or hide the list on the left.", "f3", footer="chats"),
    Action("toggle_sampling", "Show or hide sampling and metrics", "View", "Show or hide the panel on the right.", "f4", footer="panel"),
    Action("focus_prompt", "Go to the prompt", "View", "Move the cursor to the prompt.", "ctrl+l"),
    Action("focus_history", "Find a conversation", "View", "Search the titles in the list; tag:work and in:archive narrow it.", "ctrl+f", "/find"),
    Action("focus_transcript", "Go to the transcript", "View", "Scroll with the arrow keys, page up and page down.", "ctrl+t"),
    Action("focus_sampling", "Go to the sampling panel", "View", "Change temperature, top-p and the rest.", "f5", "/sampling"),
    Action("preview", "Preview the sampler", "View", "Show below the sliders what they do to the last token: what is kept, and what each rule cuts. A slider redraws it at once; d draws twenty, enter folds it.", slash="/preview"),
    Action("theme", "Choose a theme", "View", "Try the themes and keep one.", slash="/theme", argument="name"),
    Action("show_log", "Show the log", "App", "Show what the app and the engine have logged.", slash="/log"),
    Action("palette", "All commands", "App", "Search and run any command.", "ctrl+p", footer="commands"),
    Action("help", "Help", "App", "Show keys and commands; over another screen, its own.", "f1", "/help", footer="help", scope="app"),
    Action("quit", "Quit", "App", "Close the app; everything is kept.", "ctrl+q", "/quit", alias="/exit", scope="app"),
)  # fmt: skip

BY_NAME: Final[dict[str, Action]] = {action.name: action for action in TABLE}


def keys_of(action: Action, overrides: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of `action`: config's if it names the action (empty or `none`: no key), otherwise the defaults."""
    chosen = overrides.get(action.name, action.keys)
    if chosen.strip().lower() in {"", "none"}:
        return ()
    return tuple(canonical_key(key) for key in split_keys(chosen))


def keys_label(action: Action, overrides: Mapping[str, str]) -> str:
    """All keys of `action` as text: `ctrl+j, shift+enter`."""
    return ", ".join(key_label(key) for key in keys_of(action, overrides))


def bindings(table: Iterable[Action], overrides: Mapping[str, str], scope: Scope = "screen") -> list[Binding]:
    """Textual bindings of the actions in `scope` that have a key. The action's name is the binding's id and its Textual
    action. Those of the app have priority, so that dialogs cannot override them. The prompt makes its own."""
    return [
        binding(action, keys)
        for action in table
        if action.scope == scope and (keys := keys_of(action, overrides))
    ]


def binding(action: Action, keys: Sequence[str]) -> Binding:
    """The Textual binding of `action` to canonical `keys` (at least one)."""
    return Binding(
        ",".join(keys),
        action.name,
        action.footer or action.title,
        show=bool(action.footer),
        key_display=key_label(keys[0]),
        tooltip=action.help,
        priority=action.scope == "app",
        id=action.name,
    )


def grouped(table: Sequence[Action]) -> list[tuple[Group, list[Action]]]:
    """The table by group, both in the table's order."""
    groups: dict[Group, list[Action]] = {}
    for action in table:
        groups.setdefault(action.group, []).append(action)
    return list(groups.items())
