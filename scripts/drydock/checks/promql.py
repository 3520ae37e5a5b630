"""The metrics that an expression of PromQL names."""

import re

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|#[^\n]*')
_LABELS = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAMED = re.compile(r"""\{[^{}]*__name__\s*=\s*["']([a-zA-Z_:][\w:]*)["']""")
_VARIABLE = re.compile(r"\$\{?\w+(?::\w+)?\}?")
_NAME = re.compile(r"(?<![\w.:$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORD = re.compile(
    r"(?i)and|or|unless|bool|offset|by|without|on|ignoring|group_left|group_right|start|end|inf|nan|atan2"
)


def metric_names(expression: str) -> tuple[str, ...]:
    """Names of the metrics in an expression, in order, each once.

    >>> metric_names('sum by (pod) (rate(vllm:prompt_tokens_total{model_name="a"}[5m])) / 2')
    ('vllm:prompt_tokens_total',)
    """
    named = _NAMED.findall(expression)
    bare = _LABELS.sub(" ", _VARIABLE.sub("1", _TEXT.sub('""', expression)))
    found = [word for word in _NAME.findall(bare) if not _WORD.fullmatch(word)]
    return tuple(dict.fromkeys([*named, *found]))
