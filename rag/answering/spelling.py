"""Spelling correction: words of a question that no article contains are replaced by similar ones that do.

The words to choose from are those of the index, so that names are corrected as well. Similarity is the
Damerau-Levenshtein distance, for which a transposed pair of letters is one error.
"""

from rag.store.reader import IndexReader
from rag.text.chunking import CountTokens
from rag.text.tokens import QUESTION_WORDS, STOP_WORDS, stem, word_spans, words
from rag.types import Correction

MIN_WORD_LETTERS = 5
"""Letters of the shortest word that is corrected."""

LETTERS_PER_ERROR = 4
"""Number of letters for each error that a word may have; a word may have two errors at most."""

MAX_CANDIDATES = 8
"""Stems of the index among which the most similar word is chosen."""

MAX_PASSAGES = 20
"""Passages in which a word with a certain stem is looked for."""

COMMON_WORDS = STOP_WORDS | QUESTION_WORDS


def correct_spelling(
    question: str, index: IndexReader, count_tokens: CountTokens
) -> tuple[str, tuple[Correction, ...]]:
    """Return the question with corrected words, and the corrections.

    A word is corrected only if no passage contains it or another word of its stem, and if the encoder
    does not know it either: the encoder splits words that it does not know into several tokens.

    Args:
        question: The question.
        index: The index whose words replace others.
        count_tokens: The encoder's token counter.
    """
    corrected = question
    corrections: list[Correction] = []
    frequencies = index.document_frequency(map(stem, words(question)))
    for start, end in reversed(list(word_spans(question))):
        word = question[start:end]
        if not _may_be_misspelt(word) or frequencies[stem(word.lower())]:
            continue
        if count_tokens([word]) == [1]:
            continue
        if replacement := _similar_word(word.lower(), index):
            corrected = corrected[:start] + replacement + corrected[end:]
            corrections.append(Correction(word, replacement))
    return corrected, tuple(reversed(corrections))


def _may_be_misspelt(word: str) -> bool:
    return len(word) >= MIN_WORD_LETTERS and word.isalpha() and word.lower() not in COMMON_WORDS


def _similar_word(word: str, index: IndexReader) -> str | None:
    """Return the word of the index that is most similar to a word, the most frequent one of several."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    errors = min(2, len(word) // LETTERS_PER_ERROR)
    vocabulary = index.vocabulary(word[0])
    matches = process.extract(
        stem(word), list(vocabulary), scorer=OSA.distance, score_cutoff=errors, limit=MAX_CANDIDATES
    )
    by_frequency = sorted(matches, key=lambda match: (match[1], -vocabulary[match[0]]))
    surface_forms = (_surface_form(stemmed, index) for stemmed, *_ in by_frequency)
    return next(
        (form for form in surface_forms if form and OSA.distance(word, form) <= errors), None
    )


def _surface_form(stemmed: str, index: IndexReader) -> str | None:
    """Return a word of the index with this stem, as it is written in lower case."""
    passages = index.passages_with_prefix(stemmed[:-1], MAX_PASSAGES)
    found = (w for p in passages for w in words(f"{p.title} {p.text}") if stem(w) == stemmed)
    return next(found, None)
