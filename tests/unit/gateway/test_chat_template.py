from __future__ import annotations

import pytest
from jinja2 import TemplateError

from orchestrator.gateway.chat_template import ChatTemplate
from orchestrator.gateway.errors import InvalidRequest
from tests.unit.gateway.byte_model import CHAT_TEMPLATE

USER = {"role": "user", "content": "Hi"}


def test_a_conversation_ends_with_the_question_for_the_next_message() -> None:
    rendered = ChatTemplate(CHAT_TEMPLATE).render(
        [{"role": "system", "content": "Be brief."}, USER]
    )
    assert rendered == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_lines_that_hold_only_a_tag_leave_no_trace() -> None:
    source = (
        "{% for m in messages %}\n  {% if true %}\n{{ m['content'] }}\n  {% endif %}\n{% endfor %}"
    )
    assert ChatTemplate(source).render([USER]) == "Hi\n"


def test_what_the_template_raises_is_the_clients_mistake() -> None:
    with pytest.raises(InvalidRequest, match="no tools here") as refused:
        ChatTemplate(CHAT_TEMPLATE).render([{"role": "tool", "content": "4"}])
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",  # a conversation is not the template's to change
        "{{ ''.__class__.__mro__ }}",
        "{{ messages[7].content }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_stays_in_its_sandbox_and_its_failures_are_refusals(source: str) -> None:
    with pytest.raises(InvalidRequest):
        ChatTemplate(source).render([USER])


def test_json_in_a_prompt_is_not_escaped_for_a_browser() -> None:
    template = ChatTemplate("{{ messages | tojson }}{{ strftime_now('%%') }}")
    assert template.render([{"role": "user", "content": "<é>"}]) == (
        '[{"role": "user", "content": "<é>"}]%'
    )


def test_the_models_own_tokens_are_at_hand() -> None:
    template = ChatTemplate("{{ bos_token }}|{{ eos_token }}", bos_token="<s>", eos_token="</s>")
    assert template.render([USER]) == "<s>|</s>"


def test_a_source_that_is_no_template_is_told_when_the_model_is_loaded() -> None:
    with pytest.raises(TemplateError):
        ChatTemplate("{% for %}")
