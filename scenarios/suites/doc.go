// Package suites reads the YAML files that say what is tried: which scenarios
// against which mechanisms, on which guests, how often and with what timing.
//
// A suite is strict. An experiment with a misspelt key would silently be
// another experiment, so an unknown key, an unknown name, a value of the wrong
// type or out of range and a duplicate are errors, each one sentence with file
// and line, the value and the remedy; all of them are reported at once.
//
// The names a suite may use come in as a Vocabulary, from whoever registers
// scenarios and mechanisms, so this package knows none and imports nothing of
// the project. bench/plan expands a Suite to trials.
//
// The format, with every key (drivers, timing, thresholds, sweep and baselines may be left out):
//
//	name: quick                  # a-z, 0-9 and dashes
//	description: one sentence
//	scenarios: [spinlock-deadlock, control-idle]
//	mechanisms: [none, exec-step]
//	drivers: [xenctrl]           # default: xenctrl
//	guests:
//	  - kernel: cloud-6.12       # name of a guest kernel
//	    vcpus: 1                 # 1 to 8
//	    memory_mib: 160          # 128 to 4096
//	    boot: plain              # or distro: KASLR and default mitigations
//	    superpages: false        # true: the hypervisor gives the guest large pages
//	    neighbours: 0            # 0 to 3 more guests like it, idle and monitored beside it
//	    programs: stress-ng      # the guest's initramfs holds them; default: none
//	repetitions: 2               # 1 to 1000, of every cell
//	bounded_ms: [500, 8000]      # undo each fault after so long, 100 to 600000; 0, the default: never before the verdict
//	timing:                      # milliseconds of dom0's clock; see Timing
//	  baseline_ms: 500
//	thresholds:                  # detector thresholds by name: "hangbench list detectors"
//	  spin_ms: 50                # _ms: milliseconds
//	  forkstorm_threads: 100     # without a unit: a number
//	sweep:                       # thresholds that are varied, one at a time
//	  - threshold: io_ms
//	    values: [500, 2500]      # two or more; each is a cell of its own
//	    scenarios: [io-stall]    # default: all of the suite
//	    thresholds: {soft_ms: 9} # set beside it; default: none
//	baselines: default           # listen to the guest's own watchdogs; or minimum, xen, false; true is default
package suites
