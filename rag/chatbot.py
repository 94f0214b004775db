"""The question's way in one place."""

import collections.abc as abc
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice

from rag import certainty, citations, conversation, memory, prompt, suggestions, threshold
from rag.catalogue import Job
from rag.checker import Checker
from rag.conversation import Talk
from rag.datatypes import (
    EVERYTHING,
    Among,
    Answer,
    Evidence,
    Excerpt,
    Hit,
    Message,
    Mode,
    Notice,
    Prompt,
    ShortAnswer,
    Stage,
    StandaloneQuestion,
    Strictness,
    Timings,
)
from rag.encoder import Encoder
from rag.errors import GeneratorCrashed, IndexUnusable
from rag.evidence import opposed, weigh, worth_quoting
from rag.generator import Generator
from rag.index import PassageIndex
from rag.language import quoted, sentences, terms, words
from rag.memory import Need
from rag.models import adapter_file, cross_encoder_folder, generator_file
from rag.questions import sound
from rag.reranker import Reranker
from rag.retriever import HITS, Retriever
from rag.server import ServerGenerator
from rag.settings import Settings, load
from rag.stopwatch import Stopwatch, Work
from rag.supervised import SupervisedGenerator

# How these were chosen stands in docs/measurements.md.

ALSO = "also:"
"""What the ids of articles begin with that are not of the chatbot's own index."""

OFFERS = 3
"""Questions offered after an answer."""

NEARLY_ALL = 0.85
"""Of a source's words, in an answer that needs no quotation of it."""

REFUSAL = "The articles do not seem to answer"
NOT_SO = "No passage holds the words in quotation marks as they stand there."
NOTHING = "The index holds no articles, so there is nothing to answer from."
REFUSALS = (REFUSAL, NOT_SO, NOTHING)
SHOWN_CHARACTERS = 200
"""Of a question that a refusal names."""

REPLIES = {
    Talk.THANKS: "You are welcome. Ask on.",
    Talk.GREETING: "Hello. Ask something that the articles may tell.",
    Talk.FAREWELL: "Goodbye.",
    Talk.ABOUT_IT: (
        "I answer questions about the {articles} indexed here, and show for each sentence where it"
        " stands. What they do not hold, I do not answer. Ask about something that they report."
    ),
}
"""To what is said to the chat itself; nothing is searched for."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found for a question, how sure an answer must be, and the time since it was asked."""

    question: StandaloneQuestion
    hits: Sequence[Hit]
    evidence: Sequence[Evidence]
    least: float
    clock: Stopwatch


