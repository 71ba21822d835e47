"""Chat templates are other people's programs: whatever they do, they end, and the error says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.cpu import test_native_step as step
from tests.engine.cpu.tiny_models import save
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.text import template_process
from ttchat_tui.engine.text.template import ChatTemplate
from ttchat_tui.engine.text.template_process import TemplateError, TemplateRefusal, render

USER = [{"role": "user", "content": "hello"}]

ENDLESS = {
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}",
    "a number without end": "{{ 9 ** (9 ** 9) }}",
    "a number from the messages": "{% set n = messages | length + 8 %}{{ (n ** (n ** n)) is odd }}",
    "a filter in a filter": "{% for a in range(99999) %}{{ range(99999) | map('string') | list | length }}{% endfor %}",
    "a sort that is repeated": "{% for a in range(99999) %}{% set x = range(99999) | sort(reverse=true) %}{% endfor %}",
}
LARGE = {
    "multiplied": "{{ 'x' * 10 ** 12 }}",
    "multiplied by what only a rendering knows": "{{ messages[0].content * 10 ** 10 }}",
    "padded": "{{ messages[0].content.ljust(10 ** 11) }}",
    "centred": "{{ messages[0].content | center(10 ** 11) }}",
    "doubled": "{% set n = namespace(s='xx') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "replaced": "{% set n = namespace(s='xx') %}{% for a in range(60) %}{% set n.s = n.s.replace('x', 'xx') %}{% endfor %}",
    "said again and again": "{% for a in range(99999) %}{% for b in range(99999) %}hello{% endfor %}{% endfor %}",
    "a macro that calls itself": "{% macro m() %}x{{ m() }}{% endmacro %}{{ m() }}",
    "lorem ipsum": "{{ lipsum(n=10 ** 8) }}",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limit of 5 s to a twenty-fifth."""
    monkeypatch.setattr(template_process, "CPU_S", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_template_that_computes_without_end_is_stopped_and_the_next_one_runs(source: str) -> None:
    with pytest.raises(TemplateError, match=r"does not end: it was stopped after 0\.2 s") as caught:
        render(source, {"messages": USER})
    assert caught.value.info.cure
    assert render("{{ messages[0].content }}", {"messages": USER}) == "hello"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE.keys())
def test_a_template_that_grows_without_end_is_stopped_by_one_limit_or_the_other(source: str) -> None:
    with pytest.raises(TemplateError, match=r"does not end|endless|memory|recursion"):
        render(source, {"messages": USER})
    assert render("{{ messages[0].content }}", {"messages": USER}) == "hello"


def test_a_long_conversation_does_not_exceed_the_limits() -> None:
    long = [{"role": "user", "content": "word " * 1_000_000}]
    assert len(render("{{ messages[0].content }}!", {"messages": long})) == 5_000_001


def test_every_text_is_rendered_unchanged() -> None:
    text = "é 語 🙂 \ud800 \x00 \u2028 \n\r\n \U000f0001"
    assert render("{{ messages[0].content }}", {"messages": [{"role": "user", "content": text}]}) == text


def running() -> subprocess.Popen[str]:
    render("", {})
    process = template_process._PROCESS._running  # pyright: ignore[reportPrivateUsage]
    assert process is not None
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_killing_the_idle_process_costs_no_reply(number: signal.Signals) -> None:
    for _ in range(2):
        os.kill(running().pid, number)
        assert render("hello", {}) == "hello"


def test_a_request_is_repeated_when_the_process_is_killed_during_it() -> None:
    process = running()
    os.kill(process.pid, signal.SIGSTOP)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(render("hello", {})))
    asking.start()
    os.kill(process.pid, signal.SIGKILL)
    asking.join()
    assert answers == ["hello"]


def test_a_request_fails_after_the_second_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(running().pid, signal.SIGKILL)
    monkeypatch.setattr(template_process, "_BOOT", "raise SystemExit(1)")
    with pytest.raises(TemplateError, match="ended twice") as caught:
        render("hello", {})
    assert caught.value.info.cure


def test_the_memory_of_a_rendering_that_took_too_much_is_freed() -> None:
    process = running()
    with pytest.raises(TemplateError, match="memory"):
        render("{{ 'x' * 10 ** 12 }}", {})
    assert process.wait() == template_process.OUT_OF_MEMORY
    assert render("hello", {}) == "hello"


def test_the_process_ends_silently_when_its_reader_is_gone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from ttchat_tui.engine.text.template_program import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    request = {"source": "hello", "variables": {}, "most": 100, "cpu_s": 5.0}
    _, said = process.communicate((json.dumps(request) + "\n").encode())
    assert (process.returncode, said) == (0, b"")


def test_threads_get_the_answers_to_their_own_questions() -> None:
    wrong: list[str] = []

    def ask(name: str) -> None:
        wrong.extend(name for _ in range(50) if render("{{ name }}", {"name": name}) != name)

    threads = [threading.Thread(target=ask, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_interrupt_in_between_does_not_mix_answers_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    process = running()
    monkeypatch.setattr(process.stdout, "readline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render("two", {})
    assert render("three", {}) == "three"


def test_a_refusal_differs_from_a_broken_or_endless_template() -> None:
    with pytest.raises(TemplateRefusal, match="alternate"):
        render("{{ raise_exception('Roles must alternate') }}", {})
    with pytest.raises(TemplateError, match="broken") as caught:
        render("{% if %}", {})
    assert not isinstance(caught.value, TemplateRefusal)


@pytest.mark.usefixtures("impatient")
def test_a_model_whose_template_does_not_end_is_not_loaded_and_the_phase_names_it(tmp_path: Path) -> None:
    folder = save(step.build("llama"), tmp_path / "model")
    (folder / "chat_template.jinja").write_text(ENDLESS["loops in loops"])
    phases: list[LoadProgress] = []
    with pytest.raises(TemplateError, match="does not end"):
        load_model(ModelSpec(name="tiny", path=str(folder), options=CpuOptions(threads=1)), phases.append)
    assert phases[-1].detail == "chat template"


@pytest.mark.usefixtures("impatient")
def test_a_template_that_ends_only_for_some_conversations_costs_one_reply_and_not_the_engine() -> None:
    source = (
        "{% if messages | length > 2 %}" + ENDLESS["loops in loops"] + "{% endif %}{{ messages[0].content }}"
    )
    template = ChatTemplate(source, {}, ())
    hello = ChatMessage("user", "hello")
    assert template.render([hello]) == "hello"
    with pytest.raises(TemplateError, match="does not end"):
        template.render([hello, hello, hello])
    assert template.render([hello]) == "hello"
