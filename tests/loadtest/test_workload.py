"""What is sent: bodies, lengths, files of prompts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drydock.errors import UsageError
from drydock.loadtest.dialects import Dialect, Parameter, dialect
from drydock.loadtest.plan_file import plan_facts, plan_from
from drydock.loadtest.presets import dataset, preset, presets
from drydock.loadtest.prompts import Prompts, draw_lengths
from drydock.loadtest.secrets import Secret
from drydock.loadtest.settings import (
    Constant,
    Endpoint,
    Gamma,
    Lengths,
    LoadPlan,
    Stage,
    Target,
    Trace,
    Workload,
)

FIXED = Workload("fixed", Lengths("fixed", 20), Lengths("fixed", 5))


def plan(workload: Workload = FIXED, endpoint: Endpoint = "chat", **target: Any) -> LoadPlan:
    return LoadPlan(Target("http://localhost:1", "base", endpoint, **target), workload, Stage(Constant(1), 1))


def bodies(of: LoadPlan, numbers: int = 1) -> list[dict[str, Any]]:
    prompts = Prompts(of)
    return [json.loads(prompts.conversation(number).body(0)) for number in range(numbers)]


def words(body: dict[str, Any]) -> list[str]:
    text: str = body["messages"][-1]["content"]
    return text.split()


def test_a_chat_asks_for_usage_in_its_stream_and_for_all_its_tokens() -> None:
    (body,) = bodies(plan())

    assert body["model"] == "base"
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 5
    assert body["ignore_eos"] is True
    assert len(words(body)) == 20


def test_without_streaming_no_stream_options_are_sent() -> None:
    (body,) = bodies(plan(stream=False))

    assert "stream" not in body
    assert "stream_options" not in body


def test_an_end_left_to_the_model_asks_for_no_number() -> None:
    (body,) = bodies(plan(replace(FIXED, output=None)))

    assert "max_tokens" not in body
    assert "ignore_eos" not in body


def test_what_the_user_adds_to_the_body_wins() -> None:
    (body,) = bodies(plan(dialect=Dialect(add={"temperature": 0, "ignore_eos": False})))

    assert body["temperature"] == 0
    assert body["ignore_eos"] is False


def test_token_ids_go_to_completions_only() -> None:
    (body,) = bodies(plan(replace(FIXED, token_ids=True, shared_prefix_tokens=7), "completions"))

    assert len(body["prompt"]) == 27
    assert all(isinstance(each, int) for each in body["prompt"])
    with pytest.raises(UsageError, match="completions"):
        plan(replace(FIXED, token_ids=True))


def test_no_two_conversations_begin_alike_but_by_their_shared_prefix() -> None:
    found = bodies(plan(), 3000)
    assert len({tuple(words(body)[:4]) for body in found}) == 3000

    shared = bodies(plan(replace(FIXED, shared_prefix_tokens=8, prefix_groups=3)), 100)
    assert len({body["messages"][0]["content"] for body in shared}) == 3
    assert all(body["messages"][0]["role"] == "system" for body in shared)


def test_a_turn_repeats_all_before_it_and_the_answers() -> None:
    conversation = Prompts(plan(replace(FIXED, turns=3))).conversation(0)

    first = json.loads(conversation.body(0))["messages"]
    conversation.heard('an "answer"\n')
    second = json.loads(conversation.body(1))["messages"]

    assert conversation.turns == 3
    assert second[:1] == first
    assert second[1] == {"role": "assistant", "content": 'an "answer"\n'}
    assert second[2]["role"] == "user"


def test_a_turn_of_completions_continues_the_text() -> None:
    conversation = Prompts(plan(replace(FIXED, turns=2), "completions")).conversation(0)

    first = json.loads(conversation.body(0))["prompt"]
    conversation.heard(" answer")
    second = json.loads(conversation.body(1))["prompt"]

    assert second.startswith(first + " answer")
    assert len(second) > len(first + " answer")


def test_adapters_are_drawn_evenly() -> None:
    asked = [body["model"] for body in bodies(plan(loras=("a", "b")), 400)]

    assert set(asked) == {"a", "b"}
    assert 140 < asked.count("a") < 260


def test_the_same_seed_sends_the_same_and_another_seed_something_else() -> None:
    assert bodies(plan(), 3) == bodies(plan(), 3)
    assert bodies(replace(plan(), seed=1), 3) != bodies(plan(), 3)


@pytest.mark.parametrize(
    ("lengths", "mean", "deviation"),
    [
        (Lengths("fixed", 100), 100, 0),
        (Lengths("uniform", minimum=50, maximum=150), 100, 29.2),
        (Lengths("normal", 100, 10), 100, 10),
        (Lengths("lognormal", 100, 50), 100, 50),
        (Lengths("exponential", 100), 100, 100),
    ],
)
def test_lengths_have_the_mean_and_deviation_asked_for(lengths: Lengths, mean: float, deviation: float) -> None:
    drawn = draw_lengths(lengths, np.random.default_rng(0), (200_000,))

    assert drawn.mean() == pytest.approx(mean, rel=0.02)
    assert drawn.std() == pytest.approx(deviation, rel=0.05, abs=0.5)


def test_lengths_stay_within_their_bounds() -> None:
    drawn = draw_lengths(Lengths("normal", 10, 50, minimum=4, maximum=20), np.random.default_rng(0), (1000,))

    assert drawn.min() == 4
    assert drawn.max() == 20


@pytest.mark.parametrize("name", presets())
def test_every_preset_makes_requests(name: str) -> None:
    workload = preset(name)

    body = bodies(plan(workload))[0]

    assert body["max_tokens"] >= 4
    assert len(words(body)) >= workload.input.minimum


def test_an_unknown_preset_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"no workload 'chats'[^$]*chat, conversation"):
        preset("chats")


def test_a_file_of_prompts_is_sent_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    history = [{"role": "system", "content": "S"}, {"role": "user", "content": "Grüße"}]
    lines = [{"prompt": "one", "output_tokens": 3}, {"messages": history}, {"turns": ["a", "b"], "max_tokens": 9}]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")

    prompts = Prompts(plan(dataset(file, output=Lengths("fixed", 7))))
    found = [prompts.conversation(number) for number in range(4)]
    sent = [json.loads(conversation.body(0)) for conversation in found]

    assert [body["messages"][-1]["content"] for body in sent] == ["one", "Grüße", "a", "one"]
    assert [body["max_tokens"] for body in sent] == [3, 7, 9, 3]
    assert sent[1]["messages"] == history
    assert [conversation.turns for conversation in found] == [1, 1, 2, 1]


def test_token_ids_of_a_file_go_to_completions(tmp_path: Path) -> None:
    file = tmp_path / "ids.jsonl"
    file.write_text('{"prompt": [1, 2, 3]}')

    assert bodies(plan(dataset(file), "completions"))[0]["prompt"] == [1, 2, 3]
    with pytest.raises(UsageError, match="completions"):
        bodies(plan(dataset(file)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "no object"),
        ("{}", "one of prompt, turns and messages"),
        ('{"prompt": "a", "turns": ["b"]}', "prompt and turns"),
        ('{"prompt": ""}', "prompt is empty"),
        ('{"prompt": [1, "a"]}', "wrong form"),
        ('{"turns": []}', "turns is empty"),
        ('{"messages": [{"role": "robot", "content": ""}]}', "messages"),
        ('{"messages": [{"role": "assistant", "content": "last"}]}', "messages"),
        ('{"prompt": "a", "output_tokens": 0}', "output_tokens is 0"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "good"}\n' + line)

    with pytest.raises(UsageError, match=rf"prompts.jsonl, line 2: .*{said}"):
        dataset(file)


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text("\n\n")

    with pytest.raises(UsageError, match="holds no prompts"):
        dataset(file)
    with pytest.raises(UsageError, match="cannot read"):
        dataset(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("stage", [Stage(Gamma(3, 0.5), 2, 1, 9), Stage(Trace((0.0, 1.0)), 5)])
def test_a_plan_survives_its_file_and_its_key_never_goes_in(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    workload = replace(FIXED, dataset=file)
    made = replace(plan(workload, api_key=Secret("s3cret"), loras=("a",), dialect=DIALECT), stage=stage)

    text = json.dumps(plan_facts(made))

    assert "s3cret" not in text + repr(made) + str(made.target.api_key)
    assert plan_from(json.loads(text), Secret("s3cret"), ["hush"]) == made
    assert "hush" not in text + repr(made)


def test_a_key_comes_from_environment_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    monkeypatch.setenv("SOME_KEY", "from-variable")

    assert Secret.from_file(file).reveal() == "from-file"
    assert Secret.from_environment("SOME_KEY").reveal() == "from-variable"
    with pytest.raises(UsageError, match="OTHER_KEY"):
        Secret.from_environment("OTHER_KEY")
    with pytest.raises(UsageError, match="cannot read"):
        Secret.from_file(tmp_path / "absent")


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host", "http://", "http://host:port", "http://u:p@host"])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the URL"):
        Target(url, "model")


DIALECT = Dialect(
    key_header="api-key",
    headers=(Parameter("X-Tenant", "dock"), Parameter("X-Token", Secret("hush"))),
    query=(Parameter("api-version", "1"),),
    rename={"max_tokens": "max_completion_tokens"},
    drop=("ignore_eos",),
    add={"top_k": 1},
)


def test_fields_of_a_body_are_renamed_dropped_and_added() -> None:
    (body,) = bodies(plan(dialect=DIALECT))
    assert body["max_completion_tokens"] > 0
    assert body["top_k"] == 1
    assert not {"max_tokens", "ignore_eos"} & body.keys()


@pytest.mark.parametrize("name", ["vllm", "openai", "strict", "azure", "azure-v1"])
def test_every_carried_api_makes_a_request(name: str) -> None:
    made = dialect(
        name, drop=["stream_options"], add=["top_k=5", "user=dock", 'stop=["a"]'], rename=["stream=streaming"]
    )
    (body,) = bodies(plan(dialect=made))
    assert (body["top_k"], body["user"], body["stop"], body["streaming"]) == (5, "dock", ["a"], True)
    assert "stream_options" not in body


def test_the_path_of_azure_holds_the_deployment() -> None:
    made = dialect("azure", query=[Parameter("api-version", "2026-01-01")])
    path = made.request_path("/", "/chat/completions", "my gpt")
    assert path == "/openai/deployments/my%20gpt/chat/completions?api-version=2026-01-01"


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
    ],
)
def test_messages_of_any_shape_are_sent_as_they_are(tmp_path: Path, message: dict[str, Any]) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]}
    file = tmp_path / "images.jsonl"
    file.write_text(json.dumps({"messages": [call, message]}))
    (body,) = bodies(plan(dataset(file)))
    assert body["messages"] == [call, message]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "bedrock"}, "there is no API 'bedrock'"),
        ({"name": "vllm", "rename": ["max_tokens"]}, "--rename-field max_tokens: not NAME=VALUE"),
        ({"name": "vllm", "add": ["=1"]}, "--body =1"),
    ],
)
def test_a_wrong_dialect_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dialect(**given)


@pytest.mark.parametrize(("name", "value"), [("Host", "x"), ("a b", "x"), ("X-A", "a\r\nX-B: 1"), ("X-A", "ключ")])
def test_a_header_that_cannot_be_sent_is_told(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        Parameter(name, Secret(value))
    assert value not in str(caught.value) or value == "x"
