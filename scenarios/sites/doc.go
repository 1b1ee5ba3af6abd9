// Package sites has the form in which the places of a kernel are written down that a
// guest's own work reaches: a [File] for each kernel.
//
// A file is recorded in the lab (hangbench bench sites): every function with a hook of the
// function tracer that a work of PID 1 enters, and every lock with a name that it takes.
package sites
