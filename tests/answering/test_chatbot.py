"""End-to-end tests of the chatbot, with the real models or a scripted generator."""

from collections.abc import Sequence

import pytest

from rag.answering.chatbot import Chatbot
from rag.answering.question import MAX_CHARACTERS
from rag.errors import QuestionError
from rag.models.embedding.encoder import Encoder
from rag.models.generation.base import TextStream
from rag.models.generation.prompts import TINY, general_profile
from rag.models.reading.reader import Reader
from rag.store.reader import IndexReader
from rag.store.thresholds import DEFAULT_THRESHOLD
from rag.types import (
    Answer,
    Message,
    Mode,
    Refusal,
    Stage,
    Strictness,
)
from rag.wording import Texts, load_locales, phrase


class ScriptedGenerator:
    """A generator that writes the given drafts, word by word."""

    name = "scripted"
    context, memory = 2048, 0
    problem = ""

    def __init__(self, *drafts: str) -> None:
        self.drafts = list(drafts)
        self.profile = general_profile(2048)
        self.prompts: list[str] = []
        self.stopped = False

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) // 3 for message in messages)

    def stream(self, messages: Sequence[Message]) -> TextStream:
        self.prompts.append(messages[-1]["content"])
        try:
            for word in self.drafts.pop(0).split(" "):
                yield word + " "
        finally:
            self.stopped = True


def with_drafts(
    chatbot: Chatbot, *drafts: str, strictness: Strictness = Strictness.NORMAL
) -> tuple[Chatbot, ScriptedGenerator]:
    """The chatbot with a scripted generator, which writes the drafts one after the other."""
    generator = ScriptedGenerator(*drafts)
    return Chatbot(
        chatbot.index, chatbot.encoder, generator, chatbot._reader, strictness=strictness
    ), generator


def final_answer(chatbot: Chatbot, question: str, history: Sequence[Message] = ()) -> Answer:
    *_, answer = chatbot.ask(question, history=history)
    assert answer.stage is Stage.DONE
    assert_verifiable(answer, chatbot.index)
    return answer


def assert_verifiable(answer: Answer, index: IndexReader) -> None:
    """Markers and citations correspond, and every quote is verbatim."""
    markers = {citation.marker for citation in answer.citations}
    for sentence in answer.sentences:
        if sentence.supported:
            assert sentence.text in answer.text
            assert set(sentence.citations) <= markers
    for citation in answer.citations:
        article = index.article(citation.quote.article_id)
        assert article is not None
        assert article.text[citation.quote.start : citation.quote.end] == citation.quote.text
        assert f"[{citation.marker}]" in answer.text


QUESTION = "How high is the lighthouse of Sant Oriol?"


def test_the_real_models_answer_with_the_right_citation(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, QUESTION)
    assert answer.mode is not Mode.REFUSED
    assert "37" in answer.text
    assert answer.citations[0].quote.article_id == "lighthouse.md"


def test_a_question_that_the_articles_do_not_answer_is_refused(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "Who composed the opera about the emperor of Brazil?")
    assert answer.mode is Mode.REFUSED
    assert answer.text
    assert not answer.citations
    assert answer.hits


