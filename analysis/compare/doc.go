// Package compare compares a new run with an old one, cell by cell and metric by metric.
// For each metric it tells how large the change is, how certain it is, and whether it is
// a regression.
//
// If both runs have the same plan, trials are compared in pairs of equal seed. In the lab
// the two trials of a pair differ only by the program, or by the Xen. Their outcomes and
// their counts per event are therefore exact: two pairs are enough to find one more EPT
// violation per event. Counts of a whole trial are not exact, because another program or
// Xen traps other switches of the guest.
//
// Everything else is a sample. analysis/stats computes the interval of the change. The
// p-value is adjusted for the number of metrics compared. A metric that the trials cannot
// decide is unclear, which is not the same as unchanged.
//
// Runs of different hosts, kernels or suites are refused unless the caller allows it.
package compare
