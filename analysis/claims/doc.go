// Package claims decides whether the claims of EXPERIMENTS.md hold in a run, and by which
// numbers. A claim for which the run has no trials is left out.
//
// The conditions are fixed in this package, before any run. EXPERIMENTS.md has them in
// words. A test of the command line compares its numbers with the reference run.
package claims
