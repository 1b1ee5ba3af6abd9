// Package run runs the trials of a plan: it gives each trial without a record to a
// Host, several at a time if asked, and stores the record as soon as the trial ends.
//
// A Host runs one trial. bench/labhost runs it in an emulated machine restored for it,
// bench/xenhost in the dom0 of this machine. A run that is interrupted keeps the
// records that it has. Running it again on the same store runs the remaining trials.
package run
