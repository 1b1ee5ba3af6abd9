// Package run works a plan off: it hands each trial that has no record yet to a
// Host, several at a time if asked, and stores the record as soon as it is
// there.
//
// The Host is an interface: bench/labhost runs a trial in an emulated machine
// restored for it, bench/xenhost on this very dom0. A run that is interrupted
// keeps what it has; running it again on the same store goes on with the rest.
package run
