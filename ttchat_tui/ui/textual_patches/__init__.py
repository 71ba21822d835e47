"""Every override of Textual's private parts, and most uses of them, for Textual 8.2.8, which pyproject.toml pins.

Before an upgrade: read this table, and remove what upstream has fixed. A test ensures that no other module of `ui`
overrides or imports a private name.

| module | private part | without it (the fault to report upstream) |
|---|---|---|
| `app` | `App._build_driver` | a signal between the driver's start and the first mount kills the app and leaves the terminal raw |
| `app`, `key_gate` | `App._post_message`, `App._registry`, `MessagePump._message_queue` and four more | \
a letter typed right after a key that moves the focus goes to the old widget; one after backspace overtakes it |
| `app` | `App._display` | on a slow link the screen falls behind, then writing blocks the event loop |
| `app` | `App.refresh_css` (public) | style sheets are parsed twice before the first frame |
| `app` | `App._notifications`, `App._unnotify`, `ToastRack._toast_id` | a toast that is removed early leaves its empty holder |
| `app` | `App._handle_exception`, `_exit`, `_exception`, `_close_messages_no_wait` | \
widgets that are removed while they mount count as a crash at exit |
| `app` | `App._fatal_error` | the traceback shows the values of variables, which include the user's text |
| `app` | `App.update_styles` (public) | a widget is styled for each class that its constructor sets, before it is mounted |
| `app` | `App._prune` | the screen below a dialog is laid out and drawn whole twice more once that is removed |
| `contested_widths` | `Strip.render_style` (public) | a row with an emoji of which the terminal has another idea is shifted behind it |
| `dimmed_backdrop` | `Screen.render` | the colours of the chat behind a dialog are mixed anew for each piece of text |
| `dirty_span_compositor` | `Compositor.render_partial_update`, `render_full_update`, `render_strips`, \
`Screen._compositor` | one new word renders every message in view, and five layers of background |
| `dirty_span_compositor` | `Compositor.reflow`, `_full_map_invalidated` | after a scroll, each layout is done twice |
| `dirty_span_compositor` | `Screen._on_screen_resume` | all widgets of a screen that opens are styled once more, and all of it \
is drawn twice |
| `dirty_span_compositor` | `Screen._compositor_refresh`, `Screen._screen_resized` | the chat behind a dialog is laid out \
when that opens, and rendered whole with each update of the dialog |
| `mounting` | `AwaitMount.__await__`, `Widget._mounted_event` | a widget into which another one is mounted is drawn again \
with all in it: the screen behind a dialog that opens |
| `no_second_layout` | `Widget._size_updated` | a layout that changes a widget's size leads to a second one |
| `one_shot_timer` | `Timer` in `message_pump` (public) | a one-shot timer that starts late never fires: a busy machine loses a \
resize and all later ones |
| `undo_of_long_text` | `TextArea.scroll_cursor_visible` (public) | undoing the paste of a long text is a crash |
| `style_rules` | `RuleSet.__hash__` (public) | written in Python, it takes a twentieth of the start |
| `strip_caches` | `Strip.__init__` (public), its slots | seven caches for each of the strips that a line is joined from |
| `stream_layout` | `StreamLayout._cached_placements` | a layout between the change of a message's chunk and its `Layout` \
message leaves the chunk at its old height: lines are cut off, others are empty |
| `stream_layout` | `Widget.refresh` (public) | the same, where a chunk changes before it is mounted |
| `style_cache` | `Widget._styles_cache` | the style caches of removed widgets stay in memory with all their lines |
| `terminal_driver` | `LinuxDriver._sigcont_application`, `_run_input_thread` | a SIGCONT without a suspension starts \
a second input thread; a terminal that has gone is a crash with a traceback |
| `screen_writer` | `WriterThread` | the 31st waiting write stops the event loop; a terminal that has gone hangs the exit; \
a suspension during a write hangs the app |
| `terminal_parser`, `key_reports`, `terminal_replies` | `XTermParser._sequence_to_key_events`, `_timeout_time`, \
`_MAX_SEQUENCE_SEARCH_THRESHOLD`, `ANSI_SEQUENCES_KEYS` | late answers of the terminal are typed into the prompt; keys of \
other layouts, of modifyOtherKeys and alt+enter are misread; Esc and a key soon after it are alt and that key |
| `paste_parser` | `XTermParser` in the drivers' modules | escape sequences inside a paste are taken for keys |
| `browser_driver` | `WebDriver.on_meta` | in a browser, focus events bypass the key gate, and may come \
before there is a screen; what was typed just before its page is closed is lost |
| `privates` | `DOMNode._bindings`, `Screen._binding_chain`, `App._filters`, `App._driver`, \
`DockArrangeResult` | no public way to bind keys per instance, to choose line filters, to write a control sequence |
"""
