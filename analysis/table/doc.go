// Package table prints what a run came to: one table of detection and one of
// EPT violations, a row for each arm of each scenario, as text for a terminal,
// as Markdown, or as CSV for other programs.
//
// The text is built from analysis.Group; the layout is left to
// github.com/olekukonko/tablewriter, which no other package of the project
// sees.
package table
