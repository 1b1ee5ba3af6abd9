// Package inject brings faults into a guest's kernel from dom0, by writing
// guest memory: no module, no agent, an unmodified distribution kernel.
//
// Every place is found by symbol and by type information (a Target answers for
// both), every fault can be lifted again, and a fault is only reported as in
// place when it has been read back.
package inject
