// Package tables renders what bench/price/event and bench/price/misses measured
// as tables for a reader.
//
// It is apart from the packages that measure: those are linked into the lab's
// dom0 program, which must stay the same when a table changes.
package tables
