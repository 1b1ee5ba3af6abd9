// Package sites has the places of a kernel that a guest's own work reaches, and draws
// faults at them that nobody has picked.
//
// A [File] is recorded once for each kernel, in the lab (hangbench bench sites): every
// function with a hook of the function tracer that a work of PID 1 enters, and every lock
// with a name that it takes. The files of the folder data are part of the program.
//
// [File.Draw] draws faults by a number. It sorts the places by a hash of number and name,
// takes the kinds of fault in turn, and gives each the next place that it fits. So equal
// numbers draw equal faults, whatever else changes. Another hash, of the name alone,
// splits the places in two halves: tune may be looked at while detectors are made, and
// test is run once.
package sites
