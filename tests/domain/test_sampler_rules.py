"""The list of the sampler's rules, which the sampler, the preview and the docs share."""

from __future__ import annotations

from ttchat_tui.domain.sampler_rules import RULES
from ttchat_tui.domain.sampling import SamplingParams


def test_each_rule_reads_settings_that_exist() -> None:
    fields = [field for rule in RULES for field in rule.fields]
    assert set(fields) <= set(SamplingParams.__struct_fields__)
    assert len(fields) == len(set(fields))
