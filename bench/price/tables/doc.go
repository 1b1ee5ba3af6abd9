// Package tables renders what bench/price/event and bench/price/misses measured
// as tables for a reader.
//
// The packages that measure are linked into the lab's dom0 program. That program must stay
// the same when a table changes, so tables have a package of their own.
package tables
