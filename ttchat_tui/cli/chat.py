"""The object graph of one chat, and its three front ends: the screen, one prompt, the plain REPL."""

from __future__ import annotations

import functools
import gc
import importlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.cli import INTERRUPTED, engine_choice, model_choice, screen_settings, terminal
from ttchat_tui.cli.constraint_setting import check_constraint_setting
from ttchat_tui.cli.errors import notify
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.log_file import open_log
from ttchat_tui.cli.second_engine import SecondEngine
from ttchat_tui.cli.typed_ahead import TypedAhead
from ttchat_tui.config.load import config_and_names, place_of
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState, load_ui_state
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.given_settings import set_names
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.search import Search
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.factory import ENGINES, create_engine
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.load_queue import Prepare
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.models.choice import DEFAULT, ModelChoice, split_kind
from ttchat_tui.session import ChatSession
from ttchat_tui.signals import EndingSignals
from ttchat_tui.signals import name as signal_name
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_scratch_store, open_store

log = logging.getLogger(__name__)

_SCREEN: Final = "ttchat_tui.ui.launch"
_HEADLESS: Final = "ttchat_tui.cli.headless"
"""Both are imported by name: each start needs one of them, and the screen brings Textual."""
FIRST_FRAME_S: Final = 1.0
"""Longest wait of the first load for the screen."""


def run(invocation: Invocation, typed: TypedAhead | None = None) -> int:
    """Run one chat and return its exit code. `typed` already holds back the keys that are typed during the start.

    Raises:
        ConfigError, ModelNameError, AttachmentError: before anything was started.
    """
    is_full_screen = invocation.prompt is None and not invocation.plain
    if is_full_screen and not terminal.is_full_screen_possible():
        if terminal.is_terminal(0):  # else the lines come from a file or a program
            what = "this terminal has no full screen" if terminal.is_terminal(1) else "stdout is no terminal"
            notify(f"{what}; the chat runs line by line (--plain).")
        is_full_screen = False
    with EndingSignals() as ending:
        try:
            if not is_full_screen:
                code = _run(invocation, None, ending)
            else:
                with TypedAhead() if typed is None else nullcontext(typed) as kept:
                    code = _run(invocation, kept, ending)
        except AppError as error:
            if invocation.prompt is not None:
                report_failure(invocation.output, invocation.candidates, error.info)
            raise
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        code = 128 + ending.number if ending.number else code
    if code > 128 and (is_full_screen or code != INTERRUPTED):
        notify(f"ended by {signal_name(code - 128)}.")
    return code


def report_failure(output: str, candidates: int, error: ErrorInfo) -> None:
    """Report on stdout, if `output` has a form for it, an error that ends `-p` before there is a reply."""
    importlib.import_module(_HEADLESS).report_failure(output, candidates, error)


def _run(invocation: Invocation, typed: TypedAhead | None, ending: EndingSignals) -> int:
    """Run on the full screen if `typed` is given, else line by line."""
    is_full_screen = typed is not None
    if invocation.attached:
        invocation = importlib.import_module(_HEADLESS).with_attachments(invocation)
    paths = invocation.paths
    config = _config(invocation)
    paths = open_log(paths, config.log.level)
    invocation = msgspec.structs.replace(invocation, paths=paths)
    state = load_ui_state(paths.ui_state_file)
    model = _model(invocation, config, state)
    if (
        not is_full_screen or model.place == invocation.model_flag
    ):  # on the screen the user can choose another model
        _require_possible(model, invocation, config)
    if not is_full_screen:  # the full screen checks them itself
        screen_settings.check_screen_settings(config, paths, _place_of(invocation))
    kind = model_choice.kind_of(model.name, config)
    check_constraint_setting(config.sampling, kind, _place_of(invocation))
    engine = _engine(invocation, config)
    if isinstance(engine, SwitchingEngine):  # its process starts while this one imports the screen
        engine.start(kind)
    screen_ready = threading.Event()
    with open_session(invocation, config, model.name, engine, screen_ready, ending) as session:
        if typed is not None:
            is_default = model.place == "default" and model.name == DEFAULT
            return _run_screen(invocation, config, state, session, screen_ready, typed, is_default)
        screen_ready.set()
        gc.enable()
        headless = importlib.import_module(_HEADLESS)
        return int(headless.run(session, invocation))


