"""A question's whole way, with the real models, and with a scripted generator for what is rare."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rag.chatbot import REFUSAL, Chatbot
from rag.datatypes import (
    Answer,
    Message,
    Mode,
    ShortAnswer,
    Stage,
    StandaloneQuestion,
    Strictness,
)
from rag.encoder import Encoder
from rag.errors import QuestionError
from rag.evidence import weigh, worth_quoting
from rag.generator import Pieces, Reading
from rag.index import PassageIndex
from rag.prompt import SMALL, TAUGHT, capable
from rag.questions import MOST_CHARACTERS
from rag.threshold import BUILT_IN


class Scripted:
    """A generator that writes what it is told to, word by word."""

    name = "scripted"
    context, memory = 2048, 0
    problem = ""

    def __init__(self, *drafts: str) -> None:
        self.drafts = list(drafts)
        self.ability = capable(2048) if len(drafts) > 1 else SMALL
        self.asked: list[str] = []
        self.stopped = False
        self.short: ShortAnswer | None = None

    def load(self) -> None:
        pass

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) // 3 for message in messages)

    def short_answer(self, messages: Sequence[Message]) -> Reading:
        yield self.short

    def stream(self, messages: Sequence[Message]) -> Pieces:
        self.asked.append(messages[-1]["content"])
        try:
            for word in self.drafts.pop(0).split(" "):
                yield word + " "
        finally:
            self.stopped = True


def scripted(chatbot: Chatbot, *drafts: str) -> tuple[Chatbot, Scripted]:
    generator = Scripted(*drafts)
    return Chatbot(chatbot.index, chatbot.encoder, generator), generator


def last(chatbot: Chatbot, question: str, history: Sequence[Message] = ()) -> Answer:
    *_, answer = chatbot.ask(question, history)
    assert answer.stage is Stage.DONE
    assert_checkable(answer, chatbot.index)
    return answer


def assert_checkable(answer: Answer, index: PassageIndex) -> None:
    """What CONTRACT promises of every answer."""
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
    answer = last(chatbot, QUESTION)
    assert answer.mode is not Mode.REFUSED
    assert "37" in answer.text
    assert answer.citations[0].quote.article_id == "lighthouse.md"


def test_what_the_articles_do_not_hold_is_refused_in_words(chatbot: Chatbot) -> None:
    answer = last(chatbot, "Who composed the opera about the emperor of Brazil?")
    assert answer.mode is Mode.REFUSED
    assert answer.text
    assert not answer.citations
    assert answer.hits, "the nearest passages are shown"


def test_a_draft_that_holds_is_the_answer(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "The lighthouse of Sant Oriol is 37 metres high.")
    answer = last(bot, QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text == "The lighthouse of Sant Oriol is 37 metres high. [1]"


def test_a_draft_in_other_words_is_backed_by_its_quotation(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "The lighthouse of Sant Oriol is 37 meters high.")
    assert "“the lighthouse of sant oriol is 37 metres high" in last(bot, QUESTION).text


def test_a_short_answer_that_holds_is_backed_by_its_quotation(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "37 metres.")
    answer = last(bot, QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text.startswith("37 metres. [1] “")
    assert answer.text.endswith("says Sant Oriol lights its new tower (2021-05-14). [1]")
    assert [sentence.supported for sentence in answer.sentences] == [True, True]


@pytest.mark.parametrize("said", ["Thanks!", "hello", "What can you answer?", "Bye"])
def test_talk_with_the_chat_itself_is_neither_searched_nor_refused(
    chatbot: Chatbot, said: str
) -> None:
    bot, generator = scripted(chatbot, "unused")
    (answer,) = bot.ask(said)
    assert answer.mode is Mode.WRITTEN
    assert answer.text
    assert (answer.hits, answer.citations, generator.asked) == ((), (), [])


def test_what_is_asked_about_says_how_many_articles_there_are(chatbot: Chatbot) -> None:
    assert "3 articles" in last(chatbot, "What can you do?").text


@pytest.mark.parametrize(
    "asked",
    ["Thanks to whom was the tower built?", "Who are you going to lay off?", "Help for whom?"],
)
def test_a_question_that_begins_like_talk_is_searched_for(chatbot: Chatbot, asked: str) -> None:
    assert last(chatbot, asked).hits


def test_a_refusal_names_what_was_looked_for(chatbot: Chatbot) -> None:
    answer = last(chatbot, "Who won the chess game in Reykjavik?")
    assert answer.mode is Mode.REFUSED
    assert "“Who won the chess game in Reykjavik?”" in answer.text
    assert answer.hits


def test_a_strict_chatbot_refuses_what_a_lax_one_answers(chatbot: Chatbot) -> None:
    asked = "What did the town pay for its harbour wall?"
    scores = {
        strictness: last(
            Chatbot(chatbot.index, chatbot.encoder, Scripted(""), strictness=strictness), asked
        ).mode
        for strictness in Strictness
    }
    answered = [scores[strictness] is not Mode.REFUSED for strictness in Strictness]
    assert answered == sorted(answered, reverse=True)


def test_a_draft_that_does_not_hold_gives_way_to_a_quotation(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "The lighthouse is 73 metres high.")
    answer = last(bot, QUESTION)
    assert answer.mode is Mode.QUOTED
    assert "73" not in answer.text
    assert "37" in answer.text
    struck = [sentence.text for sentence in answer.sentences if not sentence.supported]
    assert struck == ["The lighthouse is 73 metres high."]


def test_an_empty_draft_gives_way_to_a_quotation(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "")
    assert last(bot, QUESTION).mode is Mode.QUOTED


def test_with_nothing_to_stand_on_the_generator_is_not_asked(chatbot: Chatbot) -> None:
    bot, generator = scripted(chatbot, "Anything.")
    last(bot, "Who composed the opera about the emperor of Brazil?")
    assert generator.asked == []


def test_what_is_quoted_was_in_the_prompt(chatbot: Chatbot) -> None:
    bot, generator = scripted(chatbot, "The lighthouse is 37 metres high.")
    answer = last(bot, QUESTION)
    for citation in answer.citations:
        assert " ".join(citation.quote.text.split()) in generator.asked[0]


def test_where_no_source_fits_the_prompt_nothing_is_drafted(chatbot: Chatbot) -> None:
    bot, generator = scripted(chatbot, "The lighthouse is 37 metres high.")
    generator.count_tokens = lambda messages: 10_000 * ("- " in messages[-1]["content"])
    answer = last(bot, QUESTION)
    assert answer.mode is Mode.QUOTED
    assert generator.asked == []


def test_a_sentence_that_two_articles_share_is_quoted_once(chatbot: Chatbot) -> None:
    _, hits = chatbot.search(QUESTION, (), 1)
    question = StandaloneQuestion(QUESTION)
    best = weigh(question, hits, chatbot.encoder, chatbot.index.rarity)[0]
    again = replace(best, sentence=replace(best.sentence, article_id="copy.md"))
    assert worth_quoting(question, [best, again]) == [best]


def test_the_draft_streams_and_is_gone_when_done(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "The lighthouse is 37 metres high.")
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
def test_a_draft_that_begins_to_ramble_is_stopped(chatbot: Chatbot, draft: str) -> None:
    bot, _ = scripted(chatbot, draft)
    longest = max((answer.draft for answer in bot.ask(QUESTION)), key=len)
    assert "37 metres" in longest
    assert len(longest.strip()) < len(draft)


def test_what_a_reasoning_model_thinks_is_neither_answer_nor_draft(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "<think>\nThe marsh? No, 73 metres?\n</think>\n\n37 metres.")
    answers = list(bot.ask(QUESTION))
    assert not any("marsh" in answer.draft for answer in answers)
    assert answers[-1].thought == "The marsh? No, 73 metres?"
    assert answers[-1].text.startswith("37 metres. [1]")
    assert not any("73" in sentence.text for sentence in answers[-1].sentences)


def test_what_a_capable_generator_does_not_find_stated_is_refused(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "Not stated.")
    answer = last(bot, QUESTION)
    assert answer.mode is Mode.REFUSED
    assert QUESTION in answer.text


def test_how_much_of_what_was_found_the_generator_read_is_counted(chatbot: Chatbot) -> None:
    small, _ = scripted(chatbot, "37 metres.")
    capable, generator = scripted(chatbot, "37 metres.", "unused")
    few, many = last(small, QUESTION), last(capable, QUESTION)
    assert few.given == 1
    assert few.given + few.dropped == many.given + many.dropped
    assert many.given == generator.asked[0].count("\n- ") > few.given


def test_the_surest_sentence_says_how_sure_an_answer_is(chatbot: Chatbot) -> None:
    sure = last(chatbot, QUESTION).confidence
    unsure = last(chatbot, "Who won the chess game in Reykjavik?").confidence
    assert 0 <= unsure < BUILT_IN <= sure <= 1


def test_closing_the_answer_stops_the_generator(chatbot: Chatbot) -> None:
    bot, generator = scripted(chatbot, "word " * 1000)
    answers = bot.ask(QUESTION)
    for answer in answers:
        if answer.draft:
            break
    answers.close()
    assert generator.stopped


HISTORY = (Message(role="user", content=QUESTION), Message(role="assistant", content="37 m."))


def test_a_follow_up_is_asked_with_what_was_spoken_of(chatbot: Chatbot) -> None:
    answer = last(chatbot, "And what did it cost?", HISTORY)
    asked, about = answer.standalone_question.split(" (")
    assert asked == "And what did it cost?"
    assert set(about.strip(")").replace(",", "").split()) <= {"high", "lighthouse", "Sant", "Oriol"}
    assert answer.hits[0].passage.article_id == "lighthouse.md"


def test_a_refusal_is_nothing_that_was_spoken_of(chatbot: Chatbot) -> None:
    history = (
        Message(role="user", content="Who composed it?"),
        Message(role="assistant", content=REFUSAL),
    )
    assert "articles" not in last(chatbot, "And why?", history).standalone_question


def test_a_capable_generator_words_a_follow_up_itself(chatbot: Chatbot) -> None:
    wording = "What did the lighthouse of Sant Oriol cost?"
    bot, generator = scripted(chatbot, wording, "The tower cost 4.2 million euros.")
    answer = last(bot, "And what did it cost?", HISTORY)
    assert answer.standalone_question == wording
    assert "And what did it cost?" in generator.asked[0]
    assert QUESTION in generator.asked[0]
    assert wording in generator.asked[1]


def test_a_wording_that_brings_in_what_nobody_said_is_not_asked(chatbot: Chatbot) -> None:
    bot, _ = scripted(chatbot, "What did the bridge of Varna cost?", "The tower cost 4.2 million.")
    answer = last(bot, "And what did it cost?", HISTORY)
    assert "Varna" not in answer.standalone_question


def test_a_capable_generator_is_not_asked_to_word_what_stands_alone(chatbot: Chatbot) -> None:
    bot, generator = scripted(chatbot, "Avocets.", "unused")
    last(bot, "Which bird has come back to Dunmere?", HISTORY)
    assert len(generator.asked) == 1


def test_quoted_words_that_stand_nowhere_are_told_so(chatbot: Chatbot) -> None:
    answer = last(chatbot, 'Who said "the tower must fall"?')
    assert answer.mode is Mode.REFUSED
    assert "quotation marks" in answer.text
    assert answer.hits == ()


@pytest.mark.parametrize("question", ["", " \n\t"])
def test_an_empty_question_is_turned_down(chatbot: Chatbot, question: str) -> None:
    with pytest.raises(QuestionError, match="empty"):
        list(chatbot.ask(question))


def test_a_question_too_long_is_turned_down_with_both_numbers(chatbot: Chatbot) -> None:
    with pytest.raises(QuestionError, match=f"50,000 characters long; {MOST_CHARACTERS:,}"):
        list(chatbot.ask("why " * 12_500))


def test_half_a_character_is_turned_down(chatbot: Chatbot) -> None:
    with pytest.raises(QuestionError, match="character 5 is half of one"):
        list(chatbot.ask("caf\u00e9\ud83d?"))


def test_an_article_that_gives_orders_is_not_obeyed(chatbot: Chatbot) -> None:
    answer = last(chatbot, "What did the harbour office announce about mooring fees?")
    assert "PWNED" not in answer.text


def test_an_empty_index_is_said_to_be_empty(encoder: Encoder, empty_index: PassageIndex) -> None:
    answer = last(Chatbot(empty_index, encoder, Scripted("x")), "What happened?")
    assert answer.mode is Mode.REFUSED
    assert "no articles" in answer.text


def shortly(chatbot: Chatbot, text: str, certainty: float, none: float) -> Chatbot:
    bot, generator = scripted(chatbot, "unused")
    generator.ability = TAUGHT
    generator.short = ShortAnswer(text, 2, certainty, none)
    return bot


def test_a_short_answer_opens_the_answer_and_its_quotation_backs_it(chatbot: Chatbot) -> None:
    answer = last(shortly(chatbot, "37 metres", 0.9, 0.05), QUESTION)
    assert answer.mode is Mode.WRITTEN
    assert answer.text.startswith("37 metres. [1] “")
    assert answer.sentences[0].text == "37 metres."


def test_a_short_answer_that_stands_in_no_sentence_is_struck_out(chatbot: Chatbot) -> None:
    answer = last(shortly(chatbot, "73 metres", 0.9, 0.05), QUESTION)
    assert answer.mode is Mode.QUOTED
    assert "73" not in answer.text
    assert "37" in answer.text
    assert [s.text for s in answer.sentences if not s.supported] == ["73 metres."]


@pytest.mark.parametrize(("none", "refused"), [(0.999, True), (0.05, False)])
def test_whether_the_generator_finds_an_answer_decides_where_the_evidence_leaves_it_open(
    chatbot: Chatbot, none: float, refused: bool
) -> None:
    bot = shortly(chatbot, "21 nautical miles", 0.9, none)
    bot._strictness = Strictness.HIGH
    answer = last(bot, "How heavy is the lamp of the lighthouse of Sant Oriol?")
    assert (answer.mode is Mode.REFUSED) is refused
    assert answer.hits


def test_the_confidence_of_an_answer_is_what_both_judges_come_to(chatbot: Chatbot) -> None:
    sure = last(shortly(chatbot, "37 metres", 0.95, 0.01), QUESTION)
    less = last(shortly(chatbot, "37 metres", 0.4, 0.5), QUESTION)
    assert sure.confidence > less.confidence


def test_where_the_generator_is_not_certain_of_its_answer_the_quotation_speaks(
    chatbot: Chatbot,
) -> None:
    answer = last(shortly(chatbot, "37 metres", 0.25, 0.05), QUESTION)
    assert answer.mode is Mode.QUOTED
    assert not any(sentence.text == "37 metres." for sentence in answer.sentences)
    assert "37 metres" in answer.text
