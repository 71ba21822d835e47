"""The list of the sampler's rules, which the sampler, the preview and the docs share."""

from __future__ import annotations

from pathlib import Path

from ttchat_tui.domain.sampler_rules import RULES, rules_table
from ttchat_tui.domain.sampling import SamplingParams

DOCS = Path(__file__).parents[2] / "docs" / "sampling.md"


def test_the_docs_have_the_rules_in_the_samplers_order() -> None:
    assert rules_table() in DOCS.read_text(), "paste rules_table() into docs/sampling.md"


def test_each_rule_reads_settings_that_exist() -> None:
    fields = [field for rule in RULES for field in rule.fields]
    assert set(fields) <= set(SamplingParams.__struct_fields__)
    assert len(fields) == len(set(fields))
