// Package suites reads the YAML files that say what is tried: which scenarios with
// which mechanisms, in which guests, how often and with what timing.
//
// A suite is strict. A misspelt key would silently be another experiment. So an unknown
// key, an unknown name, a value of the wrong type or out of range, and a duplicate are
// errors. Each error is one sentence with file and line, the value and the remedy. All
// of them are reported at once.
//
// A suite may declare faults of its own (package scenarios says which). They are scenarios
// of that suite like the program's own.
//
// The names that a suite may use come in as a Vocabulary. bench/plan expands a Suite to
// trials. Keys describes every key: its type, range, default and meaning. The shortest
// suite is
//
//	name: quick
//	scenarios: [spinlock-deadlock, control-idle]
//	mechanisms: [none, exec-step]
//	guests:
//	  - {kernel: cloud-6.12, vcpus: 1, memory_mib: 160}
//	repetitions: 2
package suites
