// Package tsc reads the time-stamp counter. Xen's trace records have their times from it
// too, so a program's instants can be sorted among them. In the lab the counter counts
// instructions.
package tsc
