// Package results holds what an experiment leaves behind: the record of a
// trial, the manifest of a run, and the store that appends the one and writes
// the other.
//
// A run is a folder results/runs/<id>/ with two files:
//
//	manifest.json   suite, seed, versions, host, wall-clock times
//	trials.jsonl    one Trial a line, in plan order
//
// The trial (bench/trial) fills a Trial inside dom0, the runner (bench/run)
// appends it through a Store, and everything in analysis reads it back with
// ReadTrials. In the lab the same suite and seed give byte-identical
// trials.jsonl; wall-clock times therefore live in the manifest only.
package results
