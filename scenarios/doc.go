// Package scenarios is what is tried: faults with their injection, their ground
// truth and the verdict that is right, and controls without a fault, some of which
// measure what a workload gets done beside a monitor.
//
// scenarios/inject knows how a fault is brought into a guest's kernel from
// dom0, scenarios/suites which scenarios are tried together. The trial
// (bench/trial) asks a Scenario for its workload and its fault and holds the
// monitor's verdict against Class.
package scenarios
