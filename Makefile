# make app    installs Footnote, indexes the articles, serves the page
# make test   installs what the tests need and runs them all
# make test-all-pythons  the same with each of Python 3.11, 3.12 and 3.13 that is installed
# make check  style, types and who imports whom
# make fix    puts right what can be put right by itself
# make screenshot  takes the README's picture of the page
# make space  builds a Space's environment by its own command, runs the repository in it, asks a question
# make bench  measures answers, searching, encoding and indexing, in about three hours (DATA=… for the
#             folder of question sets and articles)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= $(firstword $(wildcard data ../*/data))

SAMPLES := $(or $(TMPDIR),/tmp)/footnote-benchmarks/samples

# A build of PyTorch without CUDA, which is gigabytes smaller; used when it answers.
TORCH := torch==2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: app test test-all-pythons check fix screenshot space bench

app: $(VENV)/installed
	-@$(BIN)/rag index
	@$(BIN)/python app.py

test: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory chromium
	$(BIN)/python -m pytest

# Each Python in an environment of its own (.venv-3.12, …), which stays for the next time.
PYTHONS := 3.11 3.12 3.13
test-all-pythons:
	@failed=; for version in $(PYTHONS); do \
	  python=$$(for each in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	    "$$each" -c "" 2>/dev/null && echo "$$each" && break; done); \
	  if [ -z "$$python" ]; then results="$$results|Python $$version: not installed"; \
	  elif $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version; \
	  then results="$$results|Python $$version: passed"; \
	  else results="$$results|Python $$version: failed"; failed=1; fi; done; \
	echo "$$results" | tr '|' '\n'; test -z "$$failed"

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python .ci/generate.py

screenshot: $(VENV)/installed-dev chromium
	$(BIN)/rag index seeds
	$(BIN)/python tests/browser/screenshot.py

# As near to a Space's image as it comes without Docker. Its user is another than root, who cannot
# run what stands in root's home: hence the system's Python, where there is one. Indexes that are out of
# reach are tried once more at most, or each of a hundred packages would wait for them.
SPACE := $(or $(TMPDIR),/tmp)/footnote-space
SPACE_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.12 /usr/bin/python3.11) $(PYTHON))
SDK_VERSION = $(shell sed -n 's/^sdk_version: //p' README.md)

space: $(VENV)/installed-dev chromium $(SPACE)/installed
	FOOTNOTE_SPACE=$(SPACE) $(BIN)/python -m pytest tests/browser/space.py

$(SPACE)/installed: requirements.txt README.md
	@echo "Building a Space's environment in $(SPACE): minutes, more if llama.cpp has to be compiled."
	@rm -rf $(SPACE) && mkdir -p $(SPACE) && cp requirements.txt $(SPACE)
	@$(SPACE_PYTHON) -m venv $(SPACE)/venv
	@cd $(SPACE) && PIP_RETRIES=1 $(BUILD) venv/bin/pip install --quiet -r requirements.txt \
	  "gradio[oauth,mcp]==$(SDK_VERSION)" "uvicorn>=0.14.0" "websockets>=10.4" spaces
	@touch $@

bench: $(VENV)/installed
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
	$(BIN)/python benchmarks/agreement.py $(DATA)/squad2
	$(BIN)/python benchmarks/encoding.py $(DATA)/scifact $(DATA)/reuters21578/articles.jsonl.gz
	$(BIN)/python benchmarks/indexing.py $(DATA)/reuters21578/articles.jsonl.gz
	$(BIN)/python benchmarks/million.py $(DATA)/squad2

# llama.cpp is compiled for several kinds of CPU at once (rag/llama-cpp.cmake). pip may have kept a build from
# elsewhere that runs on one kind only; then it is compiled again.
LLAMA_CPP := $(shell sed -n 's/.*"\(llama-cpp-python==[^"]*\)".*/\1/p' pyproject.toml)
BUILD = CMAKE_BUILD_PARALLEL_LEVEL=$$(getconf _NPROCESSORS_ONLN) \
  CMAKE_ARGS="-DCMAKE_PROJECT_llama_cpp_INCLUDE=$(CURDIR)/rag/llama-cpp.cmake $$CMAKE_ARGS"
SEVERAL := $(filter x86_64 aarch64 arm64,$(shell uname -m))
VARIANTS = $(VENV)/lib/python*/site-packages/llama_cpp/lib/libggml-cpu$(if $(SEVERAL),-)*
LOG := $(VENV)/llama-cpp.log
PROGRESS := awk 'match($$0, /^ *\[ *[0-9]+(\/[0-9]+|%)\]/) \
  {printf "\r    %s ", substr($$0, RSTART, RLENGTH); fflush(); shown = 1} END {if (shown) print ""}'

$(VENV)/installed: pyproject.toml rag/llama-cpp.cmake
	@echo "Installing into $(VENV): about 6 minutes the first time, most of them for compiling llama.cpp."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@index=; if $(BIN)/python -c "import urllib.request; urllib.request.urlopen('$(TORCH_INDEX)/torch/', timeout=5)" 2>/dev/null; \
	  then index="--index-url $(TORCH_INDEX)"; fi; \
	  echo "1/3 PyTorch"; $(BIN)/pip install --quiet $$index $(TORCH)
	@echo "2/3 llama.cpp, compiled for several kinds of CPU"
	@for cache in "" "--no-cache-dir --force-reinstall"; do \
	  ls $(VARIANTS) >/dev/null 2>&1 || { $(BUILD) $(BIN)/pip install --verbose $$cache "$(LLAMA_CPP)" 2>&1 \
	    | tee $(LOG) | $(PROGRESS); }; done
	@ls $(VARIANTS) >/dev/null 2>&1 || { tail -n 20 $(LOG); \
	  echo "llama.cpp could not be compiled; the end of $(LOG) says why."; exit 1; }
	@echo "3/3 everything else"
	@$(BUILD) $(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
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
