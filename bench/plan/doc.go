// Package plan expands a suite to the list of its trials, in the order in which
// they run.
//
// The cells of a suite are the product of its guests, scenarios, mechanisms and
// drivers, and of the lengths of bounded faults and the values of swept thresholds
// if it has any. Each repetition is a block: it runs every cell once, in an order
// drawn at random for that block. A slow change during a run (a machine warms up, a
// disk fills) then affects all cells alike. A run that is interrupted has nearly the
// same number of repetitions of each cell.
//
// The design is paired. Within a block, the trials of one guest and scenario share
// one seed, so each mechanism and driver meets the fault at the same phase. A
// difference between two mechanisms is then caused by the mechanism and not by the
// instant of the fault. The phase changes from block to block.
//
// All randomness comes from the run's seed. Equal seeds give equal plans on every
// machine and with every Go version: the order comes from math/rand/v2's PCG, whose
// output is documented as stable, with a shuffle of this package, and the trials'
// seeds come from SplitMix64.
//
// The runner (bench/run) sends each Trial as JSON to the agent in dom0. The agent
// needs nothing else to run it. The field Trial of a results.Trial is the Index of
// its plan.Trial.
package plan
