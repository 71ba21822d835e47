"""Paths of foreign text to the terminal. Each function runs the program on the hostile text of one seed."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.cli.hostile import hostile
from tests.cli.starter import Ran, Starter
from tests.engine.served.raw_server import HEAD, MODELS, RawServer, answer, data, end, said, thought
from tests.models.builders import write_folder
from ttchat_tui.storage.opening import open_store


class HostileServer:
    """Answers every request with what it was given."""

    def __init__(self) -> None:
        self._chats, self._other = [b""], b""
        self.raw = RawServer(
            chat=lambda client, _: client.sendall(self._next()),
            other=lambda client, _: client.sendall(self._other),
        )

    def says(self, *chats: bytes, other: bytes = answer(200, MODELS)) -> str:
        """Its address, for `--base-url`. `chats`: to each message one, to more the last; `other` to any other request."""
        self._chats, self._other = list(chats), other
        return self.raw.url

    def _next(self) -> bytes:
        return self._chats.pop(0) if len(self._chats) > 1 else self._chats[0]


@dataclass(frozen=True)
class Ground:
    """What such a run needs."""

    starter: Starter
    server: HostileServer
    folder: Path
    """The test's own: its `config`, `data`, `cache` and `state` are the program's."""

    def scratch(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


Way: TypeAlias = Callable[[Ground, int], Ran]
MANY: Final = 40
"""How many texts one start takes, by the ways where it takes many: those from a number on."""


def argument_and_reply(ground: Ground, seed: int) -> Ran:
    """The prompt, and a reply in pieces cut anywhere."""
    chance, text = random.Random(seed), hostile(seed, has_halves=True, longest=12)
    cut = sorted(chance.randrange(len(text) + 1) for _ in range(3))
    pieces = [text[a:b] for a, b in zip([0, *cut], [*cut, len(text)], strict=True)]
    aside = (thought(text), data({"choices": [{"delta": {"refusal": text}}]}), data({"choices": [{"delta": {
        "tool_calls": [{"function": {"name": text, "arguments": text}}]}}]}), b"")[seed % 4]  # fmt: skip
    reason = end(chance.choice((text, "stop", "length")))
    url = ground.server.says(HEAD + aside + b"".join(map(said, pieces)) + reason + b"data: [DONE]\n\n")
    prompt, output = hostile(seed + 1, has_bytes=True), ("text", "json", "jsonl")[seed % 3]
    more = ("--system", prompt) if seed % 5 == 0 else ("--stop", prompt) if seed % 5 == 1 else ()
    return ground.starter.run(f"-p={prompt}" if prompt.startswith("-") else "-p", *(() if prompt.startswith("-") else (prompt,)),
                              "--base-url", url, "--output", output, *more)  # fmt: skip


def plain(ground: Ground, seed: int) -> Ran:
    """Messages, replies and commands of the plain chat."""
    seeds = range(seed, seed + MANY)
    replies = [HEAD + said(hostile(each, has_halves=True)) + end("stop") for each in seeds]
    lines = [hostile(each + 1, has_bytes=True).replace("\n", " ").lstrip("/") for each in seeds]
    line, url = lines[0], ground.server.says(*replies)
    command = (f"/{line}", f"/model {line}", f"/save {line}\x00", f"/save {ground.scratch()}/{line}")[
        seed % 4
    ]
    typed = "\n".join([*lines, command, f"//{line}", "/model", "/save", ""]).encode(
        "utf-8", "surrogateescape"
    )
    more = ("-c",) if seed % 2 else ()
    return ground.starter.run("--plain", *more, "--base-url", url, stdin=typed)


def served_ids(ground: Ground, seed: int) -> Ran:
    """Ids and owners in a server's list of models."""
    text = hostile(seed, has_halves=True)
    entries = [{"id": text, "owned_by": text}, {"id": hostile(seed + 1), "object": text}][: 1 + seed % 2]
    chat = answer(404, {"error": {"message": text}}) if seed % 3 == 0 else HEAD + said("Hi") + end("stop")
    url = ground.server.says(chat, other=answer(200, {"data": entries}))
    wanted = hostile(seed + 2, has_bytes=True)
    named = ("-m", f"remote:{wanted}") if seed % 4 == 0 else ("-m", "remote:m") if seed % 4 == 1 else ()
    return ground.starter.run("-p", "hi", *named, "--base-url", url)


