"""What markdown-it finds in a complete text, in the terms of our block parser: the reference for its tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.token import Token

from ttchat_tui.ui.markdown.block_parser import BlockParser
from ttchat_tui.ui.markdown.block_starts import table_cells
from ttchat_tui.ui.markdown.blocks import Leaf

PARSER = MarkdownIt("commonmark").enable("table")

Found = tuple[object, ...]
"""(kind, markers of the containers, of those the ones that begin here, details …)"""

BULLETS = "•◦▪"


def reference_leaves(source: str) -> list[Found]:
    """The leaf blocks of `source` by a full parse with markdown-it."""
    walk = _Walk()
    walk.run(PARSER.parse(source))
    return walk.found


def our_leaves(source: str) -> list[Found]:
    parser = BlockParser()
    for line in source.split("\n"):
        parser.feed_line(line)
    parser.finish()
    return [_ours(leaf) for leaf in _without_definitions(parser.leaves)]


def _without_definitions(leaves: list[Leaf]) -> list[Leaf]:
    """markdown-it has no tokens for link definitions: the next block takes the markers before them."""
    found: list[Leaf] = []
    pending: Leaf | None = None
    for leaf in leaves:
        if pending is not None:
            # the items around both begin with the one that is shown
            shared = sum(mine == its for mine, its in zip(pending.path, leaf.path, strict=False))
            if shared > pending.fresh:
                leaf = replace(leaf, fresh=pending.fresh)
            if shared < len(pending.path):
                found.append(replace(pending, kind="empty"))
        pending = leaf if leaf.kind == "definition" and leaf.fresh < len(leaf.path) else None
        if leaf.kind != "definition":
            found.append(leaf)
    return found + ([replace(pending, kind="empty")] if pending else [])


def _ours(leaf: Leaf) -> Found:
    path = tuple(frame.marker.strip() or ">" for frame in leaf.path)
    begins = tuple(frame.marker.strip() for frame in leaf.path[leaf.fresh :] if frame.marker)
    text = "\n".join(leaf.lines)
    match leaf.kind:
        case "paragraph" | "heading":
            box = "" if leaf.is_task_done is None else f"[{'x' if leaf.is_task_done else ' '}] "
            return (leaf.kind, path, begins, leaf.level, _flat(box + text))
        case "code":
            return ("code", path, begins, leaf.info, _flat_code(text))
        case "html":
            return ("html", path, begins, _flat_code(text))
        case "table":
            width = len(leaf.aligns)
            rows = [table_cells(line)[:width] for line in leaf.lines]
            return ("table", path, begins, leaf.aligns, [row + [""] * (width - len(row)) for row in rows])
        case _:
            return (leaf.kind, path, begins)


def _flat(text: str) -> str:
    text = re.sub(r"^\[([ xX])\] +", lambda box: f"[{box[1].lower()}] ", text)
    return "\n".join(line.strip() for line in text.split("\n"))


def _flat_code(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


class _Walk:
    """Turns the nested token stream into a flat list of leaves."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._path: list[str] = []
        self._new: list[str] = []
        self._lists: list[list[object]] = []

    def run(self, tokens: Sequence[Token]) -> None:
        index = 0
        while index < len(tokens):
            index += self._take(tokens, index)

    def _take(self, tokens: Sequence[Token], index: int) -> int:
        """Handle `tokens[index]`; returns how many tokens that took."""
        token = tokens[index]
        match token.type:
            case "blockquote_open":
                self._path.append(">")
            case "blockquote_close":
                self._path.pop()
            case "bullet_list_open" | "ordered_list_open":
                self._open_list(token)
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                self._open_item(token)
            case "list_item_close":
                if self._new:
                    self._add("empty")
                self._path.pop()
            case "paragraph_open" | "heading_open":
                level = int(token.tag[1]) if token.type == "heading_open" else 0
                kind = token.type.removesuffix("_open")
                if kind == "heading" or tokens[index + 1].content:
                    self._add(kind, level, _flat(tokens[index + 1].content))
                return 3
            case "fence" | "code_block":
                self._add("code", unescapeAll(token.info.strip()), _flat_code(token.content))
            case "html_block":
                self._add("html", _flat_code(token.content))
            case "hr":
                self._add("rule")
            case "table_open":
                return self._table(tokens, index)
            case _:
                raise AssertionError(token.type)
        return 1

    def _open_list(self, token: Token) -> None:
        is_ordered = token.type == "ordered_list_open"
        start = token.attrGet("start")
        self._lists.append([is_ordered, 1 if start is None else int(start), token.markup])

    def _open_item(self, token: Token) -> None:
        current = self._lists[-1]
        if current[0]:
            assert isinstance(current[1], int)
            marker = f"{current[1]}{token.markup}"
            current[1] += 1
        else:
            depth = sum(not is_ordered for is_ordered, *_ in self._lists)
            marker = BULLETS[(depth - 1) % len(BULLETS)]
        self._path.append(marker)
        self._new.append(marker)

    def _add(self, kind: str, *details: object) -> None:
        self.found.append((kind, tuple(self._path), tuple(self._new), *details))
        self._new.clear()

    def _table(self, tokens: Sequence[Token], index: int) -> int:
        rows: list[list[str]] = []
        aligns: list[str] = []
        end = index
        while tokens[end].type != "table_close":
            token = tokens[end]
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(token.content)
            elif token.type == "th_open":
                aligns.append(str(token.attrGet("style") or "").removeprefix("text-align:"))
            end += 1
        self._add("table", tuple(aligns), rows)
        return end - index + 1