def test_a_supported_draft_is_the_answer(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse of Sant Oriol is 37 metres high.")
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text == "The lighthouse of Sant Oriol is 37 metres high. [1]"


def test_a_look_up_is_answered_by_the_reader_without_the_bundled_generator(
    chatbot: Chatbot,
) -> None:
    bot, generator = with_drafts(chatbot, "unused")
    generator.profile = TINY
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert "37 metres" in answer.text
    assert answer.citations[0].quote.article_id == "lighthouse.md"
    assert generator.prompts == []


@pytest.mark.parametrize("message", ["Thanks!", "hello", "What can you answer?", "Bye"])
def test_small_talk_is_neither_searched_for_nor_refused(chatbot: Chatbot, message: str) -> None:
    bot, generator = with_drafts(chatbot, "unused")
    (answer,) = bot.ask(message)
    assert answer.mode is Mode.WRITTEN
    assert answer.text
    assert answer.small_talk
    assert not answer.from_articles
    assert answer.as_json()["small_talk"] is True
    assert (answer.hits, answer.citations, generator.prompts) == ((), (), [])


def test_the_chatbot_says_how_many_articles_it_knows(chatbot: Chatbot) -> None:
    assert "3 articles" in final_answer(chatbot, "What can you do?").text


@pytest.mark.parametrize(
    "question",
    ["Thanks to whom was the tower built?", "Who are you going to lay off?", "Help for whom?"],
)
def test_a_question_that_begins_like_small_talk_is_searched_for(
    chatbot: Chatbot, question: str
) -> None:
    answer = final_answer(chatbot, question)
    assert answer.hits
    assert "small_talk" not in answer.as_json()


def test_a_refusal_names_the_question(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "Who won the chess game in Reykjavik?")
    assert answer.mode is Mode.REFUSED
    assert "“Who won the chess game in Reykjavik?”" in answer.text
    assert answer.hits


def test_a_stricter_chatbot_answers_no_more_questions(chatbot: Chatbot) -> None:
    answered = []
    for strictness in Strictness:
        bot, _ = with_drafts(chatbot, "", strictness=strictness)
        answer = final_answer(bot, "What did the town pay for its harbour wall?")
        answered.append(answer.mode is not Mode.REFUSED)
    assert answered == sorted(answered, reverse=True)


def test_an_unsupported_draft_is_replaced_by_what_the_reader_finds(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse is 73 metres high.")
    answer = final_answer(bot, QUESTION)
    assert answer.mode is not Mode.REFUSED
    assert "73" not in answer.text
    assert "37" in answer.text
    rejected = [sentence.text for sentence in answer.sentences if not sentence.supported]
    assert rejected == ["The lighthouse is 73 metres high."]


@pytest.mark.parametrize("draft", ["", "Not stated."])
def test_a_generator_that_declines_is_replaced_by_what_the_reader_finds(
    chatbot: Chatbot, draft: str
) -> None:
    bot, _ = with_drafts(chatbot, draft)
    answer = final_answer(bot, QUESTION)
    assert "37 metres" in answer.text
    assert "Not stated" not in answer.text


def test_the_generator_is_not_called_without_sufficient_evidence(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "Anything.")
    final_answer(bot, "Who composed the opera about the emperor of Brazil?")
    assert generator.prompts == []


def test_every_quote_is_part_of_a_passage_that_was_found(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse is 37 metres high.")
    answer = final_answer(bot, QUESTION)
    assert answer.citations
    for citation in answer.citations:
        assert any(citation.quote.text in hit.passage.text for hit in answer.hits)


def test_the_generator_is_not_called_if_no_source_fits_the_prompt(
    chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, generator = with_drafts(chatbot, "The lighthouse is 37 metres high.")
    monkeypatch.setattr(
        generator, "count_tokens", lambda messages: 10_000 * ("- " in messages[-1]["content"])
    )
    answer = final_answer(bot, QUESTION)
    assert "37 metres" in answer.text
    assert generator.prompts == []


def test_the_draft_grows_and_is_removed_from_the_final_answer(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse is 37 metres high.")
    answers = list(bot.ask(QUESTION))
    drafts = [answer.draft for answer in answers[:-1]]
    assert drafts == sorted(drafts, key=len)
    assert len(set(drafts)) > 3
    assert answers[-1].draft == ""


@pytest.mark.parametrize(
    "draft",
    [
        "It is 37 metres high. It is 37 metres high. It is 37 metres high.",
        "It is 37 metres high. How far can it be seen? It can be seen from 21 miles.",
    ],
)
def test_generation_stops_when_the_draft_begins_to_ramble(chatbot: Chatbot, draft: str) -> None:
    bot, _ = with_drafts(chatbot, draft)
    longest = max((answer.draft for answer in bot.ask(QUESTION)), key=len)
    assert "37 metres" in longest
    assert len(longest.strip()) < len(draft)


def test_the_reasoning_of_a_model_is_neither_draft_nor_answer(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "<think>\nThe marsh? No, 73 metres?\n</think>\n\n37 metres.")
    answers = list(bot.ask(QUESTION))
    assert not any("marsh" in answer.draft for answer in answers)
    assert answers[-1].thought == "The marsh? No, 73 metres?"
    assert answers[-1].text.startswith("37 metres. [1]")
    assert not any("73" in sentence.text for sentence in answers[-1].sentences)


def test_used_and_omitted_evidence_is_counted(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "37 metres.")
    answer = final_answer(bot, QUESTION)
    assert answer.evidence_used == generator.prompts[0].count("\n- ") > 0
    assert answer.evidence_omitted >= 0


def test_answerable_questions_have_a_higher_confidence(chatbot: Chatbot) -> None:
    answerable = final_answer(chatbot, QUESTION).confidence
    unanswerable = final_answer(chatbot, "Who won the chess game in Reykjavik?").confidence
    assert 0 <= unanswerable < DEFAULT_THRESHOLD <= answerable <= 1


def test_closing_the_answer_stops_the_generator(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "word " * 1000)
    answers = bot.ask(QUESTION)
    for answer in answers:
        if answer.draft:
            break
    answers.close()
    assert generator.stopped


HISTORY = (Message(role="user", content=QUESTION), Message(role="assistant", content="37 m."))


def test_a_follow_up_question_is_searched_for_with_context_terms(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "And what did it cost?", HISTORY)
    question, context = answer.standalone_question.split(" (")
    assert question == "And what did it cost?"
    context_words = set(context.strip(")").replace(",", "").split())
    assert context_words <= {"high", "lighthouse", "Sant", "Oriol"}
    assert answer.hits[0].passage.article_id == "lighthouse.md"


@pytest.mark.parametrize("language", sorted(load_locales()))
def test_refusals_contribute_no_context_terms(chatbot: Chatbot, language: str) -> None:
    text = phrase(Refusal.NO_EVIDENCE, question="Who composed it?").text_in(Texts(language))
    history = (
        Message(role="user", content="Who composed it?"),
        Message(role="assistant", content=text),
    )
    assert final_answer(chatbot, "And why?", history).standalone_question == "And why? (composed)"


def test_a_general_generator_rewrites_a_follow_up_question(chatbot: Chatbot) -> None:
    rewrite = "What did the lighthouse of Sant Oriol cost?"
    bot, generator = with_drafts(chatbot, rewrite, "The tower cost 4.2 million euros.")
    answer = final_answer(bot, "And what did it cost?", HISTORY)
    assert answer.standalone_question == rewrite
    assert "And what did it cost?" in generator.prompts[0]
    assert QUESTION in generator.prompts[0]
    assert rewrite in generator.prompts[1]


def test_a_rewrite_with_unknown_words_is_discarded(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(
        chatbot, "What did the bridge of Varna cost?", "The tower cost 4.2 million."
    )
    answer = final_answer(bot, "And what did it cost?", HISTORY)
    assert "Varna" not in answer.standalone_question


def test_a_standalone_question_is_not_rewritten(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "Avocets.", "unused")
    final_answer(bot, "Which bird has come back to Dunmere?", HISTORY)
    assert len(generator.prompts) == 1


def test_a_quoted_phrase_that_no_passage_contains_is_refused(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, 'Who said "the tower must fall"?')
    assert answer.mode is Mode.REFUSED
    assert "quotation marks" in answer.text
    assert answer.hits == ()


@pytest.mark.parametrize("question", ["", " \n\t"])
def test_an_empty_question_is_rejected(chatbot: Chatbot, question: str) -> None:
    with pytest.raises(QuestionError, match="empty"):
        list(chatbot.ask(question))


def test_a_question_that_is_too_long_is_rejected_with_both_lengths(chatbot: Chatbot) -> None:
    with pytest.raises(QuestionError, match=f"50,000 characters long; {MAX_CHARACTERS:,}"):
        list(chatbot.ask("why " * 12_500))


def test_an_unpaired_surrogate_is_rejected(chatbot: Chatbot) -> None:
    with pytest.raises(QuestionError, match="unpaired surrogate at position 5"):
        list(chatbot.ask("caf\u00e9\ud83d?"))


def test_instructions_in_an_article_are_not_followed(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "What did the harbour office announce about mooring fees?")
    assert "PWNED" not in answer.text


def test_a_question_to_an_empty_index_is_refused(
    encoder: Encoder, empty_index: IndexReader, reader: Reader
) -> None:
    answer = final_answer(
        Chatbot(empty_index, encoder, ScriptedGenerator("x"), reader), "What happened?"
    )
    assert answer.mode is Mode.REFUSED
    assert "no articles" in answer.text


@pytest.mark.parametrize(
    ("question", "mode", "text"),
    [
        ("How many articles are there?", Mode.WRITTEN, "There are 3 articles. [1] [2] [3]"),
        ("How many articles mention Zeppelin?", Mode.WRITTEN, "No article mentions “Zeppelin”."),
    ],
)
def test_questions_about_the_collection_are_answered_from_the_index(
    chatbot: Chatbot, question: str, mode: Mode, text: str
) -> None:
    answer = final_answer(chatbot, question)
    assert (answer.mode, answer.text) == (mode, text)


def test_a_summary_quotes_the_beginning_of_the_article(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "Summarise the article about the marsh of Dunmere")
    assert answer.mode is Mode.QUOTED
    assert answer.text.startswith("“Avocets have come back to the marsh of Dunmere")


def test_a_period_is_answered_with_the_articles_of_that_time_and_their_dates(
    chatbot: Chatbot,
) -> None:
    answer = final_answer(chatbot, "What happened in May 2021?")
    assert {citation.quote.article_id for citation in answer.citations} == {"lighthouse.md"}
    assert answer.text.startswith("2021-05-14: “")
    empty = final_answer(chatbot, "What happened in May 1901?")
    assert empty.mode is Mode.REFUSED
    assert "1901-05" in empty.text


def test_a_misspelt_word_is_corrected_and_the_correction_is_shown(chatbot: Chatbot) -> None:
    answer = final_answer(chatbot, "How high is the lighthuose of Sant Oriol?")
    assert "37 metres" in answer.text
    assert [(c.written, c.corrected) for c in answer.corrections] == [("lighthuose", "lighthouse")]


def test_each_part_of_a_question_is_answered_or_said_to_be_unanswered(chatbot: Chatbot) -> None:
    question = "How high is the lighthouse of Sant Oriol, and who composed the opera of Brazil?"
    bot, generator = with_drafts(chatbot, "unused")
    generator.profile = TINY
    answer = final_answer(bot, question)
    assert len(answer.parts) == 2
    assert "37 metres" in answer.text
    assert "who composed the opera of Brazil?" in answer.text
