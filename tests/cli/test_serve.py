"""The chat in a browser, seen from the browser's side: the page, the websocket behind it, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from tests.cli.served_page import PROMPT, ServedPage
from tests.patience import wait_until
from ttchat_tui.cli import serve
from ttchat_tui.cli.main import app
from ttchat_tui.cli.terminal import is_full_screen_possible
from ttchat_tui.cli.web_server import origin_of
from ttchat_tui.domain.installation import install_command

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def own_page(tmp_path: Path) -> Iterator[ServedPage]:
    served = ServedPage(tmp_path)
    yield served
    served.server.kill()
    served.server.communicate()


@pytest.fixture(scope="module")
def shared_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    served = ServedPage(tmp_path_factory.mktemp("served"))
    yield served
    served.server.kill()
    served.server.communicate()


@pytest.fixture
def page(shared_page: ServedPage) -> ServedPage:
    """A server that tests share: each start takes half a second."""
    shared_page.renew()
    return shared_page


def has_ended(pid: int, within_s: float) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within_s)[0])
    finally:
        os.close(process)


async def test_the_page_shows_the_prompt_and_takes_keys(page: ServedPage) -> None:
    async with page.browser() as browser:
        assert page.websocket_url().split("?")[0].replace("http:", "ws:") in await page.opened(browser)
        async with browser.ws_connect(page.websocket_url(), headers={"Origin": page.url}) as websocket:
            await websocket.send_json(["focus"])  # as the page does, before there is a prompt
            await websocket.send_json(["stdin", "Hello "])
            await page.until(websocket, lambda text: "Hello" in text)
            await websocket.send_json(["stdin", "browser"])
            await page.until(websocket, lambda text: "Hello browser" in text)
            chats = page.chats()
            assert len(chats) == 1
        assert await asyncio.to_thread(has_ended, chats[0], 20), "a page that is closed ends its chat"


@pytest.mark.parametrize("is_drawn", [True, False])
async def test_what_was_typed_is_there_when_the_page_is_opened_again(
    page: ServedPage, is_drawn: bool
) -> None:
    """The page is closed before the pause in typing after which a draft is stored, and even before the letters are drawn."""
    async with page.browser() as browser:
        await page.opened(browser)
        async with browser.ws_connect(page.websocket_url()) as websocket:
            await websocket.send_json(["focus"])
            await page.until(websocket, lambda text: PROMPT in text)
            await websocket.send_json(["stdin", "Hello again"])
            await page.until(websocket, lambda text: not is_drawn or "Hello again" in text)
        assert await asyncio.to_thread(wait_until, lambda: not page.chats(), 30)
        page.screen.reset()
        async with browser.ws_connect(page.websocket_url()) as websocket:
            await page.until(websocket, lambda text: "Hello again" in text)


async def test_a_chat_that_is_killed_closes_its_page(page: ServedPage) -> None:
    async with page.browser() as browser:
        await page.opened(browser)
        async with browser.ws_connect(page.websocket_url()) as websocket:
            await page.until(websocket, lambda text: PROMPT in text)
            os.kill(page.chats()[0], signal.SIGKILL)
            await asyncio.wait_for(page.drain(websocket), 30)


async def test_a_chat_that_cannot_start_closes_its_page(page: ServedPage) -> None:
    settings = page.folder / "config" / "config.toml"
    settings.parent.mkdir()
    settings.write_text("[ui]\nno_such = 1\n")  # written after the server has checked them
    async with page.browser() as browser:
        await page.opened(browser)
        async with browser.ws_connect(page.websocket_url()) as websocket:
            await asyncio.wait_for(page.drain(websocket), 30)


async def test_a_failed_wait_says_what_the_chats_do(page: ServedPage) -> None:
    async with page.browser() as browser:
        await page.opened(browser)
        async with browser.ws_connect(page.websocket_url()) as websocket:
            await page.until(websocket, lambda text: PROMPT in text)
            with pytest.raises(pytest.fail.Exception, match=f"(?s){PROMPT}.*Current thread"):
                await page.until(websocket, lambda text: False, within_s=0)


async def test_without_the_token_there_is_no_page_no_chat_and_no_download(page: ServedPage) -> None:
    """Every user of the machine reaches the port."""
    for shown in ("", "?token=", "?token=wrong", "?token=\u00e4", "?Token={}", "?token={}x"):
        query = shown.format(page.token)
        async with page.browser() as stranger:
            for path in ("/", "/download/key", "/ws", "/nothing"):
                async with stranger.get(f"{page.url}{path}{query}") as answer:
                    assert answer.status == 403, shown
                    assert page.token not in await answer.text()
                    assert not answer.cookies
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await stranger.ws_connect(f"{page.url}/ws{query}", headers={"Origin": page.url})
        assert page.chats() == [], shown


async def test_the_page_gives_a_cookie_that_scripts_and_other_sites_do_not_get(page: ServedPage) -> None:
    async with page.browser() as browser:
        async with browser.get(page.address) as answer:
            (cookie,) = answer.cookies.values()
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        async with browser.get(page.url) as again:
            assert again.status == 200, "a page that is loaded again needs no token in its address"
        async with browser.get(f"{page.url}/download/key") as download:
            assert download.status == 404


async def test_the_token_lets_one_browser_in_and_the_next_one_is_printed(page: ServedPage) -> None:
    async with page.browser() as browser, page.browser() as other:
        await page.opened(browser)
        async with other.get(page.address) as answer:
            assert answer.status == 403
            assert not answer.cookies
        assert await page.opened(browser), "loaded again, with the address it has"
        assert page.server.stderr is not None
        said = await asyncio.to_thread(page.server.stderr.readline)
        address = said.split()[-1]
        assert address.startswith(f"{page.url}/?token=")
        assert address != page.address
        async with other.get(address) as answer:
            assert answer.status == 200
            assert address.partition("token=")[2] not in answer.headers["Set-Cookie"]


async def test_only_page_and_chat_take_the_token_and_a_look_at_the_headers_does_not_spend_it(
    page: ServedPage,
) -> None:
    async with page.browser() as browser:
        for path in ("/download/key", "/nothing"):
            async with browser.get(f"{page.url}{path}?token={page.token}") as answer:
                assert answer.status == 403, path
        async with browser.head(page.address) as answer:
            assert answer.status == 403
        assert await page.opened(browser), "it is not used up"


async def test_the_page_asks_no_other_machine_and_gives_the_terminal_the_keys(page: ServedPage) -> None:
    async with page.browser() as browser:
        html = await page.opened(browser)
    addresses = set(re.findall(r"""(?:src|href|url)\W{1,3}(\w+:[^"')]*)""", html))
    own = (page.url, page.url.replace("http", "ws"), "data:,")
    assert all(address.startswith(own) for address in addresses)
    assert "#terminal textarea" in html


