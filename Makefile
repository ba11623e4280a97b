# Every target sets up what it needs: Debian packages, Node 24 from npm, the addon, the eBPF objects.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

ROOT := $(CURDIR)
BIN := $(ROOT)/node_modules/.bin
export PATH := $(BIN):$(PATH)
# Root tests clones that other users made, of which git would say nothing to root. Make runs their code as root anyway.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(ROOT)
Q := $(if $(V),,@)

NATIVE_SRC := $(wildcard native/*.gyp native/shared/* native/keeper/* native/engine/*/* bpf/orlop_abi.h bpf/survey_abi.h)
BPF_SRC := $(wildcard bpf/*.c bpf/*.h bpf/Makefile)
AGENT_SRC := $(shell find agent -name '*.ts' ! -name '*.test.ts' ! -name '*.fake.ts')
GEN_SRC := native/gen-abi.ts bpf/orlop_abi.h native/engine/core/arena.h native/engine/core/events.h native/engine/http/http1_refusal.h

.PHONY: build check test models interop vm soak fuzz demo load-check bench bench-instructions cluster cluster-down cluster-test gen gen-check allowances doctor clean format

build: build/native.stamp build/orlop-cni agent/abi.ts build/program.stamp

build/setup.stamp: package.json package-lock.json .ci/setup
	$(Q).ci/setup
	@mkdir -p build && touch $@

build/bpf/orlop.skel.h build/bpf/survey.skel.h &: build/setup.stamp $(BPF_SRC)
	$(Q)$(MAKE) --no-print-directory -C bpf

build/native.stamp: build/bpf/orlop.skel.h build/bpf/survey.skel.h $(NATIVE_SRC)
	$(Q).ci/build-native
	@touch $@

# The plug-in runs on nodes, outside of any container: it may need nothing of theirs.
build/orlop-cni: build/setup.stamp $(wildcard native/cni/*) native/shared/fd_passing.cc native/shared/fd_passing.h native/shared/unique_fd.h
	$(Q)g++ -std=c++17 -Wall -Wextra -Werror -Os -fno-exceptions -fno-rtti -fstack-protector-strong -D_FORTIFY_SOURCE=2 -static -s \
	  -ffunction-sections -fdata-sections -Wl,--gc-sections,-z,relro,-z,now -Inative -o $@ native/cni/*.cc native/shared/fd_passing.cc

# The agent as JavaScript, as it runs everywhere (.ci/strip.js says why).
build/program.stamp: build/setup.stamp agent/abi.ts .ci/strip.js $(AGENT_SRC)
	$(Q)node --no-warnings .ci/strip.js build/program
	@touch $@

gen: build/setup.stamp
	$(Q)node native/gen-abi.ts > build/abi.ts && mv build/abi.ts agent/abi.ts

agent/abi.ts: $(GEN_SRC) | build/setup.stamp
	$(Q)$(MAKE) --no-print-directory gen

check: build/setup.stamp gen-check
	$(Q)tsc
	$(Q)biome check --config-path=.ci/lint.jsonc --error-on-warnings .
	$(Q)clang-format --dry-run --Werror $(wildcard bpf/*.c bpf/*.h)
	$(Q)clang-format --dry-run --Werror $(shell find native test/fuzz/native bench/micro/native -name '*.cc' -o -name '*.h')
	$(Q)node --test --test-reporter=dot test/repository/*.test.ts

# Lowers the numbers of test/repository/allowances.json to what is still there.
allowances: build/setup.stamp
	$(Q)ALLOWANCES=lower node --test --test-concurrency=1 --test-reporter=dot test/repository/*.test.ts

gen-check: build/setup.stamp
	$(Q)mkdir -p build && node native/gen-abi.ts > build/abi.check.ts && cmp build/abi.check.ts agent/abi.ts \
	  || { echo "agent/abi.ts is stale: run make gen" >&2; exit 1; }

format: build/setup.stamp
	$(Q)biome check --config-path=.ci/lint.jsonc --write .
	$(Q)clang-format -i $(wildcard bpf/*.c bpf/*.h) $(shell find native test/fuzz/native bench/micro/native -name '*.cc' -o -name '*.h')

load-check: build
	$(Q)node test/kernel/load-check.ts

test: build check load-check
	$(Q).ci/test

# Peers of other makes judge: what they are and what differs is in docs/reference/peers.md. PEERS="envoy zoo" picks.
interop: build
	$(Q)node test/peers/run.ts $(PEERS)

# The keeper on a node with cgroup v2 alone: Debian's cloud kernel in an emulator, at most eight minutes (test/README.md).
vm: build
	$(Q)node test/vm/run.ts

# Replacements of agents on a busy machine (test/journey/replacement.test.ts), bad days of a node (test/journey/bad-days.test.ts), a label that
# comes and goes (test/journey/toggles.test.ts), an API server that is away (test/journey/cluster-source.test.ts), the models with ten times the steps, a million POSTs (test/loopback/engine-origins-once.test.ts, engine-http2-once.test.ts) and peers of other makes with the large counts, by hand.
soak: build
	$(Q)ORLOP_SOAK=1 node --test --test-concurrency=1 --test-timeout=3600000 test/journey/replacement.test.ts test/journey/bad-days.test.ts \
	  test/journey/toggles.test.ts test/journey/cluster-source.test.ts test/loopback/engine-origins-once.test.ts test/loopback/engine-http2-once.test.ts \
	  agent/control/accepted-objects.test.ts
	$(Q)ORLOP_MODEL_SEED=random ORLOP_MODEL_ROUNDS=10 node --test --test-concurrency=1 --test-timeout=18000000 test/model/*.test.ts
	$(Q)node test/peers/run.ts --soak $(PEERS)

# Random steps on whole nodes against two models, others each time; ORLOP_MODEL_ROUNDS=20 for long ones (test/README.md, "The models").
models: build
	$(Q)ORLOP_MODEL_SEED=$${ORLOP_MODEL_SEED:-random} node --test --test-concurrency=1 --test-timeout=900000 test/model/*.test.ts

# A real Kubernetes cluster of two nodes on this machine; prints its kubeconfig. CLUSTER_FLAGS="--nodes 1 --name mine".
cluster: build/setup.stamp
	$(Q)node test/cluster/main.ts up $(CLUSTER_FLAGS)

cluster-down: build/setup.stamp
	$(Q)node test/cluster/main.ts down $(CLUSTER_FLAGS)

cluster-test: build/setup.stamp
	$(Q)node --test --test-concurrency=1 --test-timeout=900000 test/cluster/*.peer.ts

# Long: make fuzz SECONDS=600 (for each of its targets).
fuzz: build
	$(Q)$(MAKE) --no-print-directory -C test/fuzz -s
	$(Q)node test/fuzz/run.ts $(or $(SECONDS),60)

demo: build
	$(Q)node demo/main.ts $(DEMO_FLAGS)

bench: build
	$(Q)node bench/run.ts

# Instructions of the hot paths against bench/micro/instructions.json; needs valgrind.
bench-instructions: build
	$(Q)node bench/micro/instructions.ts --compare

doctor: build
	$(Q).ci/orlop.js check

clean:
	$(Q)rm -rf build native/build
