// Package trap holds the mechanisms by which a monitor learns of a guest's task
// switches: what each traps, what it misses, and how it sets and removes the trap.
//
// [Mechanisms] lists them. Each has a file of its own: a function that returns the
// [Mechanism] with its traits, and a type that implements [Trap]. A trap sees the
// session that armed it only as a [Host], and the guest's event ring only as
// driver.Controls.
//
// To add a mechanism, write its file and name its function in [Mechanisms]. If the
// yardstick is to measure its events too, add it to bench/price/yardstick.
package trap
