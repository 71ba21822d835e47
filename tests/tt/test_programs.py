"""Programs that real ttnn compiles for prompts after the load, and when the real Generator records its decode step anew.

A mock card cannot record: beginning, ending and executing a trace do nothing here, so the operations in between run as
they would untraced. What the Generator keeps of a trace, and that it records again when the engine has taken that away,
is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.tt.conftest import CARDS, mock_card
from tests.tt.test_device import run

CONTEXT: Final = 16_384
PROMPTS: Final = (20, 64, 65, 128, 129, 129, 1000, 2100, 2100, 8192, 9000, 9000)
_CODE: Final = """
import json, sys
from pathlib import Path
import ttnn
from ttchat_tui.domain.model_spec import ModelSpec, TenstorrentOptions
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine

traces = []
def begin(mesh, cq_id=0):
    traces.append("begin")
    return traces.count("begin")
ttnn.begin_trace_capture = begin
ttnn.end_trace_capture = ttnn.execute_trace = lambda *_, **__: None
ttnn.release_trace = lambda mesh, trace: traces.append(f"release {trace}")

spec = json.loads(sys.argv[1])
engine = TenstorrentEngine()
options = TenstorrentOptions(trace=True, max_batch_size=2, cache_dir=spec["cache"])
engine.load(ModelSpec(engine="tt", name="tiny", path=spec["model"], context_length=spec["context"], options=options), lambda _: None)
card = engine._loaded.card
count = card.mesh.device.num_program_cache_entries
rows = []
for length in spec["prompts"]:
    before, known = count(), len(traces)
    card.model.prefill([[1] * length], first_row=0)
    grown = count() - before
    for step in range(2):
        card.model.decode([1, 0], [length + step, -1], is_first=step == 0)
    rows.append([length, grown, count() - before - grown, traces[known:]])
del card, count
engine.close()
Path(spec["cache"], "rows.json").write_text(json.dumps([rows, traces[-1]]))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("card", CARDS)
def test_a_prompt_that_compiles_programs_has_the_step_recorded_anew(
    card: str, checkout: Path, model_folder: Path, tmp_path: Path
) -> None:
    spec = {"cache": str(tmp_path), "model": str(model_folder), "context": CONTEXT, "prompts": PROMPTS}
    variables = {**mock_card(card), "TT_METAL_HOME": str(checkout), "MAX_PREFILL_CHUNK_SIZE": "2"}
    run(_CODE, tmp_path, json.dumps(spec), **variables)
    rows, last = json.loads((tmp_path / "rows.json").read_text())
    first = {length: programs for length, programs, _, _ in reversed(rows)}
    assert {length for length, programs in first.items() if not programs} == {20, 64, 65, 128, 1000, 8192}
    assert first[129] == first[2100] == 1
    assert first[9000] > 1
    for _, programs, of_decode, traces in rows:
        assert of_decode == 0
        assert [each.split()[0] for each in traces] == (["release", "begin"] if programs else [])
    assert last.startswith("release")
