"""End-to-end tests of the chatbot, with the real models or a scripted generator."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rag.answering.chatbot import Chatbot
from rag.answering.evidence import score_sentences, select_quotes
from rag.answering.question import MAX_CHARACTERS
from rag.errors import QuestionError
from rag.models.embedding.encoder import Encoder
from rag.models.generation.base import PendingAnswer, TextStream
from rag.models.generation.prompts import EXTRACTIVE, TINY, general_profile
from rag.store.reader import IndexReader
from rag.store.thresholds import DEFAULT_THRESHOLD
from rag.types import (
    Answer,
    ExtractiveAnswer,
    Message,
    Mode,
    Refusal,
    SearchQuery,
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
        self.profile = general_profile(2048) if len(drafts) > 1 else TINY
        self.prompts: list[str] = []
        self.stopped = False
        self.extractive_answer: ExtractiveAnswer | None = None

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) // 3 for message in messages)

    def short_answer(self, messages: Sequence[Message]) -> PendingAnswer:
        yield self.extractive_answer

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
    """The chatbot with a scripted generator: a tiny one for one draft, a general one for several."""
    generator = ScriptedGenerator(*drafts)
    return Chatbot(chatbot.index, chatbot.encoder, generator, strictness=strictness), generator


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


def test_a_supported_draft_in_other_words_is_followed_by_its_source(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse of Sant Oriol is 37 meters high.")
    assert "“the lighthouse of sant oriol is 37 metres high" in final_answer(bot, QUESTION).text


def test_a_supported_short_draft_is_followed_by_its_source(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "37 metres.")
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text.startswith("37 metres. [1] “")
    assert answer.text.endswith("says Sant Oriol lights its new tower (2021-05-14). [1]")
    assert [sentence.supported for sentence in answer.sentences] == [True, True]


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


def test_an_unsupported_draft_is_replaced_by_a_quotation(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "The lighthouse is 73 metres high.")
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.QUOTED
    assert "73" not in answer.text
    assert "37" in answer.text
    rejected = [sentence.text for sentence in answer.sentences if not sentence.supported]
    assert rejected == ["The lighthouse is 73 metres high."]


def test_an_empty_draft_is_replaced_by_a_quotation(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "")
    assert final_answer(bot, QUESTION).mode is Mode.QUOTED


def test_the_generator_is_not_called_without_sufficient_evidence(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "Anything.")
    final_answer(bot, "Who composed the opera about the emperor of Brazil?")
    assert generator.prompts == []


def test_every_quote_was_in_the_prompt(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "The lighthouse is 37 metres high.")
    answer = final_answer(bot, QUESTION)
    for citation in answer.citations:
        assert " ".join(citation.quote.text.split()) in generator.prompts[0]


def test_the_generator_is_not_called_if_no_source_fits_the_prompt(chatbot: Chatbot) -> None:
    bot, generator = with_drafts(chatbot, "The lighthouse is 37 metres high.")
    generator.count_tokens = lambda messages: 10_000 * ("- " in messages[-1]["content"])
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.QUOTED
    assert generator.prompts == []


def test_a_sentence_in_two_articles_is_quoted_once(chatbot: Chatbot) -> None:
    _, hits = chatbot.search(QUESTION, limit=1)
    question = SearchQuery(QUESTION)
    best = score_sentences(question, hits, chatbot.encoder, chatbot.index.idf)[0]
    copy = replace(best, sentence=replace(best.sentence, article_id="copy.md"))
    assert select_quotes(question, [best, copy]) == [best]


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


def test_a_draft_that_declines_is_a_refusal(chatbot: Chatbot) -> None:
    bot, _ = with_drafts(chatbot, "Not stated.")
    answer = final_answer(bot, QUESTION)
    assert answer.mode is Mode.REFUSED
    assert QUESTION in answer.text


def test_used_and_omitted_evidence_is_counted(chatbot: Chatbot) -> None:
    tiny_bot, _ = with_drafts(chatbot, "37 metres.")
    general_bot, generator = with_drafts(chatbot, "37 metres.", "unused")
    tiny, general = final_answer(tiny_bot, QUESTION), final_answer(general_bot, QUESTION)
    assert tiny.evidence_used == 1
    assert general.evidence_used == generator.prompts[0].count("\n- ") > tiny.evidence_used
    assert (
        tiny.evidence_used + tiny.evidence_omitted
        == general.evidence_used + general.evidence_omitted
    )


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
    encoder: Encoder, empty_index: IndexReader
) -> None:
    answer = final_answer(Chatbot(empty_index, encoder, ScriptedGenerator("x")), "What happened?")
    assert answer.mode is Mode.REFUSED
    assert "no articles" in answer.text


def with_short_answer(
    chatbot: Chatbot,
    text: str,
    probability: float,
    p_no_answer: float,
    strictness: Strictness = Strictness.NORMAL,
) -> Chatbot:
    bot, generator = with_drafts(chatbot, "unused", strictness=strictness)
    generator.profile = EXTRACTIVE
    generator.extractive_answer = ExtractiveAnswer(text, 2, probability, p_no_answer)
    return bot


def test_a_short_answer_is_followed_by_its_source(chatbot: Chatbot) -> None:
    answer = final_answer(with_short_answer(chatbot, "37 metres", 0.9, 0.05), QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text.startswith("37 metres. [1] “")
    assert answer.sentences[0].text == "37 metres."


def test_a_short_answer_that_no_sentence_contains_is_rejected(chatbot: Chatbot) -> None:
    answer = final_answer(with_short_answer(chatbot, "73 metres", 0.9, 0.05), QUESTION)
    assert answer.mode is Mode.QUOTED
    assert "73" not in answer.text
    assert "37" in answer.text
    assert [s.text for s in answer.sentences if not s.supported] == ["73 metres."]


@pytest.mark.parametrize(("p_no_answer", "refused"), [(0.999, True), (0.05, False)])
def test_the_generator_decides_where_the_evidence_is_inconclusive(
    chatbot: Chatbot, p_no_answer: float, refused: bool
) -> None:
    bot = with_short_answer(chatbot, "21 nautical miles", 0.9, p_no_answer, Strictness.HIGH)
    answer = final_answer(bot, "How heavy is the lamp of the lighthouse of Sant Oriol?")
    assert (answer.mode is Mode.REFUSED) is refused
    assert answer.hits


def test_the_confidence_depends_on_the_generator(chatbot: Chatbot) -> None:
    certain = final_answer(with_short_answer(chatbot, "37 metres", 0.95, 0.01), QUESTION)
    doubtful = final_answer(with_short_answer(chatbot, "37 metres", 0.4, 0.5), QUESTION)
    assert certain.confidence > doubtful.confidence


def test_an_uncertain_short_answer_is_replaced_by_a_quotation(
    chatbot: Chatbot,
) -> None:
    answer = final_answer(with_short_answer(chatbot, "37 metres", 0.25, 0.05), QUESTION)
    assert answer.mode is Mode.QUOTED
    assert not any(sentence.text == "37 metres." for sentence in answer.sentences)
    assert "37 metres" in answer.text