class Chatbot:
    """Answers questions over one index."""

    def __init__(
        self,
        index: PassageIndex,
        encoder: Encoder,
        generator: Generator,
        reranker: Reranker | None = None,
        checker: Checker | None = None,
        strictness: Strictness = Strictness.NORMAL,
        most_megabytes: int = 0,
    ) -> None:
        """`most_megabytes` of memory are there for the models; 0 for most of what is free."""
        self.encoder = encoder
        self._most_megabytes = most_megabytes
        self._generator = generator
        self._reranker = reranker
        self._checker = checker
        self._strictness = strictness
        self._retriever = self._searching(index)

    @classmethod
    def open(cls, settings: Settings | None = None) -> "Chatbot":
        """With the index and models of the settings; without any, of the RAG_* variables.

        Models are loaded at the first question. Raises SettingError, IndexUnusable and ModelError.
        """
        settings = settings or load()
        encoder = Encoder.chosen(settings)
        index = PassageIndex.open(settings.index, encoder=encoder.id)
        named = settings.reranker
        reranker = Reranker(named, cross_encoder_folder(named, Job.RERANKER)) if named else None
        named = settings.checker
        checker = Checker(named, cross_encoder_folder(named, Job.CHECKER)) if named else None
        taken = sum(model.memory for model in (encoder, reranker, checker) if model)
        generator = generator_of(settings, memory.budget(settings.memory) - taken)
        strictness, most = settings.strictness, settings.memory
        return cls(index, encoder, generator, reranker, checker, strictness, most)

    @property
    def index(self) -> PassageIndex:
        return self._retriever.index

    @property
    def problem(self) -> str:
        """Why the generator is off, so that answers are quotations; empty while it works."""
        return self._generator.problem

    def renew(self) -> None:
        """Go over to the index's last commit, if there is a newer one that can be used.

        Questions under way end with the one that they began with.
        """
        with suppress(IndexUnusable):
            newest = self.index.newest()
            if newest is not self.index:
                newest.load()
                self._retriever = self._searching(newest)

    def load_encoder(self) -> None:
        """Load what searching needs now rather than at the first question. Raises ModelError."""
        self._check_memory({Job.ENCODER: self.encoder, Job.RERANKER: self._reranker})
        self.encoder.load()
        self.index.load()
        if self._reranker:
            self._reranker.load()

    def load(self) -> None:
        """Load every model now rather than at the first question. Raises ModelError."""
        self._check_memory(
            {
                Job.ENCODER: self.encoder,
                Job.GENERATOR: self._generator,
                Job.RERANKER: self._reranker,
                Job.CHECKER: self._checker,
            }
        )
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self._generator.load)  # in a process of its own
            self.load_encoder()
            if self._checker:
                self._checker.load()
            loading.result()

    def _check_memory(
        self, models: "Mapping[Job, Encoder | Generator | Reranker | Checker | None]"
    ) -> None:
        """Raises ModelError when these don't fit into memory beside each other."""
        needs = [Need(job, model.name, model.memory) for job, model in models.items() if model]
        memory.check(needs, memory.budget(self._most_megabytes))

    def search(
        self, question: str, history: Sequence[Message], k: int, clock: Stopwatch | None = None
    ) -> tuple[str, list[Hit]]:
        """The standalone question and its `k` best hits. Raises QuestionError.

        `clock` is told where the time goes.
        """
        clock = clock or Stopwatch()
        self.renew()
        rarity = self._retriever.index.rarity
        with clock.during(Work.STANDALONE_QUESTION):
            standalone = conversation.standalone(sound(question), _told(history), rarity)
        return standalone.text, self._retriever.retrieve(standalone, k, clock=clock)

    def answer(
        self, question: str, history: Sequence[Message] = (), among: Among = EVERYTHING
    ) -> Answer:
        """The answer to a question, once it is DONE. Raises QuestionError and ModelError."""
        *_, last = self.ask(question, history, among)
        return last

    def ask(
        self,
        question: str,
        history: Sequence[Message] = (),
        among: Among = EVERYTHING,
        also: PassageIndex | None = None,
    ) -> abc.Generator[Answer]:
        """The answer as it comes about; the last one yielded is DONE. Raises QuestionError.

        It rests on articles `among` those of the index, and on all that `also` holds, whose ids then
        begin with ALSO. With nothing to stand on, it refuses without asking the generator. Closing the
        iterator stops the generator.
        """
        clock = Stopwatch()
        self.renew()
        retriever, told = self._retriever, _told(history)
        kind = conversation.talk(sound(question))
        if kind is not None:
            yield _done(self._reply(question, kind), clock)
            return
        with clock.during(Work.STANDALONE_QUESTION):
            standalone = conversation.standalone(sound(question), told, retriever.index.rarity)
        answer = self._begun(question, standalone)
        if standalone.about and not self.problem and self._generator.ability.rewrites:
            with suppress(GeneratorCrashed):  # it is searched for as it was understood without
                standalone = yield from self._rewritten(standalone, told, answer, clock)
        hits = retriever.retrieve(standalone, HITS, among, clock)
        if also is not None:
            found_there = self._searching(also).retrieve(standalone, HITS, clock=clock)
            hits = _ranked([*hits, *map(_marked, found_there)])
        with clock.during(Work.WEIGH_EVIDENCE):
            evidence = weigh(standalone, hits, self.encoder, retriever.index.rarity)
        answer = replace(
            answer,
            standalone_question=standalone.text,
            hits=tuple(hits),
            confidence=max((found.score for found in evidence), default=0.0),
            timings=Timings(retrieve_s=clock.total_s, stages=clock.stages()),
        )
        yield answer
        least = self._least(retriever.index)
        found = _Found(standalone, hits, evidence, least, clock)
        if certainty.at_most(answer.confidence) < least:
            yield _refused(answer, found)
            return
        if self.problem:
            yield _without_generator(answer, found, Notice.GENERATOR_OFF)
            return
        try:
            yield from self._generated(answer, found)
        except GeneratorCrashed:
            yield _without_generator(answer, found, Notice.GENERATOR_CRASHED)

    def offers(self, answer: Answer, among: Among = EVERYTHING) -> tuple[str, ...]:
        """Up to OFFERS questions that could come after this one, and that these articles answer."""
        retriever = self._retriever
        least = self._least(retriever.index)

        def answerable(question: str) -> bool:
            asked = StandaloneQuestion(question)
            hits = retriever.retrieve(asked, HITS, among)
            evidence = weigh(asked, hits, self.encoder, retriever.index.rarity)
            return max((found.score for found in evidence), default=0.0) >= least

        tried = islice(suggestions.candidates(answer), 2 * OFFERS)
        return tuple(islice(filter(answerable, tried), OFFERS))

    def _searching(self, index: PassageIndex) -> Retriever:
        return Retriever(index, self.encoder, self._reranker)

    def _least(self, index: PassageIndex) -> float:
        """How sure an answer from this index must be."""
        return self._strictness.least_score(threshold.least_score(index.folder, self.encoder.id))

    def _begun(self, question: str, standalone: StandaloneQuestion) -> Answer:
        """An answer of which nothing is known yet."""
        return Answer(
            question=question,
            standalone_question=standalone.text,
            stage=Stage.WRITING,
            mode=Mode.REFUSED,
            text="",
            hits=(),
            model=self._generator.name,
            timings=Timings(retrieve_s=0.0),
        )

    def _reply(self, question: str, kind: Talk) -> Answer:
        count = self.index.contents().articles
        text = REPLIES[kind].format(articles=f"{count:,} article{'' if count == 1 else 's'}")
        begun = self._begun(question, StandaloneQuestion(question))
        return replace(begun, mode=Mode.WRITTEN, text=text)

    def _rewritten(
        self,
        question: StandaloneQuestion,
        told: Sequence[Message],
        answer: Answer,
        clock: Stopwatch,
    ) -> abc.Generator[Answer, None, StandaloneQuestion]:
        """The question as the generator words it for itself, if that holds; `answer` meanwhile."""
        generator = self._generator
        most = generator.context - generator.ability.answer_tokens
        asked = prompt.rewriting(question.asked, told, generator.count_tokens, most)
        draft = ""
        work = Work.STANDALONE_QUESTION
        with closing(self._generator.stream(asked)) as pieces:
            for piece in clock.each(pieces, work, work):
                draft += piece
                yield answer
        return conversation.rewritten(question, prompt.apart(draft)[1], told)

    def _generated(self, answer: Answer, found: _Found) -> Iterator[Answer]:
        """The answer with what the generator makes of the evidence. Raises GeneratorCrashed."""
        with found.clock.during(Work.COMPOSE_PROMPT):
            composed = self._composed(found.question, found.evidence)
        given = len(composed.sources)
        answer = replace(answer, given=given, dropped=max(0, len(found.evidence) - given))
        short = yield from self._short_answer(answer, composed)
        if short is None:
            yield from self._by_draft(answer, found, composed)
        else:
            yield from self._by_short_answer(answer, found, composed, short)

    def _composed(self, question: StandaloneQuestion, evidence: Sequence[Evidence]) -> Prompt:
        """The prompt with as much of the evidence as the generator handles well."""
        generator, ability = self._generator, self._generator.ability
        sources = ability.chosen(evidence, self.encoder.count_tokens)
        most = generator.context - ability.answer_tokens
        return prompt.compose(question.text, sources, ability, generator.count_tokens, most)

    def _short_answer(
        self, answer: Answer, composed: Prompt
    ) -> abc.Generator[Answer, None, ShortAnswer | None]:
        """What a taught generator makes of the sources; `answer` meanwhile."""
        if not composed.sources:
            return None
        with closing(self._generator.short_answer(composed.messages)) as reading:
            for short in reading:
                if short is not None:
                    return short
                yield answer
        return None

    def _by_draft(self, answer: Answer, found: _Found, composed: Prompt) -> Iterator[Answer]:
        """The answer as the generator drafts it, and what of the draft stands."""
        if answer.confidence < found.least:
            yield _refused(answer, found)
            return
        drafted = answer
        for drafted in self._drafted(answer, composed, found.clock):
            yield drafted
        if prompt.declined(drafted.draft):
            yield _refused(drafted, found)
            return
        with found.clock.during(Work.CHECK):
            quotable = worth_quoting(found.question, found.evidence)
            decided = self._decided(drafted, composed.sources, quotable)
        yield _done(decided, found.clock)

    def _by_short_answer(
        self, answer: Answer, found: _Found, composed: Prompt, short: ShortAnswer
    ) -> Iterator[Answer]:
        """A refusal when the generator makes it too unsure; else the short answer, if it stands."""
        sure = certainty.confidence(found.evidence, short)
        answer = _drafting(replace(answer, confidence=sure), composed, short, found.clock)
        if sure < found.least:
            yield _refused(answer, found)
            return
        yield answer
        with found.clock.during(Work.CHECK):
            evidence = certainty.reordered(found.evidence, composed.sources, short)
            quotable = worth_quoting(found.question, evidence)
            if short.certainty < certainty.LEAST_CERTAIN or prompt.declined(short.text):
                decided = _with(answer, Mode.QUOTED, citations.quote(quotable))
            else:
                decided = self._decided(answer, [quotable[0].sentence], quotable)
        yield _done(decided, found.clock)

    def _drafted(self, answer: Answer, composed: Prompt, clock: Stopwatch) -> Iterator[Answer]:
        """The answer with its draft as it grows; nothing when the prompt holds no source."""
        if not composed.sources:
            return
        timings = replace(answer.timings, prompt_tokens=composed.tokens)
        written = ""
        with closing(self._generator.stream(composed.messages)) as pieces:
            read = clock.each(pieces, Work.READ_PROMPT, Work.WRITE)
            for piece in read:
                if not written and piece:
                    timings = replace(timings, first_token_s=clock.total_s)
                written += piece
                thought, draft = prompt.apart(written)
                tokens = timings.answer_tokens + bool(piece)
                timings = replace(timings, answer_tokens=tokens)
                yield replace(answer, draft=draft, thought=thought, timings=timings)
                if _rambles(draft):
                    break

    def _decided(
        self, answer: Answer, sources: Sequence[Excerpt], quotable: Sequence[Evidence]
    ) -> Answer:
        """What stands of the draft, backed by the quotation that it agrees with; or quotations alone.

        Where two articles tell it differently, the draft cannot speak for both.
        """
        ask = self._checker.opinion if self._checker else None
        drafted = citations.check(answer.draft, answer.standalone_question, sources, ask)
        best = quotable[0].sentence
        rests_on_best = [citation.quote for citation in drafted.citations] == [best]
        stands = " ".join(sentence.text for sentence in drafted.sentences if sentence.supported)
        if stands and not rests_on_best:
            return _with(answer, Mode.WRITTEN, drafted)
        if stands and not (len(quotable) > 1 and opposed(answer.standalone_question, *quotable)):
            worth_it = quotable[1:] if _says_it_all(stands, best) else quotable
            quoted_ones = [found.sentence for found in worth_it]
            return _with(answer, Mode.WRITTEN, citations.backed(drafted, best, quoted_ones))
        quotation = citations.quote(quotable)
        struck = tuple(s for s in drafted.sentences if not s.supported)
        told = replace(quotation, sentences=quotation.sentences + struck)
        return _with(answer, Mode.QUOTED, told)


