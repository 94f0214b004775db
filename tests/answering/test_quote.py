"""Quotations."""

from dataclasses import replace

from rag.answering.quote import quote_evidence, with_supporting_quotes
from rag.answering.verify import verify_draft
from rag.types import Evidence, Excerpt


def source(text: str, *, start: int = 0, title: str = "Ferry strike", id: str = "a") -> Excerpt:
    return Excerpt(article_id=id, title=title, start=start, end=start + len(text), text=text)


STRIKE = source("The ferry crews of Port Ellery walked out on Monday over a 4.5 percent pay offer.")
COUNCIL = source("The council has not agreed to reopen the harbour before 12 May.", start=200)
MAYOR = source("Mayor Ines Calder asked both sides to meet at the town hall.", start=400)


def test_a_quotation_cites_itself() -> None:
    result = quote_evidence([Evidence(1.0, COUNCIL)])
    assert result.text == f"“{COUNCIL.text[:-1]}”, says Ferry strike. [1]"
    assert result.citations[0].quote is COUNCIL


def test_each_article_is_attributed_once_with_its_date() -> None:
    undated = source("Talks go on.", title="Ferries", id="b")
    dated = replace(undated, date="2021-05-14")
    quotation = quote_evidence([Evidence(1.0, COUNCIL), Evidence(0.9, MAYOR), Evidence(0.8, dated)])
    assert quotation.text.count("says Ferry strike.") == 1
    assert quotation.text.endswith("“Talks go on”, says Ferries (2021-05-14). [3]")
    assert [citation.quote for citation in quotation.citations] == [COUNCIL, MAYOR, dated]


def test_quotations_follow_a_short_answer() -> None:
    result = verify_draft(
        "Monday. In 1812.", "When did the ferry crews walk out?", [STRIKE, COUNCIL, MAYOR]
    )
    with_source = with_supporting_quotes(result, STRIKE, [STRIKE])
    assert with_source.text == f"Monday. [1] “{STRIKE.text[:-1]}”, says Ferry strike. [1]"
    assert [sentence.supported for sentence in with_source.sentences] == [True, True, False]
    assert [citation.quote for citation in with_source.citations] == [STRIKE]
    with_other = with_supporting_quotes(result, STRIKE, [MAYOR])
    assert with_other.text == f"Monday. [1] “{MAYOR.text[:-1]}”, says Ferry strike. [2]"
    assert [citation.quote for citation in with_other.citations] == [STRIKE, MAYOR]
