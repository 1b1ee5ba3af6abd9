// Package compare sets an old run against a new one, metric by metric and cell
// by cell: how large is the change, how sure is it, and is it a regression.
//
// Where both runs have the same plan, trials are compared in pairs of equal
// seed. In the lab such a pair differs by nothing but the program, so its outcomes
// and what is counted per event are exact: two pairs are enough to see one EPT
// violation more of each event. Counts of a whole trial are not exact, as another
// program traps other switches of the guest.
// Everything else is a sample: the interval of the change is made by
// analysis/stats, its p-value is adjusted for the number of metrics looked at,
// and what the trials are too few to decide is called unclear, not the same.
//
// Runs of several hosts, kernels or suites are refused unless the caller says
// that the difference is what is to be compared.
package compare
