// Package detect turns observations of a guest into verdicts.
//
// A Detector is a pure function of the Observations it is given: no clock, no
// I/O, no knowledge of the mechanism. monitor.Session makes the observations
// (monitor/linux reads what they hold of the guest's kernel) and delivers the
// first verdict. Every threshold of every rule is in Thresholds.
package detect
