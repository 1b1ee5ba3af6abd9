// Package tsc reads the time-stamp counter, the clock of Xen's trace records:
// an instant that a program takes by it can be placed between them. In the lab
// the counter counts instructions.
package tsc