def test_each_server_has_a_token_of_its_own(page: ServedPage, tmp_path: Path) -> None:
    other = ServedPage(tmp_path)
    other.server.kill()
    other.server.communicate()
    assert len(page.token) >= 32
    assert other.token != page.token


async def test_pages_of_other_sites_are_kept_out(page: ServedPage) -> None:
    async with page.browser() as browser:
        await page.opened(browser)  # with the cookie it would be let in
        for origin in ("http://evil.example", f"http://evil.example:{page.port}", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await browser.ws_connect(page.websocket_url(), headers={"Origin": origin})
        assert page.chats() == []
        localhost = f"http://localhost:{page.port}"
        async with browser.ws_connect(page.websocket_url(), headers={"Origin": localhost}) as websocket:
            await page.until(websocket, lambda text: PROMPT in text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_chat_outlives_its_server(own_page: ServedPage, number: signal.Signals) -> None:
    address = f"{own_page.websocket_url()}&token={own_page.token}"
    async with aiohttp.ClientSession() as browser, browser.ws_connect(address) as websocket:
        await own_page.until(websocket, lambda text: PROMPT in text)
        (chat,) = own_page.chats()
        own_page.server.send_signal(number)
        drained = asyncio.create_task(own_page.drain(websocket))
        assert await asyncio.to_thread(has_ended, chat, 20)
        await asyncio.to_thread(own_page.server.wait, 20)
        await drained


def test_a_port_in_use_is_reported_in_a_sentence(page: ServedPage) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "ttchat_tui", "serve", "--port", str(page.port)],
        capture_output=True,
        text=True,
    )
    assert again.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{page.port}" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--json-schema", "no-such-file.json"], "no-such-file.json cannot be read"),
        (["--no-such-flag"], "No such option: --no-such-flag"),
        (["--temperature", "9"], "--temperature is too large"),
        (["--config", "no-such-file.toml"], "no-such-file.toml: there is no such file"),
        (["-p", "Hi"], "only flags of the full screen"),
        (["--plain"], "only flags of the full screen"),
    ],
)
def test_flags_that_every_page_would_refuse_are_refused_at_the_start(flags: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ttchat_tui", "serve", "--port", "1", "--", *flags],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 1
    assert install_command("ttchat-tui[web]") in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", f"http://{socket.gethostname()}:8000"),
    ],
)
def test_the_page_is_where_a_browser_finds_it(host: str, url: str) -> None:
    assert serve.page_url(host, 8000) == url


def test_a_server_in_the_terminals_place_can_show_the_full_screen() -> None:
    assert is_full_screen_possible({"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"})


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://Chat.Example.com:443/chat", "https://chat.example.com"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(typed: str, sent: str) -> None:
    assert origin_of(typed) == sent
