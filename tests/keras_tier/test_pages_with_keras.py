"""Code of the pages for users that needs Keras runs, and prints what they say."""

from __future__ import annotations

from pathlib import Path

import pages
import pytest

pytestmark = pytest.mark.keras
PAGES = [page for page in pages.pages() if pages.HEAVY & set(pages.needs(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs_with_keras(page: Path, tmp_path: Path) -> None:
    assert pages.run(page, tmp_path) is None
