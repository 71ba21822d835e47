"""Cost of the remote engine per token, against a bare curl that reads the same stream.

A server on loopback sends prepared chunks at 100 and 1,000 per second and, for the cost per chunk, as fast as a socket
accepts them. curl and the engine take turns in separate processes, in alternating order. Wall time is that of the
request, by curl's `time_total` and the engine's `total_s`. CPU time is that of the process, less that of a reply of one
token (start, imports, load), so that only tokens are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import finish

ROOT = Path(__file__).parents[1]
ROUNDS, SECONDS, TARGET = 9, 4.0, 0.05
RATES = (100, 1000, 0)
"""Chunks per second; 0: unpaced."""
UNPACED_TOKENS = 20_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
MODELS = {"data": [{"id": "bench", "object": "model", "owned_by": "vllm", "max_model_len": 100_000}]}

ENGINE = """
import json, resource, sys
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.factory import create_engine

url, tokens = sys.argv[1], int(sys.argv[2])
engine = create_engine("remote")
options = RemoteOptions(base_url=url, token_timeout_s=120)
engine.load(ModelSpec(engine="remote", name="bench", options=options), lambda progress: None)
sampling = SamplingParams(max_tokens=tokens)
request = GenerationRequest(id=1, messages=(ChatMessage("user", "Go."),), sampling=sampling, seed=1)
for event in engine.generate(request, GenerationControl(sampling)):
    if isinstance(event, GenerationFinished):
        last = event
assert last.error is None, last.error
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([last.stats.total_s, used.ru_utime + used.ru_stime, last.stats.completion_tokens]))
"""


def chunk(number: int, tokens: int) -> bytes:
    """A chunk in vLLM's format, with usage, as the engine requests it."""
    body = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "bench",
        "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
        "usage": {"prompt_tokens": 12, "total_tokens": 12 + number, "completion_tokens": number},
    }
    end = b""
    if number == tokens:
        body["choices"][0]["finish_reason"] = "length"
        end = b"data: [DONE]\n\n"
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n" + end


def read_request(client: socket.socket) -> bytes:
    """Read one request with its body and return its path. Closing a connection with unread data resets it."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += client.recv(65536)
    head, _, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += client.recv(65536)
    return head.split(b" ")[1]


class Server:
    """Sends `tokens` chunks at `rate` per second, without drift."""

    def __init__(self, tokens: int, rate: int) -> None:
        self._chunks = [chunk(number, tokens) for number in range(1, tokens + 1)]
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            path = read_request(client)
            if path != b"/v1/chat/completions":
                status = "200 OK" if path == b"/v1/models" else "404 Not Found"
                body = json.dumps(MODELS if path == b"/v1/models" else {})
                client.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
                )
                return
            client.sendall(HEAD)
            begun_s = time.perf_counter()
            for number, data in enumerate(self._chunks):
                wait_s = begun_s + number / self._rate - time.perf_counter() if self._rate else 0.0
                if wait_s > 0:
                    time.sleep(wait_s)
                client.sendall(data)


class Running:
    """In this block a server runs in a separate process."""

    def __init__(self, tokens: int, rate: int) -> None:
        self._command = [
            sys.executable,
            "-m",
            "benchmarks.bench_remote_overhead",
            "--serve",
            str(tokens),
            str(rate),
        ]

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def curl(url: str) -> tuple[float, float]:
    """Wall and CPU seconds of one stream."""
    command = ["curl", "-sN", "-o", os.devnull, "-w", "%{time_total}", "-H", "Content-Type: application/json"]
    command += ["-d", '{"model":"bench","stream":true}', f"{url}/chat/completions"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def engine(url: str, tokens: int) -> tuple[float, float]:
    """Wall and CPU seconds of one stream; CPU with start, imports and load."""
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, url, str(tokens)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wall, cpu, came = json.loads(done.stdout)
    if came != tokens:
        raise RuntimeError(f"{came} of {tokens} tokens came")
    return wall, cpu


Round = tuple[float, float, float, float]
"""Wall and CPU seconds of the engine, wall and CPU seconds of curl."""


def measure(rate: int, rounds: int, seconds: float) -> tuple[int, list[Round]]:
    """Tokens of each stream, and the rounds."""
    tokens = round(rate * seconds) or UNPACED_TOKENS
    with Running(1, 0) as short:
        idle_engine = statistics.median(engine(short, 1)[1] for _ in range(3))
        idle_curl = statistics.median(curl(short)[1] for _ in range(3))
    found: list[Round] = []
    with Running(tokens, rate) as url:
        engine(url, tokens)  # warms up
        curl(url)
        for number in range(rounds):
            if number % 2:
                ours, bare = engine(url, tokens), curl(url)
            else:
                bare, ours = curl(url), engine(url, tokens)
            found.append((ours[0], ours[1] - idle_engine, bare[0], bare[1] - idle_curl))
    return tokens, found


def print_rate(rate: int, tokens: int, rounds: Sequence[Round]) -> float:
    """Print one rate's figures. Returns the engine's wall time over curl's, minus one."""
    excess = statistics.median(ours / bare for ours, _, bare, _ in rounds) - 1
    low, _, high = statistics.quantiles([ours / bare - 1 for ours, _, bare, _ in rounds], n=4)
    name = f"{rate:,} tok/s" if rate else "unpaced"
    ours, ours_cpu, bare, bare_cpu = (statistics.median(each[place] for each in rounds) for place in range(4))
    print(
        f"{name:>11}: wall {ours:.3f} s, curl {bare:.3f} s: {excess:+.2%} (half between {low:+.2%} and {high:+.2%}); "
        f"CPU {1e6 * ours_cpu / tokens:.0f} µs a token, curl {1e6 * bare_cpu / tokens:.0f}"
    )
    return excess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each paced stream")
    parser.add_argument("--serve", nargs=2, type=int, metavar=("TOKENS", "RATE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        server = Server(*options.serve)
        print(server.url, flush=True)
        server.serve()
    record: dict[str, object] = {}
    worst = 0.0
    for rate in RATES:
        tokens, rounds = measure(rate, options.rounds, options.seconds)
        excess = print_rate(rate, tokens, rounds)
        record[str(rate or "unpaced")] = {
            "tokens": tokens,
            "excess": excess,
            "engine_and_curl_wall_cpu_s": rounds,
        }
        worst = max(worst, excess) if rate else worst
    finish(
        "remote_overhead",
        record,
        f"wall time over curl's, worse of 100 and 1,000 tok/s: {worst:+.2%} (target {TARGET:.0%})",
    )


if __name__ == "__main__":
    main()
