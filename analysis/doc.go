// Package analysis groups the trials of a run into the cells that tables,
// figures and reports show, and says what the measures are.
//
// The way through the packages below it: results.ReadRun reads a run, Group
// makes cells of its trials, analysis/stats summarises the values of a cell,
// and analysis/table, analysis/figure and analysis/report show them. Nothing
// here needs Xen, cgo or root, and nothing imports more of the project than
// results.
//
// Three rules hold everywhere. Trials that differ in guest or driver are never
// pooled: they are different cells. Invalid trials are counted and shown, and
// enter no measure. What was not measured is absent, not zero.
package analysis
