// Package inject brings faults into a guest's kernel from dom0 by writing guest
// memory. The guest needs no module and no agent: its kernel is that of an unmodified
// distribution.
//
// Every place is found by symbol and by type information, which a Target provides. A
// fault is reported as in place only after it has been read back. Most faults can be
// removed again.
//
// Injectors wait on the clock of their Target, which in the lab is virtual, and stop
// waiting when their context ends.
package inject