def _refusal(seed: int, text: str) -> bytes:
    """An answer that refuses, its words in one of the forms that servers give them."""
    chance = random.Random(seed)
    body: dict[str, object] | bytes = chance.choice((
        {"error": {"message": text, "type": text, "param": text, "code": text}}, {"error": text}, {"message": text},
        {"detail": text}, {"detail": [{"loc": ["body", text], "msg": text}]}, {text: text},
        text.encode("utf-8", "replace"), f"<html><title>{text}</title></html>".encode("utf-8", "replace"),
        text.encode("latin-1", "replace"),
    ))  # fmt: skip
    header = text.translate(dict.fromkeys(map(ord, "\r\n\0"))).encode("utf-8", "replace").decode("latin-1")
    headers = [
        f"{name}: {header}"
        for name in chance.sample(
            ("Server", "Location", "Retry-After", "WWW-Authenticate", "X-Request-Id"), 2
        )
    ]
    status = chance.choice((300, 301, 307, 400, 401, 402, 403, 404, 405, 413, 415, 422, 451, 500, 501))
    head = "\r\n".join(
        [
            f"HTTP/1.1 {status} {header}",
            *headers,
            f"Content-Type: {chance.choice(('application/json', 'text/html', header))}",
            "",
        ]
    )
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    return (
        head.encode("latin-1") + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(content) + content
    )


def server_errors(ground: Ground, seed: int) -> Ran:
    """A server that refuses: body, status, reason and headers, of the chat or of the list."""
    refusal = _refusal(seed, hostile(seed, has_halves=True))
    url = ground.server.says(refusal, other=refusal if seed % 3 == 0 else answer(200, MODELS))
    return ground.starter.run("-p", "hi", "--base-url", url, *(("-m", "remote:m") if seed % 2 else ()))


def refusals(ground: Ground, seed: int) -> Ran:
    """Several refusals in a row, in the plain chat."""
    refused = [_refusal(each, hostile(each, has_halves=True)) for each in range(seed, seed + MANY)]
    return ground.starter.run("--plain", "--base-url", ground.server.says(*refused), stdin=b"hi\n" * MANY)


def errors_in_the_stream(ground: Ground, seed: int) -> Ran:
    """A reply that ends with an error, or with something that cannot be read."""
    text = hostile(seed, has_halves=True)
    flat = text.encode("utf-8", "replace")
    last = (data({"error": {"message": text}}), data({"error": text}), b"event: error\ndata: " + flat + b"\n\n",
            b"error: " + flat + b"\n\n", b"data: {" + flat + b"\n\n", data({"object": "error", "message": text}),
            end(text), b"\xff\x9b" + flat)[seed % 8]  # fmt: skip
    url = ground.server.says(HEAD + (said("Hi") if seed % 3 else b"") + last)
    return ground.starter.run("-p", "hi", "--base-url", url)


def models_list(ground: Ground, seed: int) -> Ran:
    """Folders of models with such names."""
    ground_folder = ground.scratch()
    names = {_file_name(each) for each in range(seed, seed + MANY)}
    for name in names:
        write_folder(ground_folder / "models" / f"org--{name}")
    ran = ground.starter.run("models", "list", "--here", environ={"TTCHAT_CACHE_DIR": str(ground_folder)})
    assert ran.stdout.count(b"\n") == len(names) + 1, ran
    shutil.rmtree(ground_folder)
    return ran


def models_by_name(ground: Ground, seed: int) -> Ran:
    """Model names that are looked up, and a hub that answers with hostile text."""
    text = hostile(seed, has_halves=True)
    listed = {"id": text, "sha": text, "siblings": [{"rfilename": text, "size": 3, "lfs": {"sha256": text}}]}
    ground.server.says(b"", other=answer(200, listed) if seed % 2 else _refusal(seed, text))
    hub = {"HF_ENDPOINT": ground.server.raw.url.removesuffix("/v1")}
    wanted = hostile(seed + 1, has_bytes=True)
    arguments = (
        ("pull", "org/name"),
        ("pull", wanted),
        ("path", wanted),
        ("rm", wanted),
        ("path", f"./{wanted}.gguf"),
    )[seed % 5]
    return ground.starter.run("models", *arguments[:1], "--", *arguments[1:], environ=hub)


