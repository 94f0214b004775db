"""The chatbot: the public interface for searching an index and answering questions from it."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice

from rag.answering import followup, suggestions
from rag.answering.evidence import find_evidence
from rag.answering.loading import (
    build_entailment_model,
    build_generator_beside,
    build_reader,
    build_reranker,
    check_memory,
)
from rag.answering.openings import FoundArticle
from rag.answering.question import validate_question
from rag.answering.question_type import QuestionPlan, plan_question
from rag.answering.refusal import without_refusals
from rag.answering.retriever import DEFAULT_TOP_K, Retriever
from rag.answering.smalltalk import SmallTalk, build_reply, detect_small_talk
from rag.answering.spelling import correct_spelling
from rag.answering.strategies import (
    AnswerContext,
    AnswerWriter,
    Part,
    answer_about_period,
    answer_from_catalogue,
    answer_from_openings,
    finish,
    refuse,
    related_hits,
    relevance,
)
from rag.answering.verify import Verifier
from rag.errors import GeneratorCrashed, IndexUnusable
from rag.models.embedding.encoder import Encoder
from rag.models.entailment import EntailmentModel
from rag.models.generation import prompts
from rag.models.generation.base import LanguageModel
from rag.models.reading.reader import Reader
from rag.models.reranker import Reranker
from rag.settings import Settings, load
from rag.store import thresholds
from rag.store.reader import IndexReader
from rag.text.tokens import PRONOUNS, STOP_WORDS, terms, words
from rag.timing import Phase, PhaseTimer
from rag.types import (
    ALL_ARTICLES,
    Answer,
    ArticleFilter,
    Evidence,
    Excerpt,
    Hit,
    Message,
    Mode,
    ModelRole,
    Origin,
    QuestionKind,
    SearchQuery,
    Stage,
    Strictness,
    Timings,
)
from rag.wording import DEFAULT_LANGUAGE, Texts

MAX_HITS_OF_SUGGESTION = 2
"""Number of passages in which the answer to a suggested question is looked for."""

MIN_RELEVANCE = 0.5
"""Relevance of the best articles below which there is nothing to summarise."""

QUOTED_KINDS = frozenset(
    {
        QuestionKind.EXPLANATION,
        QuestionKind.LIST,
        QuestionKind.COMPARISON,
        QuestionKind.KEYWORDS,
        QuestionKind.YES_NO,
    }
)
"""Kinds of questions that are answered by sentences about their subject: what the reader is trained to
find, a short answer, says little about whether there are any."""

MIN_OWN_TERMS = 2
"""Terms of a question from which on it can be searched for by itself."""

MAX_SUGGESTIONS = 3
"""Maximum number of follow-up questions suggested after an answer."""


class Chatbot:
    """Answers questions from the articles of one index. Methods may be called from several threads."""

    def __init__(
        self,
        index: IndexReader,
        encoder: Encoder,
        generator: LanguageModel,
        reader: Reader,
        reranker: Reranker | None = None,
        entailment_model: EntailmentModel | None = None,
        strictness: Strictness = Strictness.NORMAL,
        max_memory_mb: int = 0,
    ) -> None:
        """Create a chatbot from its parts; `open` creates one from the settings.

        Args:
            index: The index to answer from, built with `encoder`.
            encoder: Encodes questions and evidence.
            generator: Writes drafts, if it is one that the user chose.
            reader: Finds answers in passages, and judges claims by them.
            reranker: Reorders the hits.
            entailment_model: Judges claims in the reader's place.
            strictness: How confident an answer must be.
            max_memory_mb: Memory available to all models, in megabytes; 0 for most of what is free.
        """
        self.encoder = encoder
        self._generator = generator
        self._reranker = reranker
        self._reader = reader
        self._entailment_model = entailment_model
        self._strictness = strictness
        self._max_memory_mb = max_memory_mb
        self._retriever = Retriever(index, encoder, reranker)
        self._writer = AnswerWriter(generator, encoder, Verifier(entailment_model or reader))

    @classmethod
    def open(cls, settings: Settings | None = None) -> "Chatbot":
        """Open the index and find the models. Models are loaded on the first question.

        Args:
            settings: Index, models and strictness; by default those of the RAG_* variables.

        Raises:
            SettingError: A RAG_* variable is invalid.
            IndexUnusable: There is no index, or it was built with another encoder.
            ModelError: A model is missing or not the expected one.
        """
        settings = settings or load()
        encoder = Encoder.from_settings(settings)
        index = IndexReader.open(settings.index, encoder=encoder.id)
        reranker = build_reranker(settings)
        entailment_model = build_entailment_model(settings)
        reader = build_reader(settings)
        others = (encoder, reader, reranker, entailment_model)
        return cls(
            index=index,
            encoder=encoder,
            generator=build_generator_beside(settings, *others),
            reader=reader,
            reranker=reranker,
            entailment_model=entailment_model,
            strictness=settings.strictness,
            max_memory_mb=settings.memory_mb,
        )

    @property
    def index(self) -> IndexReader:
        """The version of the index that is in use."""
        return self._retriever.index

    @property
    def problem(self) -> str:
        """Why the generator is off, so that answers are quotations; empty while it works."""
        return self._generator.problem

    def refresh(self) -> None:
        """Switch to the latest version of the index, if there is a newer one that can be used.

        Questions in progress are answered from the version with which they began.
        """
        with suppress(IndexUnusable):
            newest = self.index.newest()
            if newest is not self.index:
                newest.load()
                self._retriever = Retriever(newest, self.encoder, self._reranker)

    def load_encoder(self) -> None:
        """Load what searching needs now rather than on the first question.

        Raises:
            ModelError: A model cannot be loaded, or the models do not fit into memory.
        """
        check_memory(
            {ModelRole.ENCODER: self.encoder, ModelRole.RERANKER: self._reranker},
            self._max_memory_mb,
        )
        self.encoder.load()
        self.index.load()
        if self._reranker:
            self._reranker.load()

    def load(self) -> None:
        """Load all models now rather than on the first question.

        Raises:
            ModelError: A model cannot be loaded, or the models do not fit into memory.
        """
        check_memory(
            {
                ModelRole.ENCODER: self.encoder,
                ModelRole.GENERATOR: self._generator,
                ModelRole.RERANKER: self._reranker,
                ModelRole.CHECKER: self._entailment_model,
            },
            self._max_memory_mb,
            occupied=self._reader.memory,
        )
        with ThreadPoolExecutor(1) as pool:
            generator_loading = pool.submit(self._generator.load)  # in a process of its own
            self.load_encoder()
            self._reader.load()
            if self._entailment_model:
                self._entailment_model.load()
            generator_loading.result()

    def search(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        limit: int = DEFAULT_TOP_K,
        timer: PhaseTimer | None = None,
    ) -> tuple[str, list[Hit]]:
        """Search the index without answering.

        Args:
            question: The question.
            history: The conversation before it, oldest message first.
            limit: The maximum number of hits.
            timer: Measures the phases of the search.

        Returns:
            The question as it was searched for, and the hits, best first.

        Raises:
            QuestionError: The question is empty, too long, or not valid Unicode.
        """
        timer = timer or PhaseTimer()
        self.refresh()
        retriever = self._retriever
        with timer.measure(Phase.STANDALONE_QUESTION):
            query = followup.contextualize(
                validate_question(question), without_refusals(history), retriever.index.idf
            )
        return query.text, retriever.retrieve(query, limit, timer=timer)

    def answer(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        article_filter: ArticleFilter = ALL_ARTICLES,
    ) -> Answer:
        """Answer a question.

        Args:
            question: The question.
            history: The conversation before it, oldest message first.
            article_filter: Restricts the answer to some articles.

        Raises:
            QuestionError: The question is empty, too long, or not valid Unicode.
            ModelError: A model cannot be loaded.
        """
        *_, final = self.ask(question, history=history, article_filter=article_filter)
        return final

    def ask(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        article_filter: ArticleFilter = ALL_ARTICLES,
        extra_index: IndexReader | None = None,
    ) -> Generator[Answer]:
        """Yield the answer to a question while it is being made. Closing the iterator stops that.

        Args:
            question: The question.
            history: The conversation before it, oldest message first.
            article_filter: Restricts the answer to some articles of the chatbot's index.
            extra_index: Another index to answer from as well, built with the same encoder. The
                origin of its articles is UPLOADS.

        Yields:
            The answer in progress; the last one is DONE.

        Raises:
            QuestionError: The question is empty, too long, or not valid Unicode.
            ModelError: A model cannot be loaded.
        """
        timer = PhaseTimer()
        self.refresh()
        retriever = self._retriever
        history = without_refusals(history)
        valid_question = validate_question(question)
        small_talk = detect_small_talk(valid_question)
        if small_talk is not None:
            yield finish(self._small_talk_answer(question, small_talk), timer)
            return
        with timer.measure(Phase.STANDALONE_QUESTION):
            query = followup.contextualize(valid_question, history, retriever.index.idf)
        answer = self._new_answer(question, query)
        if query.context_terms and not self.problem and self._generator.profile.can_rewrite:
            with suppress(GeneratorCrashed):  # then the query stays as it is
                query = yield from self._rewrite(query, history, answer, timer)
        index = retriever.index
        spelt, corrections = correct_spelling(query.question, index, self.encoder.count_tokens)
        query = replace(query, question=spelt)
        plan = plan_question(query.question)
        answer = replace(
            answer, standalone_question=query.text, kind=plan.kind, corrections=corrections
        )
        if plan.kind in (QuestionKind.ARTICLE_COUNT, QuestionKind.ARTICLE_LIST):
            yield answer_from_catalogue(answer, plan, query.question, index, article_filter, timer)
            return
        if plan.kind is QuestionKind.PERIOD and plan.period is not None:
            yield answer_about_period(answer, plan.period, index, article_filter, timer)
            return
        search = _Search(retriever, self._reranker, article_filter, extra_index, timer)
        if plan.kind in (QuestionKind.SUMMARY, QuestionKind.OVERVIEW, QuestionKind.LATEST):
            yield from self._answer_from_openings(answer, plan, query, search)
            return
        parts = [self._find_part(part, plan.kind, search) for part in _queries(plan, query)]
        answer = replace(
            answer,
            parts=plan.parts if len(plan.parts) > 1 else (),
            hits=_numbered(hit for part in parts for hit in part.hits),
            confidence=max(part.confidence for part in parts),
            timings=Timings(retrieve_s=timer.total_s, stages=timer.stages()),
        )
        yield answer
        context = AnswerContext(query, plan, parts, self._threshold(index), timer)
        yield from self._writer.write(answer, context)

    def _find_part(self, query: SearchQuery, kind: QuestionKind, search: "_Search") -> Part:
        hits = search.hits(query)
        with search.timer.measure(Phase.WEIGH_EVIDENCE):
            idf = search.retriever.index.idf
            evidence = find_evidence(query, hits, self._reader, idf)
        confidence = best_score(evidence)
        if kind in QUOTED_KINDS and evidence:
            confidence = max(confidence, relevance(query, hits[0], idf))
        return Part(query, hits, evidence, confidence)

    def _answer_from_openings(
        self, answer: Answer, plan: QuestionPlan, query: SearchQuery, search: "_Search"
    ) -> Iterator[Answer]:
        """Yield a summary or overview of the articles about the subject, or a refusal."""
        subject = replace(query, question=plan.subject or query.question)
        hits = search.hits(subject)
        idf = search.retriever.index.idf
        confidence = relevance(subject, hits[0], idf) if hits else 0.0
        answer = replace(
            answer,
            hits=tuple(hits),
            confidence=confidence,
            timings=Timings(retrieve_s=search.timer.total_s, stages=search.timer.stages()),
        )
        yield answer
        articles = search.articles(related_hits(subject, hits, idf)) if hits else []
        if confidence < MIN_RELEVANCE or not articles:
            yield refuse(answer, query, hits, search.timer)
            return
        yield answer_from_openings(answer, plan.kind, articles, search.timer)

    def suggest_questions(
        self,
        answer: Answer,
        article_filter: ArticleFilter = ALL_ARTICLES,
        *,
        language: str = DEFAULT_LANGUAGE,
    ) -> tuple[str, ...]:
        """Suggest follow-up questions that the articles answer.

        Args:
            answer: The answer that they follow.
            article_filter: The articles that must answer them.
            language: The language of the questions, one of `rag.wording.load_locales`.

        Returns:
            At most `MAX_SUGGESTIONS` questions.
        """
        retriever = self._retriever
        threshold = self._threshold(retriever.index)

        def is_answerable(question: str) -> bool:
            query = SearchQuery(question)
            hits = retriever.retrieve(query, MAX_HITS_OF_SUGGESTION, article_filter)
            return (
                best_score(find_evidence(query, hits, self._reader, retriever.index.idf))
                >= threshold
            )

        texts = Texts(language)
        candidates = islice(suggestions.candidates(answer), 2 * MAX_SUGGESTIONS)
        questions = (candidate.text_in(texts) for candidate in candidates)
        return tuple(islice(filter(is_answerable, questions), MAX_SUGGESTIONS))

    def _threshold(self, index: IndexReader) -> float:
        """The confidence below which a question to this index is refused."""
        normal = thresholds.least_score(index.folder, self.encoder.id)
        return self._strictness.least_score(normal)

    def _new_answer(self, question: str, query: SearchQuery) -> Answer:
        return Answer(
            question=question,
            standalone_question=query.text,
            stage=Stage.WRITING,
            mode=Mode.REFUSED,
            hits=(),
            model=self._generator.name,
            timings=Timings(retrieve_s=0.0),
        )

    def _small_talk_answer(self, question: str, kind: SmallTalk) -> Answer:
        reply = build_reply(kind, self.index.stats().articles)
        answer = self._new_answer(question, SearchQuery(question))
        return replace(answer, mode=Mode.WRITTEN, reply=reply)

    def _rewrite(
        self, query: SearchQuery, history: Sequence[Message], answer: Answer, timer: PhaseTimer
    ) -> Generator[Answer, None, SearchQuery]:
        """Return the question as the generator rewrites it; yield `answer` meanwhile."""
        generator, phase = self._generator, Phase.STANDALONE_QUESTION
        max_tokens = generator.context - generator.profile.answer_tokens
        messages = prompts.rewriting(query.question, history, generator.count_tokens, max_tokens)
        draft = ""
        with closing(generator.stream(messages)) as stream:
            for piece in timer.measure_iter(stream, phase, phase):
                draft += piece
                yield answer
        _, rewrite = prompts.split_reasoning(draft)
        return followup.accept_rewrite(query, rewrite, history)


def best_score(evidence: Sequence[Evidence]) -> float:
    return max((item.score for item in evidence), default=0.0)


@dataclass(frozen=True, slots=True)
class _Search:
    """Searches the chatbot's index, and perhaps another one, for one question.

    Attributes:
        retriever: Searches the chatbot's index.
        reranker: Reorders the hits of the other index.
        article_filter: Restricts the articles of the chatbot's index.
        extra_index: The other index.
        timer: Runs since the question was asked.
    """

    retriever: Retriever
    reranker: Reranker | None
    article_filter: ArticleFilter
    extra_index: IndexReader | None
    timer: PhaseTimer

    def hits(self, query: SearchQuery) -> list[Hit]:
        """Return the hits of both indexes, best first."""
        hits = self.retriever.retrieve(query, DEFAULT_TOP_K, self.article_filter, self.timer)
        if self.extra_index is None:
            return hits
        extra_retriever = Retriever(self.extra_index, self.retriever.encoder, self.reranker)
        extra_hits = extra_retriever.retrieve(query, DEFAULT_TOP_K, timer=self.timer)
        return _merge_hits(hits, map(_from_uploads, extra_hits))

    def articles(self, hits: Sequence[Hit]) -> list[FoundArticle]:
        """Return the articles of the hits, in the same order."""
        indexes = {Origin.INDEX: self.retriever.index, Origin.UPLOADS: self.extra_index}
        found = []
        for origin, article_id in (hit.passage.article for hit in hits):
            index = indexes[origin]
            article = index.article(article_id) if index else None
            if article is not None:  # else the uploads have just been removed
                found.append(FoundArticle(article, origin))
        return found


def _queries(plan: QuestionPlan, query: SearchQuery) -> list[SearchQuery]:
    """Return the query of each part of a question; later parts refer to the first."""
    if len(plan.parts) == 1:
        return [query]
    first, *others = plan.parts
    context = tuple(dict.fromkeys([*query.context_terms, *content_words(first)]))
    return [
        replace(query, question=first),
        *(SearchQuery(part, context if depends_on_context(part) else ()) for part in others),
    ]


def depends_on_context(question: str) -> bool:
    """Whether a question has a pronoun, or too few words of its own to be searched for."""
    return not PRONOUNS.isdisjoint(words(question)) or len(set(terms(question))) < MIN_OWN_TERMS


def content_words(question: str) -> list[str]:
    """Return the words of a question that say what it is about."""
    return [word for word in words(question) if word not in STOP_WORDS]


def _numbered(hits: Iterable[Hit]) -> tuple[Hit, ...]:
    """Return hits of several queries, each passage once, numbered in their order."""
    unique = {(hit.passage.article, hit.passage.start): hit for hit in reversed(list(hits))}
    ordered = reversed(unique.values())
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(ordered, start=1))


def _from_uploads(hit: Hit) -> Hit:
    """Mark a hit as one of the additional index, whose ids may also occur in the chatbot's own."""
    return replace(hit, passage=_with_upload_origin(hit.passage))


def _with_upload_origin(excerpt: Excerpt) -> Excerpt:
    duplicates = tuple(map(_with_upload_origin, excerpt.duplicates))
    return replace(excerpt, origin=Origin.UPLOADS, duplicates=duplicates)


def _merge_hits(hits: Sequence[Hit], extra_hits: Iterable[Hit]) -> list[Hit]:
    """Merge the hits of two indexes, and number them by their scores."""
    merged = sorted([*hits, *extra_hits], key=lambda hit: -hit.score)
    return [replace(hit, rank=rank) for rank, hit in enumerate(merged, start=1)]
