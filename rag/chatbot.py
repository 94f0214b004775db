"""The question's way in one place."""

import collections.abc as abc
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace

from rag import citations, conversation, prompt
from rag.datatypes import (
    Answer,
    Evidence,
    Excerpt,
    Hit,
    Message,
    Mode,
    Prompt,
    Stage,
    StandaloneQuestion,
    Timings,
)
from rag.encoder import Encoder
from rag.errors import IndexUnusable
from rag.generator import ANSWER_TOKENS, CONTEXT, Generator, LlamaGenerator
from rag.index import PassageIndex
from rag.language import quoted, words
from rag.models import encoder_folder, generator_file, reranker_folder
from rag.questions import sound
from rag.reranker import Reranker
from rag.retriever import Retriever
from rag.settings import Settings

HITS = 8
"""Passages retrieved for an answer and shown beside it."""

READ = 5
"""Of these, the passages whose sentences are weighed."""

# How these three were chosen stands in docs/measurements.md.

SOURCES = 1
"""Sentences that the generator is given: with more, a small one invents more."""

LEAST_SCORE = 0.65
"""Of the best sentence, below which the articles do not seem to hold an answer."""

ABOUT_AS_GOOD = 0.05
"""Distance in score up to which the second best sentence is quoted together with the best."""

REFUSAL = "The articles do not seem to answer this. The passages nearest to it are shown with it."
NOT_SO = "No passage holds the words in quotation marks as they stand there."
NOTHING = "The index holds no articles, so there is nothing to answer from."


class Chatbot:
    """Answers questions over one index."""

    def __init__(
        self,
        index: PassageIndex,
        encoder: Encoder,
        generator: Generator,
        reranker: Reranker | None = None,
    ) -> None:
        self._encoder = encoder
        self._generator = generator
        self._reranker = reranker
        self._retriever = Retriever(index, encoder, reranker)

    @classmethod
    def open(cls, settings: Settings) -> "Chatbot":
        """With the index and models of the settings. Raises IndexUnusable and ModelError."""
        folder = encoder_folder(settings.encoder, settings.cache)
        encoder = Encoder(settings.encoder, folder, settings.cache)
        index = PassageIndex.open(settings.index, encoder=encoder.id)
        file = generator_file(settings.generator, settings.cache)
        generator = LlamaGenerator(settings.generator, file, settings.cache, settings.threads)
        named = settings.reranker
        reranker = Reranker(named, reranker_folder(named)) if named else None
        return cls(index, encoder, generator, reranker)

    @property
    def index(self) -> PassageIndex:
        return self._retriever.index

    def renew(self) -> None:
        """Go over to the index's last commit, if there is a newer one that can be used.

        Questions under way end with the one that they began with.
        """
        with suppress(IndexUnusable):
            newest = self.index.newest()
            if newest is not self.index:
                newest.load()
                self._retriever = Retriever(newest, self._encoder, self._reranker)

    def load_encoder(self) -> None:
        """Load what searching needs now rather than at the first question. Raises ModelError."""
        self._encoder.load()
        self.index.load()
        if self._reranker:
            self._reranker.load()

    def load(self) -> None:
        """Load every model now rather than at the first question. Raises ModelError."""
        self.load_encoder()
        self._generator.load()

    def search(self, question: str, history: Sequence[Message], k: int) -> tuple[str, list[Hit]]:
        """The standalone question and its `k` best hits. Raises QuestionError."""
        self.renew()
        rarity = self._retriever.index.rarity
        standalone = conversation.standalone(sound(question), _told(history), rarity)
        return standalone.text, self._retriever.retrieve(standalone, k)

    def ask(self, question: str, history: Sequence[Message] = ()) -> abc.Generator[Answer]:
        """The answer as it comes about; the last one yielded is DONE. Raises QuestionError.

        With nothing to stand on, it refuses without asking the generator. Closing the iterator
        stops the generator.
        """
        began = time.perf_counter()
        self.renew()
        retriever = self._retriever
        told = _told(history)
        standalone = conversation.standalone(sound(question), told, retriever.index.rarity)
        answer = Answer(
            question=question,
            standalone_question=standalone.text,
            stage=Stage.WRITING,
            mode=Mode.REFUSED,
            text="",
            hits=(),
            model=self._generator.name,
            timings=Timings(retrieve_s=0.0),
        )
        if standalone.about and self._generator.capable:
            standalone = yield from self._rewritten(standalone, told, answer)
        hits = retriever.retrieve(standalone, HITS)
        evidence = retriever.evidence(standalone, hits[:READ])
        answer = replace(
            answer,
            standalone_question=standalone.text,
            hits=tuple(hits),
            timings=Timings(retrieve_s=time.perf_counter() - began),
        )
        yield answer
        if not evidence or evidence[0].score < LEAST_SCORE:
            yield _done(replace(answer, text=_refusal(standalone, hits)), began)
            return
        best = [found.sentence for found in evidence[:SOURCES]]
        composed = prompt.compose(
            standalone.text, best, self._generator.count_tokens, CONTEXT - ANSWER_TOKENS
        )
        drafted = answer
        for drafted in self._drafted(answer, composed, began):
            yield drafted
        yield _done(_decided(drafted, composed.sources, evidence), began)

    def _rewritten(
        self, question: StandaloneQuestion, told: Sequence[Message], answer: Answer
    ) -> abc.Generator[Answer, None, StandaloneQuestion]:
        """The question as the generator words it for itself, if that holds; `answer` meanwhile."""
        asked = prompt.rewriting(
            question.asked, told, self._generator.count_tokens, CONTEXT - ANSWER_TOKENS
        )
        draft = ""
        with closing(self._generator.stream(asked)) as pieces:
            for piece in pieces:
                draft += piece
                yield answer
        return conversation.rewritten(question, draft, told)

    def _drafted(self, answer: Answer, composed: Prompt, began: float) -> Iterator[Answer]:
        """The answer with its draft as it grows; nothing when the prompt holds no source."""
        if not composed.sources:
            return
        timings = replace(answer.timings, prompt_tokens=composed.tokens)
        draft = ""
        with closing(self._generator.stream(composed.messages)) as pieces:
            for tokens, piece in enumerate(pieces, start=1):
                if timings.first_token_s is None:
                    timings = replace(timings, first_token_s=time.perf_counter() - began)
                draft += piece
                yield replace(answer, draft=draft, timings=replace(timings, answer_tokens=tokens))


