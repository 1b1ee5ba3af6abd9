// Package plan expands a suite to the list of its trials, in the order they
// are run.
//
// The cells of a suite are guests x scenarios x mechanisms x drivers, and x the
// lengths of bounded faults and the values of swept thresholds if it has any. Each
// repetition runs every cell once, in an order of its own drawn at random: a
// randomised block. Whatever drifts over a run (a machine that warms up, a
// disk that fills) then falls on all cells alike instead of on the last arm,
// and a run that is interrupted has nearly as many repetitions of each cell.
//
// Within a block, the trials of one guest and scenario share one seed, so that
// each mechanism and driver meets the fault at the same phase (a paired design):
// what differs between two arms is then the arm and not the luck of the draw.
// From block to block the phase moves.
//
// Everything random comes from the run's seed, so that equal seeds give equal
// plans, on every machine and with every Go version: the permutation is drawn
// from math/rand/v2's PCG, whose output is documented to be stable, by a
// shuffle of this package's own, and the trials' seeds by SplitMix64.
//
// The runner (bench/run) sends each Trial as JSON to the agent in dom0, which
// needs nothing else to run it. results.Trial.Trial is its Index.
package plan
