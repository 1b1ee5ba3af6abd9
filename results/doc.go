// Package results holds what an experiment leaves behind: the record of a
// trial, the manifest of a run, and the store that appends the one and writes
// the other.
//
// A run is a folder results/runs/<id>/ with three files:
//
//	manifest.json   suite, seed, versions, host, wall-clock times
//	trials.jsonl    one Trial a line, in plan order
//	trials.sum      a checksum of each of these lines
//
// While it is being written there may be two more: lock, which keeps a second
// writer out, and trials.partial.jsonl, with trials that parallel labs finished
// before their turn. Both are gone when the run is complete. A file that was
// found damaged on resume is kept as <name>.damaged.
//
// The trial (bench/trial) fills a Trial inside dom0, the runner (bench/run)
// appends it through a Store, and everything in analysis reads it back with
// ReadRun. In the lab the same suite and seed give byte-identical
// trials.jsonl; wall-clock times therefore live in the manifest only.
package results