def generator_of(settings: Settings, most_bytes: int) -> Generator:
    """The one that is named: a server's, or one that llama.cpp runs here. Raises ModelError."""
    name = settings.generator
    if name.startswith(("http://", "https://")):
        return ServerGenerator(name, settings.model, settings.api_key.get_secret_value())
    file = generator_file(name, settings.cache)
    adapter = adapter_file(name, settings.cache) if settings.adapter == "on" else None
    return SupervisedGenerator(name, file, settings.cache, settings.threads, adapter, most_bytes)


def _marked(hit: Hit) -> Hit:
    """A hit whose article cannot be taken for one of another index."""
    passage = hit.passage
    return replace(hit, passage=replace(passage, article_id=f"{ALSO}{passage.article_id}"))


def _ranked(hits: Sequence[Hit]) -> list[Hit]:
    """Hits of several indexes as those of one."""
    best = sorted(hits, key=lambda hit: -hit.score)
    return [replace(hit, rank=rank) for rank, hit in enumerate(best, start=1)]


def _drafting(answer: Answer, composed: Prompt, short: ShortAnswer, clock: Stopwatch) -> Answer:
    """The answer with a short one as its draft."""
    clock.add(Work.READ_PROMPT, short.read_s)
    clock.add(Work.WRITE, short.write_s)
    timings = replace(
        answer.timings,
        prompt_tokens=composed.tokens,
        first_token_s=clock.total_s,
        answer_tokens=short.tokens,
    )
    ended = "" if short.text.endswith((".", "!", "?")) else "."
    draft = f"{short.text[:1].upper()}{short.text[1:]}{ended}" if short.text else ""
    return replace(answer, draft=draft, timings=timings)


