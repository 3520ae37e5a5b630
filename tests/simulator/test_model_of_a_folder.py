"""A server of weights in a folder, as a chart serves those of S3: the folder's name says nothing of the model."""

import pytest

from drydock.engines.engine_args import parse
from drydock.errors import UsageError
from drydock.simulator.server import chosen_setup


def test_weights_in_a_folder_go_by_the_names_that_they_are_served_under() -> None:
    more = ["--max-model-len", "4096"]
    found = chosen_setup(parse(["/model", "--served-model-name", "assistant", "llama-3-8b", *more]))
    assert found.memory == chosen_setup(parse(["meta-llama/Meta-Llama-3-8B-Instruct", *more])).memory


@pytest.mark.parametrize("model", ["/model", "some/other-model"])
def test_what_no_name_tells_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="is not in the catalogue"):
        chosen_setup(parse([model, "--served-model-name", "assistant"]))


def test_a_repository_that_is_not_known_does_not_go_by_its_served_name() -> None:
    with pytest.raises(UsageError, match="is not in the catalogue"):
        chosen_setup(parse(["some/other-model", "--served-model-name", "llama-3-8b"]))
