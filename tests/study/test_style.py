"""The book's one style of tables."""

import pandas as pd

from pat.study.style import captioned

TABLE = pd.DataFrame({"share": [0.5]}, index=["row"])


def test_a_table_has_its_caption_and_the_books_classes() -> None:
    text = captioned(TABLE, "What it is.").to_html()
    assert 'class="dataframe table"' in text
    assert "<caption>What it is.</caption>" in text
    assert ">row<" in text


def test_formats_are_kept_and_an_index_can_be_left_out() -> None:
    text = captioned(TABLE.style.format("{:.2f}"), "Shares.", index=False).to_html()
    assert ">0.50<" in text
    assert ">row<" not in text
