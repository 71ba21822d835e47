"""`[tt] prefill_trace` over real ttnn and the checkout's Generator: after the load a short prompt compiles and records nothing.

As in `test_programs.py`, the trace calls do nothing on the mock card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.tt.conftest import mock_card
from tests.tt.test_device import run

PROMPTS: Final = (5, 40, 128, 129, 300, 700, 1000, 5)
_CODE: Final = """
import itertools, json, sys
from pathlib import Path
import ttnn
from ttchat_tui.domain.model_spec import ModelSpec, TenstorrentOptions
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine

calls, ids = [], itertools.count(1)
def begin(mesh, cq_id=0):
    calls.append("record")
    return next(ids)
ttnn.begin_trace_capture = begin
ttnn.end_trace_capture = lambda *_, **__: None
ttnn.execute_trace = lambda mesh, trace, **_: calls.append(f"run {trace}")
ttnn.release_trace = lambda mesh, trace: calls.append("release")

spec = json.loads(sys.argv[1])
engine = TenstorrentEngine()
options = TenstorrentOptions(prefill_trace=True, cache_dir=spec["cache"])
info = engine.load(ModelSpec(engine="tt", name="tiny", path=spec["model"], context_length=1024, options=options), print)
card = engine._loaded.card
count = card.mesh.device.num_program_cache_entries
loaded, rows = count(), []
for length in spec["prompts"]:
    calls.clear()
    card.model.prefill([[1] * length], first_row=0)
    card.model.decode([0], [length], is_first=True)
    rows.append([length, count() - loaded, *calls])
del card, count
engine.close()
Path(spec["cache"], "rows.json").write_text(json.dumps([rows, info.notes]))
"""


@pytest.mark.timeout(300)
def test_every_short_prompt_runs_its_trace_and_compiles_nothing(
    checkout: Path, model_folder: Path, tmp_path: Path
) -> None:
    spec = {"cache": str(tmp_path), "model": str(model_folder), "prompts": PROMPTS}
    run(_CODE, tmp_path, json.dumps(spec), **mock_card("blackhole_p150"), TT_METAL_HOME=str(checkout))
    rows, notes = json.loads((tmp_path / "rows.json").read_text())
    assert notes == []
    traces = {length: prefill for length, _, prefill, _ in rows}
    assert len({traces[length] for length in (5, 40, 128)}) == 1
    assert len({traces[length] for length in (129, 300, 700, 1000)}) == 1
    (step,) = {step for _, _, _, step in rows}
    assert {step, traces[5], traces[1000]} == {"run 4", "run 5", "run 6"}
    assert [programs for _, programs, *_ in rows] == [0] * len(PROMPTS)
