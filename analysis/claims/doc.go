// Package claims says what a run has to say about the claims of EXPERIMENTS.md:
// for each that its trials bear on, whether it holds and by which numbers.
//
// What counts as holding is fixed here, before any run, and in the table of
// EXPERIMENTS.md in words; a test of the command line compares the numbers there
// with those of the reference run.
package claims
