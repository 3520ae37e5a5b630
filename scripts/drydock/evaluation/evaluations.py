"""What an evaluation found of a model, how it compares with another one's, and whether gates let it through."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drydock.evaluation.answering import Reply
from drydock.evaluation.intervals import Estimate, difference, middle, paired_p, percentile, share
from drydock.evaluation.questions import Question

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens."""

    prompts: float
    answers: float


@dataclass(frozen=True)
class Evaluation:
    """A model's replies to questions.

    Attributes:
        model: its name in requests.
        questions: that were asked.
        replies: one for each.
        prices: None where they are not known.
    """

    model: str
    questions: Sequence[Question]
    replies: Sequence[Reply]
    prices: Prices | None = None

    @property
    def score(self) -> Estimate:
        """Share of questions that were answered right; one without an answer was not."""
        return share(sum(reply.right for reply in self.replies), len(self.replies))

    @property
    def errors(self) -> int:
        """Questions without an answer."""
        return sum(bool(reply.error) for reply in self.replies)

    @property
    def cut_off(self) -> int:
        """Answers that ended at `max_tokens`."""
        return sum(reply.cut_off for reply in self.replies)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Of requests that were answered at the first try."""
        return tuple(reply.seconds for reply in self.replies if reply.seconds is not None and not reply.error)

    @property
    def cost(self) -> float | None:
        """Of all answers, in the currency of the prices."""
        if self.prices is None:
            return None
        prompts = sum(reply.prompt_tokens for reply in self.replies) * self.prices.prompts
        return (prompts + sum(reply.completion_tokens for reply in self.replies) * self.prices.answers) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Measures, as JSON holds them; null where nothing was measured."""
        times = self.seconds
        return {
            "model": self.model,
            "questions": len(self.questions),
            "errors": self.errors,
            "cutOff": self.cut_off,
            "score": asdict(self.score),
            "medianSeconds": asdict(middle(times)) if times else None,
            "p95Seconds": percentile(times, 95) if times else None,
            "promptTokens": sum(reply.prompt_tokens for reply in self.replies),
            "completionTokens": sum(reply.completion_tokens for reply in self.replies),
            "cost": self.cost,
        }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same questions.

    Attributes:
        first: the model under evaluation.
        second: what it is compared with.
        difference: score of the first minus that of the second.
        p: probability of such a difference between equally good models.
    """

    first: Evaluation
    second: Evaluation
    difference: Estimate
    p: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the difference is significant (p below 0.05), else `no significant difference`."""
        if self.p >= _SIGNIFICANT:
            return "no significant difference"
        return "better" if self.difference.value > 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        head = {"with": self.second.model, "verdict": self.verdict, "p": self.p}
        return {**head, "difference": asdict(self.difference)}


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare two models, question by question."""
    pairs = list(zip(first.replies, second.replies, strict=True))
    only_first = sum(one.right and not other.right for one, other in pairs)
    only_second = sum(other.right and not one.right for one, other in pairs)
    return Comparison(first, second, difference(only_second, only_first, len(pairs)), paired_p(only_second, only_first))


@dataclass(frozen=True)
class Gate:
    """A limit and whether the evaluation is within it.

    Attributes:
        name: of the measure.
        limit: that it has to keep.
        verdict: `passed`, `failed`, or `undecided` where the interval holds the limit: more questions would decide.
        reason: the measure beside the limit.
    """

    name: str
    limit: float
    verdict: str
    reason: str


@dataclass(frozen=True)
class Limits:
    """Limits of an evaluation; None sets none.

    Attributes:
        score: least share of right answers; the lower end of the interval has to reach it.
        drop: most that the score may lie below the other model's; the interval has to show it.
        p95_seconds: longest 95th percentile of latency.
        cost: most that all answers may cost.
        errors: most questions without an answer, as a share.
    """

    score: float | None = None
    drop: float | None = None
    p95_seconds: float | None = None
    cost: float | None = None
    errors: float = 0.0


def gates(evaluation: Evaluation, comparison: Comparison | None, limits: Limits) -> tuple[Gate, ...]:
    """The gates of an evaluation; what was not measured passes none."""
    return tuple(_gates(evaluation, comparison, limits))


def _gates(evaluation: Evaluation, comparison: Comparison | None, limits: Limits) -> Iterator[Gate]:
    errors = evaluation.errors / len(evaluation.replies)
    yield _measured("errors", errors, limits.errors, f"{evaluation.errors} of {len(evaluation.replies)} questions")
    if limits.score is not None:
        yield _estimated("score", evaluation.score, limits.score)
    if limits.drop is not None and comparison is not None:
        yield _estimated("difference", comparison.difference, -limits.drop)
    if limits.p95_seconds is not None:
        times = evaluation.seconds
        value = percentile(times, 95) if times else None
        yield _measured("p95Seconds", value, limits.p95_seconds, f"{value:.2f} s" if value is not None else "")
    if limits.cost is not None:
        cost = evaluation.cost
        yield _measured("cost", cost, limits.cost, f"{cost:.4g}" if cost is not None else "")


def _estimated(name: str, estimate: Estimate, limit: float) -> Gate:
    verdict = PASSED if estimate.low >= limit else FAILED if estimate.high < limit else UNDECIDED
    reason = (
        f"{estimate.value:.3f}, between {estimate.low:.3f} and {estimate.high:.3f}; at least {limit:g} is asked for"
    )
    return Gate(name, limit, verdict, reason)


def _measured(name: str, value: float | None, limit: float, shown: str) -> Gate:
    if value is None:
        return Gate(name, limit, FAILED, "not measured")
    return Gate(name, limit, PASSED if value <= limit else FAILED, f"{shown}; at most {limit:g} is asked for")


def to_dict(evaluation: Evaluation, comparison: Comparison | None, found: Sequence[Gate]) -> Mapping[str, Any]:
    """A whole result, as JSON holds it."""
    return {
        **evaluation.to_dict(),
        "comparison": None if comparison is None else {**comparison.second.to_dict(), **comparison.to_dict()},
        "gates": [asdict(gate) for gate in found],
        "passed": all(gate.verdict == PASSED for gate in found),
    }


def items(evaluation: Evaluation, comparison: Comparison | None) -> list[dict[str, Any]]:
    """Each question with its answers, as JSON holds it."""
    others = comparison.second.replies if comparison else [None] * len(evaluation.replies)
    return [
        {
            "id": question.id,
            "messages": list(question.messages),
            "expected": list(question.expected),
            **asdict(reply),
            **({} if other is None else {"against": asdict(other)}),
        }
        for question, reply, other in zip(evaluation.questions, evaluation.replies, others, strict=True)
    ]
