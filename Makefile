# make app    installs Footnote, indexes the articles, serves the page
# make test   installs what the tests need and runs them all
# make check  style, types and who imports whom
# make fix    puts right what can be put right by itself
# make screenshot  takes the README's picture of the page
# make space  builds a Space's environment by its own command, runs the repository in it, asks a question
# make bench  measures answers, searching, encoding and indexing, in about three hours (DATA=… for the
#             folder of question sets and articles)

PYTHON ?= python3
BIN := .venv/bin
DATA ?= $(firstword $(wildcard data ../*/data))

SAMPLES := $(or $(TMPDIR),/tmp)/footnote-benchmarks/samples

# A build of PyTorch without CUDA, which is gigabytes smaller; used when it answers.
TORCH := torch==2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: app test check fix screenshot space bench

app: .venv/installed
	-@$(BIN)/rag index
	@$(BIN)/python app.py

test: .venv/installed-dev
	@$(MAKE) --no-print-directory chromium
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python .ci/generate.py

screenshot: .venv/installed-dev chromium
	$(BIN)/rag index seeds
	$(BIN)/python tests/browser/screenshot.py

# As near to a Space's image as it comes without Docker. Its user is another than root, who cannot
# run what stands in root's home: hence the system's Python, where there is one. Indexes that are out of
# reach are tried once more at most, or each of a hundred packages would wait for them.
SPACE := $(or $(TMPDIR),/tmp)/footnote-space
SPACE_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.12 /usr/bin/python3.11) $(PYTHON))
SDK_VERSION = $(shell sed -n 's/^sdk_version: //p' README.md)

space: .venv/installed-dev chromium $(SPACE)/installed
	FOOTNOTE_SPACE=$(SPACE) $(BIN)/python -m pytest tests/browser/space.py

$(SPACE)/installed: requirements.txt README.md
	@echo "Building a Space's environment in $(SPACE): minutes, more if llama.cpp has to be compiled."
	@rm -rf $(SPACE) && mkdir -p $(SPACE) && cp requirements.txt $(SPACE)
	@$(SPACE_PYTHON) -m venv $(SPACE)/venv
	@cd $(SPACE) && PIP_RETRIES=1 CMAKE_ARGS="$(LLAMA_CPP) $$CMAKE_ARGS" venv/bin/pip install --quiet -r requirements.txt \
	  "gradio[oauth,mcp]==$(SDK_VERSION)" "uvicorn>=0.14.0" "websockets>=10.4" spaces
	@touch $@

bench: .venv/installed
	@test -f "$(DATA)/squad2/articles.jsonl" || { echo "There are no question sets in '$(DATA)': make bench DATA=FOLDER"; exit 1; }
	$(BIN)/python benchmarks/answers.py $(DATA)/squad2 --leave-out 3
	$(BIN)/python benchmarks/answers.py $(DATA)/squad2
	$(BIN)/python benchmarks/answers.py $(DATA)/clapnq
	$(BIN)/rag index seeds --index $(SAMPLES)
	$(BIN)/rag eval benchmarks/outside.jsonl --answers --index $(SAMPLES)
	$(BIN)/python benchmarks/page.py $(SAMPLES)
	$(BIN)/python benchmarks/starting.py $(SAMPLES)
	$(BIN)/python benchmarks/floors.py $(DATA)/squad2
	$(BIN)/python benchmarks/stopping.py $(DATA)/squad2
	$(BIN)/python benchmarks/load.py $(DATA)/squad2 --minutes 10
	$(BIN)/python benchmarks/planted.py orders $(DATA)/squad2 $(DATA)/prompt_injection
	$(BIN)/python benchmarks/planted.py poison $(DATA)/poisonedrag
	$(BIN)/python benchmarks/decoding.py $(DATA)/squad2
	$(BIN)/python benchmarks/overflow.py
	$(BIN)/python benchmarks/checking.py $(DATA)/begin/claims.jsonl
	$(BIN)/python benchmarks/retrieval.py $(DATA)/scifact $(DATA)/squad2 $(DATA)/clapnq $(DATA)/mtrag
	$(BIN)/python benchmarks/passages.py $(DATA)/clapnq $(DATA)/mtrag
	$(BIN)/python benchmarks/followups.py $(DATA)/trec_cast/questions.jsonl
	$(BIN)/python benchmarks/searching.py $(DATA)/reuters21578/articles.jsonl.gz
	$(BIN)/python benchmarks/encoding.py $(DATA)/scifact $(DATA)/reuters21578/articles.jsonl.gz
	$(BIN)/python benchmarks/indexing.py $(DATA)/reuters21578/articles.jsonl.gz
	$(BIN)/python benchmarks/million.py $(DATA)/squad2

# llama.cpp is compiled for this machine. Its command-line programs' common code and its image
# models are left out: nothing here uses them, and they take most of the time.
LLAMA_CPP = -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama_cpp_INCLUDE=$(CURDIR)/.venv/llama-cpp.cmake

.venv/installed: pyproject.toml
	@echo "Installing into .venv: about 5 minutes the first time (llama.cpp compiles for 2 to 4)."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo 'set(LLAMA_BUILD_COMMON OFF)' > .venv/llama-cpp.cmake
	@index=; if $(BIN)/python -c "import urllib.request; urllib.request.urlopen('$(TORCH_INDEX)/torch/', timeout=5)" 2>/dev/null; \
	  then index="--index-url $(TORCH_INDEX)"; fi; \
	  echo "1/2 PyTorch"; $(BIN)/pip install --quiet $$index $(TORCH)
	@echo "2/2 everything else, llama.cpp among it"
	@CMAKE_ARGS="$(LLAMA_CPP) $$CMAKE_ARGS" \
	  $(BIN)/pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Installing what the tests need."
	@$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Chromium for the tests of the page."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	  else \
	    echo "The tests of the page need Chromium: sudo apt-get install chromium"; exit 1; \
	  fi; }
