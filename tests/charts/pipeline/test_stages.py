"""The stages that need no torch, and of those that do the parts around it."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.charts.pipeline.conftest import Script

ROWS = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(400)]


def write(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(folder: Path) -> dict[str, set[str]]:
    return {file.stem: set(file.read_text().splitlines()) for file in folder.glob("*.jsonl")}


def test_splits_do_not_meet_and_stay_when_data_is_added(script: Script, tmp_path: Path) -> None:
    stage = script("data_preparation")
    few = write(tmp_path / "few.jsonl", [*ROWS[:300], *ROWS[:50]])
    assert sum(stage.prepare(few, tmp_path / "one", 0.1, 0.1, 0).values()) == 300, "duplicates are left out"
    stage.prepare(write(tmp_path / "all.jsonl", ROWS), tmp_path / "two", 0.1, 0.1, 0)
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert set(one) == {"train", "validation", "test"}
    assert len(set.union(*two.values())) == sum(map(len, two.values())) == 400
    assert all(one[name] < two[name] for name in one)
    assert 20 <= len(two["test"]) <= 70


def test_answers_to_one_prompt_stay_together(script: Script) -> None:
    stage = script("data_preparation")
    for number in range(50):
        splits = {
            stage.split_of({"prompt": f"p{number}", "completion": answer}, 0.3, 0.3) for answer in ("a", "b", "c")
        }
        assert len(splits) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r"raw\.jsonl:2: not JSON"),
        ("[1]", r"raw\.jsonl:2: not an object"),
        ('{"prompt": "a"}', r"raw\.jsonl:2: needs prompt and completion, or text"),
        ('{"prompt": 1, "completion": "b"}', "needs prompt and completion"),
        ('{"text": " "}', "neither may be empty"),
    ],
)
def test_a_line_that_is_no_example_is_named(script: Script, tmp_path: Path, line: str, reason: str) -> None:
    stage = script("data_preparation")
    file = tmp_path / "raw.jsonl"
    file.write_text(f'{{"text": "first"}}\n{line}\n')
    with pytest.raises(stage.BadDataError, match=reason):
        stage.prepare(file, tmp_path / "out", 0.1, 0.1, 0)


def test_too_little_data_is_said(script: Script, tmp_path: Path) -> None:
    stage = script("data_preparation")
    with pytest.raises(stage.BadDataError, match="no example is left for"):
        stage.prepare(write(tmp_path / "raw.jsonl", ROWS[:1]), tmp_path / "out", 0.1, 0.1, 0)


def test_data_comes_from_s3(script: Script, bucket: str, tmp_path: Path) -> None:
    stage, storage = script("data_preparation"), script("storage")
    write(tmp_path / "raw" / "part-1.jsonl", ROWS[:200])
    write(tmp_path / "raw" / "part-2.jsonl", ROWS[200:])
    storage.put(tmp_path / "raw", f"{bucket}/raw")
    report = tmp_path / "report.json"
    arguments = ["--source", f"{bucket}/raw", "--dataset", str(tmp_path / "out"), "--report", str(report)]
    assert stage.main(arguments) == 0
    assert sum(json.loads(report.read_text())["examples"].values()) == 400


def configure(script: Script, file: Path, **given: Any) -> Any:
    arguments = ["--base-model", "org/base", "--configuration", str(file)]
    for name, value in given.items():
        arguments += [f"--{name}", json.dumps(value)]
    assert script("model_configuration").main(arguments) == 0
    return json.loads(file.read_text())


def test_settings_of_values_become_those_of_the_training(script: Script, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    written = configure(script, file, settings={"learningRate": 0.001, "batchSize": 4})
    assert (written["learning_rate"], written["batch_size"], written["base_model"]) == (0.001, 4, "org/base")
    trial = script("model_configuration").load(str(file), {"name": "trial-1", "learningRate": 0.01})
    assert (trial.learning_rate, trial.batch_size) == (0.01, 4)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"settings": {"learningrate": 1}}, "learningrate: no setting"),
        ({"settings": {"learningRate": 0}}, "learningRate: 0 is not between"),
        ({"settings": {"epochs": 1.5}}, "no whole number"),
        ({"settings": {"epochs": "many"}}, "is no number"),
        ({"trials": [{"learningRate": 0.1}]}, "each needs a name"),
        ({"trials": [{"name": "a"}, {"name": "a"}]}, "each needs a name of its own"),
        ({"trials": [{"name": "t1'; id > /tmp/x; echo '"}]}, "each needs a name of its own"),
        ({"trials": [{"name": "../best"}]}, "each needs a name of its own"),
        ({"trials": [{"name": "a\nserviceAccountName: b"}]}, "each needs a name of its own"),
        ({"trials": [{"name": 7}]}, "each needs a name of its own"),
        ({"trials": [{"name": "base"}]}, "other than base"),
        ({"trials": [{"name": "a", "epochs": 0}]}, "epochs: 0 is not between"),
    ],
)
def test_a_bad_setting_is_refused_before_a_gpu_is_bought(
    script: Script, tmp_path: Path, given: Mapping[str, Any], reason: str
) -> None:
    stage = script("model_configuration")
    with pytest.raises(stage.BadSettingError, match=reason):
        configure(script, tmp_path / "c.json", **given)


def test_the_model_with_the_lowest_loss_is_taken(script: Script, tmp_path: Path) -> None:
    stage = script("hyperparameter_tuning")
    for name, loss in ("base", 0.4), ("trial-1", 0.2), ("trial-2", 0.3), ("trial-3", 0.2):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "loss": loss, "model": f"s3://m/{name}"}))
    assert stage.main(["--candidates", str(tmp_path), "--best", str(tmp_path / "out" / "best.json")]) == 0
    assert json.loads((tmp_path / "out" / "best.json").read_text())["model"] == "s3://m/trial-1"
    with pytest.raises(stage.NoCandidateError):
        stage.main(["--candidates", str(tmp_path / "none"), "--best", str(tmp_path / "best")])


def test_the_gate_asks_for_a_score_and_a_gain(script: Script) -> None:
    refusals = script("evaluation").refusals
    base, best = {"accuracy": 0.5}, {"accuracy": 0.6}
    assert refusals(best, base, 0.6, 0.05) == []
    assert "below the minimum of 0.7000" in refusals(best, base, 0.7, 0.05)[0]
    assert "gains +0.1000" in refusals(best, base, 0.6, 0.2)[0]
    assert len(refusals({"accuracy": 0.4}, base, 0.5, 0.0)) == 2, "a model that is worse than its base is refused"


class Words:
    """A tokenizer: one number a word."""

    eos_token_id = 0

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [*([99] if add_special_tokens else []), *(len(word) for word in text.split())]}


def test_the_completion_is_learnt_and_the_prompt_is_not(script: Script) -> None:
    module = script("language_model")
    assert module.encode(Words(), {"prompt": "a bb", "completion": "ccc"}, 10) == (
        [99, 1, 2, 3, 0],
        [-100, -100, -100, 3, 0],
    )
    assert module.encode(Words(), {"prompt": "", "completion": "ccc"}, 10) == ([99, 3, 0], [99, 3, 0])
    assert module.encode(Words(), {"prompt": "a bb", "completion": "ccc"}, 4)[0] == [99, 1, 2, 3]


def test_batches_are_filled_up_with_what_counts_for_nothing(script: Script) -> None:
    tokens, labels, mask = script("language_model").padded([([5, 6], [5, 6]), ([7], [7])], 0)
    assert (tokens, labels, mask) == ([[5, 6], [7, 0]], [[5, 6], [7, -100]], [[1, 1], [1, 0]])


def test_a_second_try_sees_the_examples_in_the_same_order(script: Script) -> None:
    module = script("language_model")
    assert module.order(100, 1, 2) == module.order(100, 1, 2)
    assert module.order(100, 1, 2) != module.order(100, 1, 3)
    assert sorted(module.order(100, 1, 2)) == list(range(100))


def test_the_learning_rate_rises_and_falls(script: Script) -> None:
    rate = script("language_model").learning_rate
    rates = [rate(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_only_a_whole_checkpoint_of_the_same_settings_is_gone_on_from(script: Script, bucket: str) -> None:
    stage, storage = script("fine_tuning"), script("storage")
    settings = script("model_configuration").Settings("org/base")
    place = f"{bucket}/checkpoints/base"
    assert stage.latest_step(place, settings) == 0
    storage.write_json({}, f"{place}/step-200/state.pt")
    assert stage.latest_step(place, settings) == 0, "it was being written when the node went"
    storage.write_json({"step": 200, "settings": vars(settings)}, f"{place}/latest.json")
    assert stage.latest_step(place, settings) == 200
    assert stage.latest_step(place, settings.but({"learningRate": 0.5})) == 0


def test_the_checkpoint_before_the_last_is_removed(script: Script, bucket: str) -> None:
    stage, storage = script("fine_tuning"), script("storage")
    settings = script("model_configuration").Settings("org/base")
    place = f"{bucket}/checkpoints/base"
    for step in (100, 200, 200):
        storage.write_json({}, f"{place}/step-{step}/state.pt")
        stage.publish(place, step, settings)
    assert stage.latest_step(place, settings) == 200
    assert storage.read_json(f"{place}/step-200/state.pt") == {}
    with pytest.raises(storage.NotThereError):
        storage.read_json(f"{place}/step-100/state.pt")


def test_what_is_on_the_gpu_at_once_has_the_tokens_of_one_longest_example(script: Script) -> None:
    module = script("language_model")
    examples = [([1] * length, [-100, *[1] * (length - 1)]) for length in (4, 4, 8, 2, 2, 3)]
    portions = list(module.portions(examples, 8))
    assert [len(portion) for portion in portions] == [2, 1, 2, 1]
    assert [example for portion in portions for example in portion] == examples
    assert all(max(len(tokens) for tokens, _ in portion) * len(portion) <= 8 for portion in portions)
    assert [module.targets(portion) for portion in portions] == [6, 7, 2, 2]
    assert module.targets([([5], [5])]) == 0


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=ANY_TEXT | st.from_regex(r"[a-z0-9-]{1,42}", fullmatch=True), models=ANY_TEXT, changes=ANY_TEXT)
def test_arguments_of_a_ray_job_are_what_people_chose_or_refused(
    script: Script, name: str, models: str, changes: str
) -> None:
    stage, configuration = script("fine_tuning"), script("model_configuration")
    chosen = {"TRAINING_NAME": name, "TRAINING_MODELS": models, "TRAINING_CHANGES": changes}
    environment = {key: base64.b64encode(value.encode()).decode() for key, value in chosen.items()}
    environment |= {"TRAINING_FOLDER": "s3://artifacts/run", "TRAINING_RUN": "run"}
    if not configuration.is_name(name):
        with pytest.raises(configuration.BadSettingError):
            stage.arguments_of(environment)
        return
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert stage.arguments_of(environment) == [
        "--dataset=s3://artifacts/run/dataset",
        "--configuration=s3://artifacts/run/configuration.json",
        f"--changes={changes}",
        f"--checkpoint=s3://artifacts/run/checkpoints/{name}",
        f"--model={models.rstrip('/')}/run/{name}",
    ]
