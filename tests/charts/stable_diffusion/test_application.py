"""What draws behind Ray Serve, in the gateway's Python, which has FastAPI; Ray and the model are stood in for.

Ray Serve's own work is collecting requests (`serve.batch`): here a batch is handed over as it would hand it over.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.charts.gateway.conftest import litellm as litellm  # noqa: PLC0414  (a fixture)

FILES = Path(__file__).resolve().parents[3] / "charts" / "kuberay" / "files"
RAY_SERVE = """
class Deployment:
    def __init__(self, kind):
        self.kind, self.settings = kind, {}
    def options(self, **settings):
        self.settings = settings
        return self
    def bind(self, *arguments):
        return self.settings, self.kind(*arguments)

deployment = Deployment

def ingress(api):
    return lambda kind: kind

def batch(draw):
    async def one(self, request):
        (answer,) = await draw(self, [request])
        return answer
    one.whole, one.limits = draw, {}
    one.set_max_batch_size = lambda size: one.limits.update(size=size)
    one.set_batch_wait_timeout_s = lambda seconds: one.limits.update(seconds=seconds)
    return one
"""
DIFFUSERS = """
drawn = []

class Image:
    def __init__(self, told):
        self.told = told
    def save(self, file, format):
        file.write(f"{format} {self.told}".encode())

class Vae:
    def enable_slicing(self):
        drawn.append(["sliced"])

class AutoPipelineForText2Image:
    vae = Vae()
    @classmethod
    def from_pretrained(cls, model, **settings):
        drawn.append(["from", model, sorted(settings)])
        return cls()
    def to(self, device):
        drawn.append(["to", device])
        return self
    def set_progress_bar_config(self, disable):
        pass
    def __call__(self, prompts, width, height):
        drawn.append([prompts, width, height])
        self.images = [Image(f"{prompt} {width}x{height}") for prompt in prompts]
        return self
"""
SCRIPT = """
import asyncio, base64, json, sys
import diffusers, stable_diffusion
settings, application = stable_diffusion.build(
    {"model": "org/xl", "batch_size": 4, "batch_wait_seconds": 0.1, "min_replicas": 1, "max_replicas": 2}
)
given = json.load(sys.stdin)
text = lambda answers: [base64.b64decode(each).decode() for each in answers]
draw = lambda requests: asyncio.run(application._draw.whole(application, [tuple(each) for each in requests]))
whole, large = draw(given["batch"]), draw(given["large"])
refused = 0
for each in given["requests"]:
    try:
        stable_diffusion.Request(**each)
    except ValueError:
        refused += 1
answer = asyncio.run(application.generate(stable_diffusion.Request(**given["request"])))
print(json.dumps({
    "settings": settings, "limits": type(application)._draw.limits, "batch": [text(each) for each in whole],
    "large": [text(each) for each in large],
    "answer": text([each.b64_json for each in answer.data]), "refused": refused, "drawn": diffusers.drawn,
}))
"""


@pytest.fixture(scope="module")
def result(litellm: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the application does with one batch, one request, and requests that are wrong."""
    folder = tmp_path_factory.mktemp("stands-in")
    (folder / "ray").mkdir()
    (folder / "ray/__init__.py").touch()
    (folder / "ray/serve.py").write_text(RAY_SERVE)
    (folder / "torch.py").write_text("float16 = 'float16'\n")
    (folder / "diffusers.py").write_text(DIFFUSERS)
    given = {
        "batch": [["cat", 512, 512, 1], ["dog", 1024, 1024, 2], ["cow", 512, 512, 1]],
        "large": [["ant", 512, 512, 3], ["bee", 512, 512, 4]],
        "request": {"prompt": "fox", "n": 2, "size": "768x512"},
        "requests": [
            {"prompt": ""},
            {"prompt": "cat", "n": 5},
            {"prompt": "cat", "size": "4096x4096"},
            {"prompt": "cat", "response_format": "url"},
            {"prompt": "cat", "quality": "hd"},
        ],
    }
    done = subprocess.run(
        [str(litellm / "python"), "-c", SCRIPT],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        env={"PYTHONPATH": f"{folder}:{FILES}", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_replica_has_one_gpu_and_the_limits_of_the_values(result: Any) -> None:
    assert result["settings"]["ray_actor_options"] == {"num_gpus": 1}
    assert result["settings"]["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 2}
    assert result["limits"] == {"size": 4, "seconds": 0.1}
    (loaded, device, sliced, *_) = result["drawn"]
    assert loaded[:2] == ["from", "org/xl"]
    assert device == ["to", "cuda"]
    assert sliced == ["sliced"], "decoding all pictures at once takes 4.4 GiB for each"


def test_requests_of_one_size_are_drawn_together_and_each_gets_its_own(result: Any) -> None:
    assert result["batch"] == [
        ["PNG cat 512x512"],
        ["PNG dog 1024x1024", "PNG dog 1024x1024"],
        ["PNG cow 512x512"],
    ]
    assert result["drawn"][3:5] == [[["cat", "cow"], 512, 512], [["dog", "dog"], 1024, 1024]]


def test_no_more_pictures_are_drawn_at_once_than_fit(result: Any) -> None:
    assert result["large"] == [["PNG ant 512x512"] * 3, ["PNG bee 512x512"] * 4]
    assert [prompts for prompts, *_ in result["drawn"][5:7]] == [["ant"] * 3 + ["bee"], ["bee"] * 3]


def test_one_request_is_answered_as_openais_api_answers(result: Any) -> None:
    assert result["answer"] == ["PNG fox 768x512", "PNG fox 768x512"]


def test_what_is_not_offered_is_refused(result: Any) -> None:
    assert result["refused"] == 5
