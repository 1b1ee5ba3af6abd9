# hangbench: see README.md. "make help" lists the targets.

GO      ?= go
SEED    ?= 1
TAGS    ?= xen
RUNS    ?= results/runs
BIN     := bin/hangbench

.PHONY: help build build-xen man test test-libvmi lint reproduce-quick reproduce figures reference clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build bin/hangbench, without the Xen libraries: the lab needs no more
	CGO_ENABLED=0 $(GO) build -buildvcs=auto -o $(BIN) ./bench/cmd/hangbench

build-xen: ## build bin/hangbench for a real Xen dom0 (needs libxen-dev and a C compiler; with LibVMI: TAGS=xen,libvmi)
	CGO_ENABLED=1 $(GO) build -buildvcs=auto -tags $(TAGS) -o $(BIN) ./bench/cmd/hangbench
	$(CC) -O2 -Wall -Wextra -D__XEN_TOOLS__ -o bin/eventloop bench/price/yardstick/eventloop.c -lxenctrl -lxenevtchn

# The C parts are vetted and tested with the lab's own compiler and libraries,
# so nothing has to be installed. The race detector needs a C compiler here.
RACE := $(shell command -v cc >/dev/null 2>&1 && echo -race)

man: build ## write the manual pages to bin/man
	$(BIN) man bin/man

test: build ## install what the tests need (into the cache) and run all tests, the lab's included
	$(BIN) lab build
	eval "$$($(BIN) lab env 2>/dev/null)" && \
		$(GO) vet -tags xen ./cgo/... ./monitor/... ./bench/... && \
		$(GO) test -race -tags xen -exec "$$HANGBENCH_EXEC" ./cgo/...
	export HANGBENCH_TEST_LAB=1 $$($(BIN) lab env 2>/dev/null | sed -n "s/^export \(HANGBENCH_PREFIX\)='\(.*\)'/\1=\2/p") && \
		$(GO) test $(RACE) -timeout 40m ./...

test-libvmi: ## vet and test the binding with the LibVMI that pkg-config finds
	$(GO) vet -tags libvmi ./cgo/libvmi
	LD_LIBRARY_PATH=$$(pkg-config --variable=libdir libvmi) $(GO) test -race -tags libvmi ./cgo/libvmi
	LD_LIBRARY_PATH=$$(pkg-config --variable=libdir libvmi) $(GO) test -asan -tags libvmi ./cgo/libvmi

lint: ## gofmt, vet with and without Xen and cgo
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	CGO_ENABLED=0 $(GO) vet ./...

reproduce-quick: build ## fetch, build, run the quick suite in the lab, print tables and draw figures
	$(BIN) run quick --seed $(SEED) --out $(RUNS)

reproduce: build ## run the paper suite and the sweep of thresholds in the lab: 42 minutes of processor time
	$(BIN) run paper --seed $(SEED) --out $(RUNS)
	$(BIN) run thresholds --seed $(SEED) --out $(RUNS)

REFERENCE := results/reference

figures: build ## draw all figures of the reference runs, without Xen, in seconds
	for run in $(REFERENCE)/*/manifest.json; do $(BIN) report $${run%/manifest.json} >/dev/null || exit; done
	for stream in $(REFERENCE)/*/stream.jsonl; do $(BIN) timeline $$stream --out $${stream%/stream.jsonl} >/dev/null || exit; done

# The folder of a run is named for its time, and that of a reference is not: it is
# put in place when the run is whole.
reference: build ## run both suites anew as the reference runs, draw them, and write their numbers into the documents
	rm -rf $(RUNS)/reference
	for suite in paper thresholds; do \
		$(BIN) run $$suite --seed 1 --out $(RUNS)/reference && \
		rm -rf $(REFERENCE)/$$suite && mv $(RUNS)/reference/$$suite-1-* $(REFERENCE)/$$suite || exit; done
	$(MAKE) figures
	$(GO) test ./bench/cli -count=1 -run 'TestReadme|TestExperiments' -update
	$(GO) test ./bench/cli -count=1 -run 'TestReadme|TestExperiments|TestReferenceFigures'

clean: ## remove the program; the cache and the results stay
	rm -rf bin