def _rambles(draft: str) -> bool:
    """Whether the draft has begun to ask itself, or to say again what it has said."""
    if not draft.endswith((".", "?", "!", "\n", " ")):
        return False
    said = [draft[start:end] for start, end in sentences(draft)]
    return bool(said) and (said[-1].endswith("?") or said[-1] in said[:-1])


def _says_it_all(text: str, source: Excerpt) -> bool:
    """Whether a text says so much of its source, in its words, that a quotation would say it twice."""
    much = len(words(text)) >= NEARLY_ALL * len(words(source.text))
    return much and set(terms(text)) <= set(terms(source.text))


def _with(answer: Answer, mode: Mode, checked: citations.Checked) -> Answer:
    return replace(
        answer,
        mode=mode,
        text=checked.text,
        sentences=checked.sentences,
        citations=checked.citations,
    )


def _told(history: Sequence[Message]) -> list[Message]:
    """What was said of the subject: our own refusals are not."""
    return [turn for turn in history if not turn["content"].startswith(REFUSALS)]


def _without_generator(answer: Answer, found: _Found, notice: Notice) -> Answer:
    """The answer that the evidence alone gives."""
    answer = replace(answer, notice=notice)
    if answer.confidence < found.least:
        return _refused(answer, found)
    with found.clock.during(Work.CHECK):
        quotation = citations.quote(worth_quoting(found.question, found.evidence))
    return _done(_with(answer, Mode.QUOTED, quotation), found.clock)


def _refused(answer: Answer, found: _Found) -> Answer:
    return _done(replace(answer, text=_refusal(found.question, found.hits)), found.clock)


def _refusal(question: StandaloneQuestion, hits: Sequence[Hit]) -> str:
    if hits:
        asked = question.text
        shown = asked if len(asked) <= SHOWN_CHARACTERS else f"{asked[:SHOWN_CHARACTERS]}…"
        return f"{REFUSAL} “{shown}”. The passages nearest to it are shown with it."
    return NOT_SO if quoted(question.asked) else NOTHING


def _done(answer: Answer, clock: Stopwatch) -> Answer:
    stages = clock.stages()
    timings = replace(answer.timings, total_s=sum(stages.values()), stages=stages)
    return replace(answer, stage=Stage.DONE, draft="", timings=timings)