def engine_alone(invocation: Invocation) -> tuple[Engine, Callable[[ProgressReporter], ModelSpec]]:
    """An engine without session or screen, and the function that prepares the model of `invocation`.

    Raises:
        ConfigError, ModelNameError: before anything was started.
    """
    config = _config(invocation)
    paths = open_log(invocation.paths, config.log.level)
    invocation = msgspec.structs.replace(invocation, paths=paths)
    model = _model(invocation, config, load_ui_state(paths.ui_state_file))
    _require_possible(model, invocation, config)
    screen_settings.check_screen_settings(config, paths, _place_of(invocation))
    no_screen = threading.Event()
    no_screen.set()
    prepare = _prepare_after(no_screen, config, paths)
    return _engine(invocation, config), lambda report: prepare(model.name, report)


def _config(invocation: Invocation) -> Config:
    """All settings. From now on the messages of this process name each as the user gave it."""
    config, names = config_and_names(
        invocation.paths, environ=os.environ, file=invocation.config_file, flags=invocation.flags
    )
    set_names(names)
    return config


def _engine(invocation: Invocation, config: Config, *, is_second: bool = False) -> Engine:
    if config.model.isolation == "thread":
        Path.cwd()  # OSError where it has been deleted: torch would end this process
        return SwitchingEngine(create_engine)
    kind = engine_choice.chosen_kind(config)
    isolated = IsolatedEngine(
        invocation.paths.engine_log_file,
        warm=() if is_second else ENGINES[kind].warm_modules(config.options_of(kind)),
        timeouts=engine_choice.timeouts(config),
        advice=engine_choice.advice(config),
    )
    return SwitchingEngine(create_engine, isolated)


def _model(invocation: Invocation, config: Config, state: UiState) -> ModelChoice:
    choice = model_choice.first_model(
        config,
        os.environ,
        flag=str(invocation.flags.get("model.name", "")),
        last_used=state.last_model or "",
    )
    is_flag = choice.place == "--model"
    return msgspec.structs.replace(choice, place=invocation.model_flag) if is_flag else choice


def _require_possible(model: ModelChoice, invocation: Invocation, config: Config) -> None:
    """Raises ModelNameError for a name that cannot be a model."""
    paths = invocation.paths
    file = invocation.config_file or paths.config_file
    model_choice.require_possible(model, config, file, paths.models_dir, os.environ)


def _place_of(invocation: Invocation) -> Callable[[str], str]:
    """A function from a setting to its source: a file, a variable or a flag."""
    return functools.partial(
        place_of,
        paths=invocation.paths,
        environ=os.environ,
        file=invocation.config_file,
        flags=invocation.flags,
    )


def _store(invocation: Invocation, config: Config) -> ConversationStore:
    if invocation.save and config.storage.autosave:
        return open_store(invocation.paths.database)
    return open_scratch_store(invocation.paths.database if invocation.resume else None)


def _expected_sampling(model: str) -> SamplingParams | None:
    """The sampling that the catalog recommends for `model`, known before the model is loaded."""
    catalog = importlib.import_module("ttchat_tui.models.catalog").catalog()  # not before the first frame
    entry = catalog.find(split_kind(model, ENGINES)[1])
    return entry.recommended if entry is not None else None


def _prepare_after(screen_ready: threading.Event, config: Config, paths: Paths) -> Prepare:
    """`models.prepare`, imported and run once the screen is ready.

    Earlier it would delay the first frame by 20 ms. The wait delays no load: the engine's process takes longer than
    that for its own imports.
    """

    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        screen_ready.wait(FIRST_FRAME_S)
        preparer = importlib.import_module("ttchat_tui.models.prepare").Preparer(
            models_dir=paths.models_dir,
            engine=engine_choice.local_kind(config),
            is_automatic=engine_choice.local_kind(config) != config.model.engine,
            sources={kind: each.models for kind, each in ENGINES.items()},
            options_of=config.options_of,
            context_length=config.model.context_length,
            template_options=config.model.template_options,
            kernel_dir=str(paths.kernels_dir),
        )
        spec: ModelSpec = preparer(name, report)
        return spec

    return prepare


def _start_backup(store: ConversationStore, database: Path, screen_ready: threading.Event) -> None:
    """Back up what is kept on disk, after the first frame. A daemon thread: quitting does not wait for it, and the next
    start makes the backup instead."""

    def back_up() -> None:
        screen_ready.wait()
        damage = importlib.import_module("ttchat_tui.storage.backups").back_up(database)
        if damage is not None:
            store.set_file_notice(damage)

    if store.mode == "read-write":
        threading.Thread(target=back_up, name="backup", daemon=True).start()


