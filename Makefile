# make app               install Footnote, index the articles, serve the page
# make test              install the test dependencies and run all tests
# make coverage          the same, and print the coverage (Python 3.12 or newer)
# make test-fast         run the tests that need neither a model nor a browser, in a minute
# make test-chaos        run the tests that kill processes and flip bits, in full numbers
# make test-all-pythons  run the tests with each of Python 3.11, 3.12 and 3.13 that is installed
# make check             lint, types and import contracts
# make fix               format the code, regenerate requirements.txt and the tables in docs/
# make docs              build the documentation site into site/
# make screenshot        take the README's screenshot of the page
# make space             run the repository as a Hugging Face Space does, and ask it a question
# make bench             run the benchmarks, in about three hours (DATA=... names the folder of
#                        question sets and articles)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= $(firstword $(wildcard data ../*/data))

SAMPLES := $(or $(TMPDIR),/tmp)/footnote-benchmarks/samples

# A build of PyTorch without CUDA, which is gigabytes smaller; used if this index can be reached.
TORCH := torch==2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: app test coverage test-fast test-chaos test-all-pythons check fix docs screenshot space bench

app: $(VENV)/installed
	-@$(BIN)/rag index
	@$(BIN)/python app.py

test: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory chromium
	$(BIN)/python -m pytest

# Python 3.12 and newer measure coverage at almost no cost; on 3.11 the tests take several times as long.
coverage: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory chromium
	COVERAGE_CORE=sysmon $(BIN)/python -m pytest --cov

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest --ignore tests/browser -m "not (models or browser or slow or chaos)"

test-chaos: $(VENV)/installed-dev
	$(BIN)/python -m pytest --ignore tests/browser -m chaos --chaos

# Each Python has its own environment (.venv-3.12, ...), which is kept for the next run.
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
	$(BIN)/mypy tests/browser/*.py
	$(BIN)/lint-imports

fix: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python .ci/generate.py

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshot: $(VENV)/installed-dev chromium
	$(BIN)/rag index seeds
	$(BIN)/python tests/browser/screenshot.py

# As close to a Space's image as possible without Docker. The Space's user is not root and cannot run
# programs in root's home, so the system's Python is used if there is one. Unreachable package indexes
# are retried only once, because each of a hundred packages would wait for them.
SPACE := $(or $(TMPDIR),/tmp)/footnote-space
SPACE_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.12 /usr/bin/python3.11) $(PYTHON))
SPACE_README := rag/deploy/space-readme.md
SDK_VERSION = $(shell sed -n 's/^sdk_version: //p' $(SPACE_README))

space: $(VENV)/installed-dev chromium $(SPACE)/installed
	FOOTNOTE_SPACE=$(SPACE) $(BIN)/python -m pytest tests/browser/space.py

$(SPACE)/installed: requirements.txt $(SPACE_README)
	@echo "Building a Space's environment in $(SPACE): minutes, more if llama.cpp has to be compiled."
	@rm -rf $(SPACE) && mkdir -p $(SPACE) && cp requirements.txt $(SPACE)
	@$(SPACE_PYTHON) -m venv $(SPACE)/venv
	@cd $(SPACE) && PIP_RETRIES=1 $(BUILD) venv/bin/pip install --quiet -r requirements.txt \
	  "gradio[oauth,mcp]==$(SDK_VERSION)" "uvicorn>=0.14.0" "websockets>=10.4" spaces
	@touch $@

bench: $(VENV)/installed
	@test -f "$(DATA)/squad2/articles.jsonl" || { echo "No question sets in '$(DATA)'. Run: make bench DATA=FOLDER"; exit 1; }
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

# llama.cpp is compiled for several kinds of CPU at once (rag/models/generation/llama-cpp.cmake). pip's
# cache may contain another build for one kind only; it is then compiled again.
LLAMA_CPP := $(shell sed -n 's/.*"\(llama-cpp-python==[^"]*\)".*/\1/p' pyproject.toml)
BUILD = CMAKE_BUILD_PARALLEL_LEVEL=$$(getconf _NPROCESSORS_ONLN) \
  CMAKE_ARGS="-DCMAKE_PROJECT_llama_cpp_INCLUDE=$(CURDIR)/rag/models/generation/llama-cpp.cmake $$CMAKE_ARGS"
SEVERAL := $(filter x86_64 aarch64 arm64,$(shell uname -m))
VARIANTS = $(VENV)/lib/python*/site-packages/llama_cpp/lib/libggml-cpu$(if $(SEVERAL),-)*
LOG := $(VENV)/llama-cpp.log
PROGRESS := awk 'match($$0, /^ *\[ *[0-9]+(\/[0-9]+|%)\]/) \
  {printf "\r    %s ", substr($$0, RSTART, RLENGTH); fflush(); shown = 1} END {if (shown) print ""}'

$(VENV)/installed: pyproject.toml rag/models/generation/llama-cpp.cmake
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
	  echo "llama.cpp could not be compiled. See the end of $(LOG)."; exit 1; }
	@echo "3/3 everything else"
	@$(BUILD) $(BIN)/pip install --quiet --editable '.[all]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the test dependencies."
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