def _decided(answer: Answer, sources: Sequence[Excerpt], evidence: Sequence[Evidence]) -> Answer:
    """What stands of the draft; where nothing does, the best evidence quoted."""
    drafted = citations.check(answer.draft, answer.standalone_question, sources)
    if drafted.text:
        return replace(
            answer,
            mode=Mode.WRITTEN,
            text=drafted.text,
            sentences=drafted.sentences,
            citations=drafted.citations,
        )
    quotation = citations.quote(_worth_quoting(evidence))
    return replace(
        answer,
        mode=Mode.QUOTED,
        text=quotation.text,
        sentences=quotation.sentences + drafted.sentences,
        citations=quotation.citations,
    )


def _told(history: Sequence[Message]) -> list[Message]:
    """What was said of the subject: our own refusals are not."""
    return [turn for turn in history if turn["content"] not in (REFUSAL, NOT_SO, NOTHING)]


def _refusal(question: StandaloneQuestion, hits: Sequence[Hit]) -> str:
    if hits:
        return REFUSAL
    return NOT_SO if quoted(question.asked) else NOTHING


def _worth_quoting(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The best sentence, and the next one that says something else if it is about as good."""
    best, *others = evidence
    said = words(best.sentence.text)
    other = next((found for found in others if words(found.sentence.text) != said), None)
    return [best, other] if other and other.score >= best.score - ABOUT_AS_GOOD else [best]


def _done(answer: Answer, began: float) -> Answer:
    timings = replace(answer.timings, total_s=time.perf_counter() - began)
    return replace(answer, stage=Stage.DONE, draft="", timings=timings)