def _search(store: ConversationStore) -> Callable[[], Search] | None:
    """Makes the search over what is kept on disk, imported on first use."""

    def search() -> Search:
        module = importlib.import_module("ttchat_tui.storage.search.thread")
        made: Search = module.SearchThread(lambda: store.file)
        return made

    return search if store.mode == "read-write" else None


@contextmanager
def open_session(
    invocation: Invocation,
    config: Config,
    model: str,
    engine: Engine,
    screen_ready: threading.Event,
    ending: EndingSignals,
) -> Generator[ChatSession, None, None]:
    """A session with its engine thread running and its model loading. Closes everything at the end."""
    prepare, request_ids = _prepare_after(screen_ready, config, invocation.paths), itertools.count(1)
    second = SecondEngine(
        lambda: _engine(invocation, config, is_second=True), prepare, request_ids, lambda: host.info
    )
    host = EngineHost(engine, second.prepare_first, request_ids=request_ids)
    store = _store(invocation, config)
    _start_backup(store, invocation.paths.database, screen_ready)
    host.start()
    try:
        host.load(model)
        session = ChatSession(
            store,
            host,
            model=model,
            default_sampling=config.sampling.over,
            expected_sampling=_expected_sampling,
            system_prompt=config.system_prompt,
            search=_search(store),
            record=config.engine.record,
            # In one process the compiled kernel has one pool of threads, which two engines cannot share.
            second_host=second.make_host if config.model.isolation == "process" else None,
        )
        session.titles.is_automatic = config.ui.auto_title
        try:
            yield session
        finally:
            ending.begin_end()
            for unsaved in session.close():
                notify(unsaved.message, unsaved.text)
    finally:
        ending.begin_end()
        _end([host, *second.hosts], engine_choice.shutdown_s(config), ending)
        store.close()


def _end(hosts: Sequence[EngineHost], patience_s: float, ending: EndingSignals) -> None:
    """Wait for the engines to close, with a message if that takes long. A second request to quit or the time-out kills them."""

    def are_closed(timeout_s: float) -> bool:
        for host in hosts:
            host.shutdown(timeout_s=0)  # all close at the same time
        end_s = time.monotonic() + timeout_s
        are_ended = [host.shutdown(timeout_s=max(0.0, end_s - time.monotonic())) for host in hosts]
        return all(are_ended)

    try:
        with ending.impatience():
            if are_closed(2.0):
                return
            notify("waiting for the engine to close (ctrl+c to kill it)")
            is_closed = are_closed(patience_s)
    except KeyboardInterrupt:
        is_closed = False
    if not is_closed:
        for host in hosts:
            host.shutdown(force=True)


def _run_screen(
    invocation: Invocation,
    config: Config,
    state: UiState,
    session: ChatSession,
    screen_ready: threading.Event,
    typed: TypedAhead,
    is_default: bool,
) -> int:
    """Run the Textual app. `is_default`: the default model is loaded because nothing else was chosen.
    It is imported only now, while the engine's process starts on the other core."""
    terminal.ensure_utf8()
    gc.disable()  # until the app is mounted: imports leave no garbage, and collecting costs 65 ms
    launch = importlib.import_module(_SCREEN)
    system = System.of(os.environ)
    app = launch.build(
        session,
        config,
        invocation.paths,
        state,
        before_terminal_takeover=typed.give_back,
        on_screen_ready=screen_ready.set,
        read_cards=system.read_cards if system.card_numbers() else None,
        resume=(invocation.sampling_flags, invocation.system_flag) if invocation.resume else None,
        place_of=_place_of(invocation),
        offers_models=is_default,
    )
    try:
        with terminal.captured(invocation.paths.log_file, typed.before):
            app.run()
    finally:
        typed.close()  # the shell gets its terminal back while the engine closes
        screen_ready.set()  # otherwise an early quit waits for a load that waits for the screen
    if app.crash is not None:
        is_kept = session.storage_mode == "read-write"
        notify(
            f"stopped by an internal error ({type(app.crash).__name__}: {app.crash}). "
            f"{'The conversation is kept: ttchat-tui -c continues it. ' if is_kept else ''}"
            f"The traceback is in {invocation.paths.log_file}."
        )
    return int(app.return_code or 0)
