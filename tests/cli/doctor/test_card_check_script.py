"""`scripts/card-check` goes as far as it can, says what failed, and keeps secrets out of its report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "card-check"
APP = f"""#!{sys.executable}
import json, os, signal, sys

arguments = sys.argv[1:]
broken = bool(os.environ.get("BROKEN"))
work = os.environ["APP_FOLDER"]


def times_called(what):
    with open(os.path.join(work, what), "a+") as file:
        file.write("x")
        return file.tell()


if arguments == ["paths"]:
    print("log            elsewhere")
    print("engine log     " + os.path.join(work, "engine.log"))
elif arguments[0] == "bench":
    print("decode           10.0 tok/s/user")
    if "--compare" in arguments:
        print("agreement        %s tokens (%s %%) are those of cpu f16" % (("5 of 64", "7.8") if broken else ("63 of 64", "98.4")))
elif arguments[0] == "replay":
    if "--engine" in arguments:
        print("agreement        %s tokens (%s %%): both" % (("6 of 48", "12.5") if broken else ("47 of 48", "97.9")))
    else:
        print("result           the same: all 48 tokens")
elif "--plain" in arguments:
    for line in sys.stdin:
        if line.strip() == "/new":
            print("A new conversation.\\n", flush=True)
        elif line.startswith("/model"):
            print(line.split()[1] + " is ready (tt). /help lists the commands.", file=sys.stderr)
        else:
            with open(os.path.join(work, "engine.log"), "a") as log:
                log.write("INFO programs compiled on the card: 10 before the reply, 11 after\\n")
            print("Red." + ("!" * times_called("plain") if broken else ""), flush=True)
            print("[2 tokens, 7 of 9 prompt tokens cached, first after 0.1 s]", file=sys.stderr)
elif "jsonl" in arguments:
    signal.signal(signal.SIGINT, lambda *_: os._exit(1 if broken else 130))
    for _ in range(3):
        print(json.dumps({{"event": "token"}}, separators=(",", ":")), flush=True)
    signal.pause()
elif "-p" in arguments:
    untraced = os.environ.get("TTCHAT_TT__TRACE") == "false"
    print(json.dumps({{"text": "Paris" + ("?" * times_called("text") if broken else ""), "untraced": untraced}}))
else:
    print("ran", *arguments, "in", os.environ["HOME"], "with", os.environ.get("HF_TOKEN"))
"""


def run(tmp_path: Path, status: int, *models: str, **more: str) -> str:
    """Run the script with a scripted app, and return its report."""
    app = tmp_path / "app"
    app.write_text(APP)
    app.chmod(0o755)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/somebody",
        "HF_TOKEN": "hf_Secret123",
        "TTCHAT_TUI": str(app),
        "APP_FOLDER": str(tmp_path),
        **more,
    }
    done = subprocess.run(
        [SCRIPT, *models], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stdout + done.stderr
    (report,) = tmp_path.glob("card-check-*.txt")
    text = report.read_text()
    assert "Secret123" not in text
    assert "somebody" not in text
    return text


def failed_steps(report: str) -> set[str]:
    found: dict[str, str] = dict(
        re.findall(r"^== (.*)\n(?:(?!== ).*\n)*?-- (passed|FAILED)", report, re.MULTILINE)
    )
    assert found
    return {name for name, outcome in found.items() if outcome == "FAILED"}


@pytest.mark.skipif(Path("/dev/tenstorrent").exists(), reason="there is a card: it would be used for an hour")
def test_without_a_card_it_runs_what_needs_none_and_leaves_a_report(tmp_path: Path) -> None:
    text = run(tmp_path, 3)
    assert "ran --version" in text
    assert "ran doctor" in text
    assert "No card" in text
    assert "bench" not in text


def test_where_all_is_well_the_report_has_what_a_maintainer_needs_and_no_secrets(tmp_path: Path) -> None:
    private = {
        "TTCHAT_REMOTE__HEADERS": '{"X-Key": "Secret123"}',
        "TTCHAT_SYSTEM_PROMPT": "My Secret123",
        "TT_API_TOKEN": "Secret123",
    }
    settings = {"MESH_DEVICE": "N150", "TTCHAT_TT__MESH_DEVICE": "1x2", "CARD_CHECK_ENGINE": "cpu"}
    text = run(tmp_path, 0, "one/model", "another/model", **settings, **private)
    assert failed_steps(text) == set()
    assert "\nMESH_DEVICE=N150" in text
    assert "TTCHAT_TT__MESH_DEVICE=1x2" in text
    assert text.count("63 of 64 tokens (98.4 %)") == 2, "for each model"
    assert "the same: all 48 tokens" in text
    assert "47 of 48 tokens (97.9 %)" in text
    assert "programs compiled on the card: 10 before the reply, 11 after" in text
    assert "another/model is ready" in text


def test_each_wrong_answer_fails_its_own_step_and_the_next_ones_run(tmp_path: Path) -> None:
    text = run(tmp_path, 1, "one/model", CARD_CHECK_ENGINE="cpu", BROKEN="1")
    assert failed_steps(text) == {
        "the same without a trace",
        "figures, and the CPU's choices",
        "a reply again, and by the CPU",
        "one seed, one text",
        "interrupt during a reply",
        "tokens sampled by the card",
        "two models, one process",
        "the other model: figures, and the CPU's choices",
    }
    assert "fewer than 80 % of the tokens are the CPU's" in text


def test_a_mock_is_asked_for_no_trace_and_no_comparison(tmp_path: Path) -> None:
    text = run(tmp_path, 0, "one/model", "another/model", TT_METAL_MOCK_CLUSTER_DESC_PATH="/mock/n150.yaml")
    assert failed_steps(text) == set()
    assert '"untraced": false' not in text
    assert "agreement" not in text
    assert "A mock computes nothing" in text
