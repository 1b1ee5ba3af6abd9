# hangbench: see README.md. "make help" lists the targets.

GO      ?= go
SEED    ?= 1
TAGS    ?= xen
RUNS    ?= results/runs
BIN     := bin/hangbench

.PHONY: help build build-xen man test test-all break test-libvmi fuzz lint reproduce-quick reproduce
.PHONY: figures reference clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build bin/hangbench, without the Xen libraries: the lab needs no more
	CGO_ENABLED=0 $(GO) build -buildvcs=auto -o $(BIN) ./bench/cmd/hangbench

build-xen: ## build bin/hangbench for a real Xen dom0 (needs libxen-dev and cc; with LibVMI: TAGS=xen,libvmi)
	CGO_ENABLED=1 $(GO) build -buildvcs=auto -tags $(TAGS) -o $(BIN) ./bench/cmd/hangbench
	$(CC) -O2 -Wall -Wextra -D__XEN_TOOLS__ -o bin/eventloop bench/price/yardstick/eventloop.c -lxenctrl -lxenevtchn

# The C parts are vetted and tested with the lab's own compiler and libraries,
# so nothing has to be installed. The race detector needs a C compiler here.
# It makes a program about ten times slower. So it does not look into packages that only
# compute: those of libraries that draw, decompress and do statistics, and analysis, which
# starts no goroutine (TestSequential of bench).
COMPUTE := hangbench/analysis/... compress/... image/... codeberg.org/... git.sr.ht/... golang.org/x/image/... \
	gonum.org/... github.com/golang/freetype/... github.com/klauspost/... github.com/pierrec/... \
	github.com/therootcompany/... github.com/ulikunitz/...
export RACE := $(shell command -v cc >/dev/null 2>&1 && echo -race $(COMPUTE:%=-gcflags=%=-race=false))

man: build ## write the manual pages to bin/man
	$(BIN) man bin/man

# LAB is how much of the lab's tests runs: 1 for a sample of each, all for every one.
LAB ?= 1

# A test that is skipped for want of one of these fails (cgo/require). CI adds what its
# machines have.
REQUIRE ?= go,kernels,lab,prefix

# Under the race detector each test program, and each program that it starts, waits this
# long before it ends. The default is a second.
test: export GORACE ?= atexit_sleep_ms=20

# Tests without the race detector run with CGO_ENABLED=0, as the program is built: so they
# compile nothing anew. The lab's tests take the longest and begin first; go test shows what
# comes after them when they are done.
test: build ## install what the tests need (into the cache) and run all tests, with a sample of each of the lab's
	$(BIN) lab build
	eval "$$($(BIN) lab env 2>/dev/null)" && \
		$(GO) vet -tags xen ./cgo/... ./monitor/... ./bench/... && \
		$(GO) test -race -tags xen -exec "$$HANGBENCH_EXEC" ./cgo/...
	$(if $(RACE),$(MAKE) --no-print-directory break)
	$(if $(RACE),CGO_ENABLED=0 HANGBENCH_TEST_REQUIRE=$(REQUIRE) $(GO) test -run '^TestRealKernels' ./guests/kernel)
	export HANGBENCH_TEST_LAB=$(LAB) HANGBENCH_TEST_REQUIRE=$(REQUIRE) && \
		prefix="$$($(BIN) lab env 2>/dev/null | sed -n "s/^export HANGBENCH_PREFIX='\(.*\)'/\1/p")" && \
		HANGBENCH_PREFIX="$$prefix" $(GO) test $$RACE -timeout 80m ./bench/labhost ./...

test-all: ## every test, all of the lab's included: about an hour
	$(MAKE) test LAB=all REQUIRE=$(REQUIRE),lab-all

break: ## try to break the program with all that is wrong or odd; says how often it was good
	@log=$$(mktemp) && { CGO_ENABLED=0 $(GO) test -count=1 -v -run '^TestBreak' ./bench/cli >$$log 2>&1; status=$$?; \
		sed -n 's/^ *break_test.go:[0-9]*: //p; /^FAIL/p' $$log; rm -f $$log; exit $$status; }

FUZZTIME ?= 10s

# At the end of its time the fuzzer of Go before 1.27 sometimes fails with "context deadline
# exceeded" and has found nothing (go.dev/issue/75804). So a target that fails gets a second
# try: one that has found an input fails with it at once.
fuzz: ## give each fuzz target FUZZTIME; inputs that it finds lie in testdata/fuzz, to be committed
	@for p in $$($(GO) list ./...); do \
		for t in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$t"; \
			try="$(GO) test -run ^$$ -fuzz ^$$t$$ -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p"; \
			$$try || $$try || exit; \
		done; done

test-libvmi: ## vet and test the binding with the LibVMI that pkg-config finds
	$(GO) vet -tags libvmi ./cgo/libvmi
	LD_LIBRARY_PATH=$$(pkg-config --variable=libdir libvmi) $(GO) test -race -tags libvmi ./cgo/libvmi
	LD_LIBRARY_PATH=$$(pkg-config --variable=libdir libvmi) $(GO) test -asan -tags libvmi ./cgo/libvmi

lint: ## gofmt, vet, staticcheck; TestLines of bench checks the length of lines
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) tool staticcheck ./...

reproduce-quick: build ## fetch, build, run the quick suite in the lab, print tables and draw figures
	$(BIN) run quick --seed $(SEED) --out $(RUNS)

reproduce: build ## run the paper suite and the sweep of thresholds in the lab: 42 minutes of processor time
	$(BIN) run paper --seed $(SEED) --out $(RUNS)
	$(BIN) run thresholds --seed $(SEED) --out $(RUNS)

REFERENCE := results/reference

figures: build ## draw all figures of the reference runs, without Xen, in seconds
	for run in $(REFERENCE)/*/manifest.json; do $(BIN) report $${run%/manifest.json} >/dev/null || exit; done
	for stream in $(REFERENCE)/*/stream.jsonl; do \
		$(BIN) timeline $$stream --out $${stream%/stream.jsonl} >/dev/null || exit; done
	$(BIN) bench prices $(REFERENCE)/prices/*.json --out $(REFERENCE)/prices >/dev/null

# A reference run is put in place when it is whole. soak and overhead take hours.
SUITES ?= paper thresholds overhead coverage-smp kernels xens soak

reference: build ## run SUITES anew as the reference runs, draw them, write their numbers into the documents
	rm -rf $(RUNS)/reference
	for suite in $(SUITES); do \
		$(BIN) run $$suite --seed 1 --out $(RUNS)/reference && \
		rm -rf $(REFERENCE)/$$suite && mv $(RUNS)/reference/$$suite-1-* $(REFERENCE)/$$suite || exit; done
	$(MAKE) figures
	$(GO) test ./bench/cli -count=1 -run 'TestReadme|TestExperiments' -update
	$(GO) test ./bench/cli -count=1 -run 'TestReadme|TestExperiments|TestReferenceFigures'

clean: ## remove the program; the cache and the results stay
	rm -rf bin
