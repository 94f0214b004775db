"""Builds the models that the settings name, within the memory that is available.

Building a model finds its files; its weights are loaded on first use, or by its `load` method.
"""

from collections.abc import Mapping

from rag.models import memory
from rag.models.embedding.encoder import Encoder
from rag.models.entailment import EntailmentModel
from rag.models.generation.base import LanguageModel
from rag.models.generation.openai_client import ServerGenerator
from rag.models.generation.supervised import SupervisedGenerator
from rag.models.memory import MemoryRequirement
from rag.models.reading.reader import Reader
from rag.models.reranker import Reranker
from rag.models.resolve import (
    MINILM,
    cross_encoder_folder,
    generator_file,
    reader_file,
)
from rag.settings import Settings
from rag.types import ModelRole

Model = Encoder | LanguageModel | Reranker | EntailmentModel


def build_reranker(settings: Settings) -> Reranker | None:
    """Return the reranker, or None if none is set. Raises ModelError."""
    name = settings.reranker
    return Reranker(name, cross_encoder_folder(name, ModelRole.RERANKER)) if name else None


def build_entailment_model(settings: Settings) -> EntailmentModel | None:
    """Return the model that checks drafts, or None if none is set. Raises ModelError."""
    name = settings.checker
    return EntailmentModel(name, cross_encoder_folder(name, ModelRole.CHECKER)) if name else None


def build_reader(settings: Settings) -> Reader:
    """Return the reader that is bundled with the program. Raises ModelError."""
    folder = MINILM.locate() / MINILM.folder
    return Reader(reader_file(settings.cache), folder, settings.cache, settings.encoder_dtype)


def build_generator(settings: Settings, max_bytes: int) -> LanguageModel:
    """Return a client if the setting is a server's address, else a model run by llama.cpp.

    Args:
        settings: Names the generator.
        max_bytes: The memory available to it; ignored for a server.

    Raises:
        ModelError: The model's file is missing or not the expected one.
    """
    name = settings.generator
    if name.startswith(("http://", "https://")):
        return ServerGenerator(
            name, settings.generator_model, settings.generator_api_key.get_secret_value()
        )
    file = generator_file(name, settings.cache)
    return SupervisedGenerator(name, file, settings.cache, settings.threads, max_bytes)


def build_generator_beside(settings: Settings, *others: Model | Reader | None) -> LanguageModel:
    """Return the generator, limited to the memory that the other models leave. Raises ModelError."""
    occupied = sum(model.memory for model in others if model)
    return build_generator(settings, memory.budget(settings.memory_mb) - occupied)


def check_memory(
    models: Mapping[ModelRole, Model | None], megabytes: int, *, occupied: int = 0
) -> None:
    """Check that models fit into memory together.

    Args:
        models: The models that the user may choose; those already loaded require nothing.
        megabytes: The memory available to models; 0 for most of what is free.
        occupied: Bytes that the reader takes, if it is loaded beside them.

    Raises:
        ModelError: They do not fit.
    """
    requirements = [
        MemoryRequirement(role, model.name, model.memory) for role, model in models.items() if model
    ]
    memory.check(requirements, memory.budget(megabytes) - occupied)
