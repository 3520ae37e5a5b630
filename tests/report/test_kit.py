"""What all pages have in common."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from drydock.report.html.kit import page_environment


def rendered(folder: Path, template: str, **values: object) -> str:
    """A page of one line."""
    (folder / "page.html.j2").write_text(template)
    return page_environment(folder).get_template("page.html.j2").render(**values)


def test_text_of_a_server_stays_text(tmp_path: Path) -> None:
    said = 'gone\x1b]0;title\x07 <script>alert("1")</script>\u202e'
    page = rendered(tmp_path, "<td>{{ said }}</td>", said=said)
    assert not {"\x1b", "\x07", "\u202e"} & set(page)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_value_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        rendered(tmp_path, "{{ result.seed }}", result={})
