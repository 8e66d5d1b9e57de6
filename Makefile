# kstore: every task by one word. `make help` lists them.
PYTHON ?= python3
export PYTHONPATH := src

.PHONY: help native
help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

native: ## build the native modules into src/ for development
	@cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$$(command -v $(PYTHON)) -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build build/dev
	@cmake --install build/dev --prefix src >/dev/null
