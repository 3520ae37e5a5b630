"""Stable Diffusion XL behind Ray Serve: `POST /v1/images/generations` in the shape of OpenAI's API, answers in base64.

Requests that come together are drawn together: the GPU takes several prompts in little more time than one.
"""

import base64
import io
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from ray import serve

api = FastAPI()


class Request(BaseModel):
    """What is to be drawn; other fields of OpenAI's API are refused, so that nobody relies on them."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, max_length=2000)
    model: str = ""
    n: int = Field(default=1, ge=1, le=4)
    size: str = Field(default="1024x1024", pattern=r"^(512|768|1024)x(512|768|1024)$")
    response_format: str = Field(default="b64_json", pattern="^b64_json$")


class Image(BaseModel):
    """One picture: a PNG in base64."""

    b64_json: str


class Response(BaseModel):
    """The pictures of a request."""

    data: list[Image]


# Before the class: Ray takes its surroundings as they are where it is decorated.
def _encoded(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


@serve.deployment
@serve.ingress(api)
class StableDiffusion:
    """One pipeline on one GPU.

    Args:
        model: id on the Hugging Face Hub, or a folder.
        batch_size: pictures that are drawn together at most, and requests that are collected for it.
        batch_wait_seconds: that the first of them waits for others.
    """

    def __init__(self, model: str, batch_size: int, batch_wait_seconds: float) -> None:
        import torch
        from diffusers import AutoPipelineForText2Image

        self._pipeline = AutoPipelineForText2Image.from_pretrained(
            model, torch_dtype=torch.float16, variant="fp16", use_safetensors=True
        ).to("cuda")
        self._pipeline.set_progress_bar_config(disable=True)
        # Decoding in 32 bit takes 4.4 GiB a picture of 1024x1024: one after another, or four would not fit into 22 GiB.
        self._pipeline.vae.enable_slicing()
        self._batch_size = batch_size
        self._draw.set_max_batch_size(batch_size)
        self._draw.set_batch_wait_timeout_s(batch_wait_seconds)

    @api.get("/health")
    async def health(self) -> dict[str, str]:
        """For probes."""
        return {"status": "ok"}

    @api.post("/v1/images/generations")
    async def generate(self, request: Request) -> Response:
        """Draw `n` pictures of a prompt."""
        width, height = (int(part) for part in request.size.split("x"))
        images = await self._draw((request.prompt, width, height, request.n))
        return Response(data=[Image(b64_json=each) for each in images])

    @serve.batch
    async def _draw(self, requests: list[tuple[str, int, int, int]]) -> list[list[str]]:
        """Pictures of each request; those of one size are drawn together, at most `batch_size` at once."""
        answers: list[list[str]] = [[] for _ in requests]
        sizes = dict.fromkeys(request[1:3] for request in requests)
        for width, height in sizes:
            wanted = [
                (index, request[0])
                for index, request in enumerate(requests)
                if request[1:3] == (width, height)
                for _ in range(request[3])
            ]
            # A request asks for up to four pictures, so a batch of requests may be more than the GPU was sized for.
            for start in range(0, len(wanted), self._batch_size):
                part = wanted[start : start + self._batch_size]
                drawn = self._pipeline([prompt for _, prompt in part], width=width, height=height).images
                for (index, _), image in zip(part, drawn, strict=True):
                    answers[index].append(_encoded(image))
        return answers


def build(args: dict[str, Any]) -> Any:
    """The application, from `args` of Ray Serve's configuration."""
    scaling = {"min_replicas": args["min_replicas"], "max_replicas": args["max_replicas"]}
    deployment = StableDiffusion.options(
        ray_actor_options={"num_gpus": 1}, autoscaling_config=scaling, max_ongoing_requests=4 * args["batch_size"]
    )
    return deployment.bind(args["model"], args["batch_size"], args["batch_wait_seconds"])
