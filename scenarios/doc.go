// Package scenarios is what is tried: faults with their injection, their ground
// truth and the verdict that is right, and controls without a fault, some of which
// measure what a workload gets done beside a monitor.
//
// A suite can declare more faults as data (results.Declaration): what is done to the guest,
// with which arguments, what the guest does meanwhile, and the class of the right verdict.
// Primitives is the table of what can be done. The suites' parser, "hangbench list faults"
// and a page are made from it. OfCell returns the Scenario of either kind.
//
// Of a fault of class NotKnown nobody knows the effect before. scenarios/outcome says what
// became of the guest.
//
// scenarios/inject knows how a fault is brought into a guest's kernel from
// dom0, scenarios/suites which scenarios are tried together. The trial
// (bench/trial) asks a Scenario for its workload and its fault and holds the
// monitor's verdict against Class.
package scenarios
