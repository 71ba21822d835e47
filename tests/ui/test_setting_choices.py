"""The choices for `/retry`: each setting has words, and what is offered is what `/retry` takes."""

from __future__ import annotations

import shlex

import pytest

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.reply_settings import ReplySettings, parse_reply_settings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.ui.setting_choices import MODEL, setting_names, setting_values

CHANGED = SamplingParams(
    temperature=1.5,
    seed=7,
    stop=("the end",),
    logit_bias={" the": -100.0},
    constraint=Constraint("regex", "[0-9]+ ('|\")"),
    thinking="off",
)


@pytest.mark.parametrize("now", [SamplingParams(), CHANGED], ids=["default", "changed"])
def test_what_is_offered_for_a_setting_is_taken_and_its_present_value_changes_nothing(
    now: SamplingParams,
) -> None:
    names = [name for name, _ in setting_names(now)]
    assert names == [MODEL, *(each.replace("_", "-") for each in SamplingParams.__struct_fields__)]
    for name in names[1:]:
        values = setting_values(name, now, SamplingParams(), ("off", "on"))
        assert values.offered or values.allowed, name
        for value, about in values.offered:
            settings = parse_reply_settings(f"{name}={shlex.quote(value)}")
            assert isinstance(settings, ReplySettings), (name, value)
            assert not about.startswith("now") or settings.over(now) == now, (name, value)


def test_the_names_show_a_constraint_that_can_be_typed_and_no_text_of_a_file() -> None:
    def about(constraint: Constraint | None) -> str:
        names = dict(setting_names(SamplingParams(constraint=constraint)))
        return names["constraint"].rpartition(" or off")[2]

    assert about(None) == ", now off"
    assert about(Constraint("regex", "[0-9]+")) == ", now regex [0-9]+"
    assert about(Constraint("choices", 'yes,"no, thanks"')) == ', now choices yes, "no, thanks"'
    assert about(Constraint("choices", f"yes,{'x' * 99}")) == ""
    assert about(Constraint("json-schema", '{"title": "Person"}')) == ""
    assert about(Constraint("regex", "x" * 500)) == "", "a part of it is another one"
    assert setting_values("constraint", CHANGED, SamplingParams(), ()).offered[0][0] == "regex [0-9]+ ('|\")"
