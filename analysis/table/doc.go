// Package table makes tables of a run: detection, coverage, latency, EPT violations,
// overhead, cost of events and the detector's quality of service. It writes them as text
// for a terminal, as Markdown, as LaTeX, or as CSV for other programs.
//
// [Summary] writes the tables that every run gets, [Kinds] lists all tables. A table is
// made from an analysis.Set. github.com/olekukonko/tablewriter lays out text and
// Markdown; no other package of the project uses it. Every median has its n and its
// interval, or its range if there are too few trials for an interval. CSV has the full
// precision.
package table