def export(ground: Ground, seed: int) -> Ran:
    """Titles, texts and model names in the database, as another program may have written them; and where to save."""
    folder, texts = ground.scratch(), [hostile(each) for each in range(seed, seed + MANY)]
    store = open_store(folder / "conversations.db")
    for text in texts:
        store.add_user_message(store.create_conversation(title="a", model=text).id, None, text)
    store.close()
    with sqlite3.connect(folder / "conversations.db") as database:
        database.executemany(
            "UPDATE conversations SET title = ? WHERE id = ?", zip(texts, range(1, MANY + 1), strict=True)
        )
    database.close()
    target = f"{folder}/{_file_name(seed + 1)}"
    ways = (
        ("--list",),
        (),
        ("--to", target),
        ("--all", "--to", target),
        ("--to", f"{target}/{_file_name(seed)}.json"),
    )
    more = ways[seed // MANY % 5]
    ran = ground.starter.run("export", *more, environ={"TTCHAT_DATA_DIR": str(folder)})
    assert ran.code != 0 or ran.stdout.count(b"\n") == (
        MANY + ("--list" in more) if {"--list", "--all"} & {*more} else 1
    ), ran
    shutil.rmtree(folder)
    return ran


_LOOKED_AT: Final = (
    "TERM", "COLORTERM", "CC", "MESH_DEVICE", "FAKE_DEVICE", "HF_MODEL", "TT_METAL_HOME", "TT_METAL_CACHE", "HF_HOME",
    "TTCHAT_MODEL", "TTCHAT_ENGINE", "TTCHAT_THEME", "LANG", "LC_ALL", "PATH", "HF_TOKEN_PATH", "TTCHAT_TT__HOME",
    "TTCHAT_DATA_DIR", "TTCHAT_CACHE_DIR", "TTCHAT_CONFIG_DIR", "TTCHAT_STATE_DIR", "HOME", "OPENAI_BASE_URL",
)  # fmt: skip


def doctor(ground: Ground, seed: int) -> Ran:
    """What `doctor` and `paths` print about the environment."""
    names = random.Random(seed).sample(_LOOKED_AT, 8)
    changed = {name: hostile(seed + at, has_bytes=True).replace("\0", "") for at, name in enumerate(names)}
    for name, text in changed.items():
        if name.endswith("_DIR"):
            changed[name] = f"{ground.folder}/{text}"
    command = (("paths",), ("doctor", "--output", "json"), ("doctor",))[seed // 8 % 3]
    return ground.starter.run(*command, environ={"TT_METAL_HOME": "/nowhere", **changed})


def config(ground: Ground, seed: int) -> Ran:
    """A config.toml and variables with such names and values."""
    text = hostile(seed)
    file = ground.scratch() / f"{_file_name(seed)}.toml"
    quoted = json.dumps(text)
    content = (
        f"[model]\nname = {quoted}\n", f"[model]\nengine = {quoted}\n", f"{quoted} = 1\n", f"[keys]\n{quoted} = {quoted}\n",
        f"[ui]\ntheme = {quoted}\n", f"[remote]\nbase_url = {quoted}\n", f"[remote.endpoints.{quoted}]\nbase_url = {quoted}\n",
        f"[sampling]\n{quoted} = {quoted}\n", text, f"[ui]\nsubmit_keys = [{quoted}]\n",
    )[seed % 10]  # fmt: skip
    file.write_text(content, "utf-8", "replace")
    name = ("TTCHAT_SAMPLING__TOP_K", "TTCHAT_UI__THEME", "TTCHAT_REMOTE__BASE_URL", "TTCHAT_X__\x1b[2J")[
        seed % 4
    ]
    environ = {name: text.replace("\0", "")} if seed % 3 == 0 else {}
    command = (("-p", "hi", "-m", "nonsense"), ("doctor",), ("models", "path"), ("export", "--list"))[
        seed % 7 % 4
    ]
    return ground.starter.run("--config", str(file), *command, environ=environ)


def flags(ground: Ground, seed: int) -> Ran:
    """Unknown flags, subcommands and values."""
    text = hostile(seed, has_bytes=True).replace("\0", "")
    ways = (
        (text,), (f"--{text}",), ("--engine", text), ("--max-tokens", text), ("--theme", text, "-p", "hi"), ("-m", text, "-p", "hi"),
        ("--config", text, "doctor"), ("models", text), ("export", text), ("export", "--format", text), ("export", "-o", text),
        ("serve", "--host", text), ("serve", "--port", text), ("bench", "--engine", "remote", "--base-url", text),
        ("-p", "hi", "--base-url", text), ("-p", "hi", "--base-url", f"http://{text}/v1"), (f"-{text}",), ("-p", "hi", text),
        ("models", "list", text), ("-m", f"{ground.folder}/{text}.gguf", "-p", "hi"),
    )  # fmt: skip
    return ground.starter.run(*ways[seed % len(ways)])


def _file_name(seed: int) -> str:
    """A name that a file can have, with bytes that are not UTF-8."""
    text = hostile(seed, has_bytes=True).replace("/", "").replace("\0", "")
    return os.fsdecode(text.encode("utf-8", "surrogateescape")[:180])


WAYS: Final[dict[str, tuple[Way, int]]] = {
    way.__name__: (way, {plain: MANY, refusals: MANY, models_list: MANY, export: MANY, doctor: 8}.get(way, 1))
    for way in (
        argument_and_reply, plain, served_ids, server_errors, refusals, errors_in_the_stream, models_list, models_by_name, export,
        doctor, config, flags,
    )
}  # fmt: skip
"""By name, each with how many texts a start takes."""
